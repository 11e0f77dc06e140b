import CLinux
import Glibc
import SystemPackage

/// A lock on one byte of a file (open-file-description lock, fcntl(2)): it excludes other processes and other
/// threads alike, since every lock has its own open of the file, and it ends with its holder, however that ends.
public struct FileLock: ~Copyable {
    private let descriptor: FileDescriptor

    public enum Mode: Sendable {
        case shared
        case exclusive
    }

    /// Takes the lock; waits for it unless `wait` is false.
    /// - Returns: nil only with `wait` false, when somebody else has it.
    public static func take(
        _ file: String, byte: UInt64, _ mode: Mode, wait: Bool = true
    ) throws(SystemError) -> FileLock? {
        let fd = try FileDescriptor.opening(file, .readWrite, flags: O_CREAT)
        let type = mode == .shared ? F_RDLCK : F_WRLCK
        while lam_ofd_lock(fd.rawValue, Int32(type), Int64(byte), wait ? 1 : 0) == -1 {
            let error = SystemError.last("lock", file)
            if error.errno == .interrupted { continue }
            fd.closeQuietly()
            if !wait, error.errno == .resourceTemporarilyUnavailable || error.errno == .permissionDenied { return nil }
            throw error
        }
        return FileLock(descriptor: fd)
    }

    deinit { descriptor.closeQuietly() }
}
