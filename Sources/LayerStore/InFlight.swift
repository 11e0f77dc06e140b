import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The mark of an operation that is under way on a layer's object: a file named after the number, which the
/// operation holds locked until it is done. One that nobody holds was left by a process that was killed or by a
/// driver that failed, and says where recovery has to look. It is not written through to the disk: after a power cut
/// records and objects are compared one by one.
final class InFlight: Sendable {
    private let path: String
    private let lock: FileLock

    init(_ number: LayerNumber, in layout: RootLayout) throws(StorageError) {
        let name = "\(number)-\(UInt64.random(in: .min ... .max))"
        let hidden = "\(layout.inFlight)/.\(name)"
        path = "\(layout.inFlight)/\(name)"
        do throws(SystemError) {
            // Locked before it can be seen under the name that recovery looks at. Nil is for those who do not wait.
            lock = try FileLock.take(hidden, byte: 0, .exclusive)!
            try check(rename(hidden, path), "rename", hidden)
        } catch {
            throw StorageError(error, "begin", "layer \(number)")
        }
    }

    /// Records and objects agree again.
    func done() { Glibc.unlink(path) }

    /// What killed operations have left: the layer's number and the path of the mark. Marks whose operation was killed
    /// before it began are removed here.
    static func abandoned(in layout: RootLayout) -> [(number: LayerNumber, mark: String)] {
        (directoryNames(layout.inFlight) ?? []).compactMap { name in
            let path = "\(layout.inFlight)/\(name)"
            guard let fd = try? FileDescriptor.opening(path, .readWrite) else { return nil }
            return fd.closing {
                guard lam_ofd_lock($0.rawValue, Int32(F_WRLCK), 0, 0) == 0 else { return nil }
                guard let number = UInt64(name.prefix { $0 != "-" }) else {
                    // Removed under its lock: one who has opened it and waits for it sees that and makes another.
                    forget(path)
                    return nil
                }
                return (LayerNumber(number), path)
            }
        }
    }

    static func forget(_ mark: String) { Glibc.unlink(mark) }
}
