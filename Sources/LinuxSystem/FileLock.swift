import CLinux
import Glibc
import SystemPackage

/// A lock on one byte of a file (open-file-description lock, fcntl(2)): it excludes other processes and other
/// threads alike, since every lock has its own open of the file, and it ends with its holder, however that ends.
public final class FileLock: Sendable {
    private let descriptor: FileDescriptor
    private let byte: Int64

    public enum Mode: Sendable {
        case shared
        case exclusive
    }

    /// Takes the lock; waits for it unless `wait` is false. Makes the file where there is none.
    /// - Returns: nil only with `wait` false, when somebody else has it.
    public static func take(
        _ file: String, byte: UInt64, _ mode: Mode, wait: Bool = true
    ) throws(SystemError) -> FileLock? {
        let type = mode == .shared ? F_RDLCK : F_WRLCK
        while true {
            let fd = try FileDescriptor.opening(file, .readWrite, flags: O_CREAT)
            if lam_ofd_lock(fd.rawValue, Int32(type), Int64(byte), wait ? 1 : 0) == 0 {
                // Whoever had it may have removed the file meanwhile: a lock on what no path leads to excludes nobody.
                if try fd.status().linkCount > 0 { return FileLock(descriptor: fd, byte: Int64(byte)) }
                fd.closeQuietly()
                continue
            }
            let error = SystemError.last("lock", file)
            fd.closeQuietly()
            if error.errno == .interrupted { continue }
            if !wait, error.errno == .resourceTemporarilyUnavailable || error.errno == .permissionDenied { return nil }
            throw error
        }
    }

    private init(descriptor: FileDescriptor, byte: Int64) {
        self.descriptor = descriptor
        self.byte = byte
    }

    deinit {
        // Not by closing alone: a child that another thread starts holds a copy until it runs its program.
        _ = lam_ofd_lock(descriptor.rawValue, Int32(F_UNLCK), byte, 0)
        descriptor.closeQuietly()
    }
}
