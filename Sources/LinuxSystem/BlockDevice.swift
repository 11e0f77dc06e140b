import CLinux
import Glibc
import SystemPackage

/// An open block device.
public struct BlockDevice: ~Copyable {
    public let path: String
    public let descriptor: FileDescriptor

    /// - Parameter exclusively: fail with EBUSY while a mount, dm device or other exclusive opener holds the device.
    /// - Throws: `SystemError`; ENOTBLK where the path is not a block device.
    public init(_ path: String, writable: Bool = false, exclusively: Bool = false) throws(SystemError) {
        self.path = path
        guard try FileStatus(path: path).kind == .blockDevice else { throw SystemError("open", path, .notBlockDevice) }
        descriptor = try .opening(path, writable ? .readWrite : .readOnly, flags: exclusively ? O_EXCL : 0)
    }

    deinit { descriptor.closeQuietly() }

    /// Bytes.
    public borrowing func size() throws(SystemError) -> UInt64 {
        var bytes: UInt64 = 0
        try check(ioctl(descriptor.rawValue, UInt(LAM_BLKGETSIZE64), &bytes), "BLKGETSIZE64", path)
        return bytes
    }

    /// Whether the device itself refuses writes.
    public borrowing func isReadOnly() throws(SystemError) -> Bool {
        var flag: Int32 = 0
        try check(ioctl(descriptor.rawValue, UInt(LAM_BLKROGET), &flag), "BLKROGET", path)
        return flag != 0
    }

    /// Gives back the storage of a range, in bytes.
    public borrowing func discard(from offset: UInt64, length: UInt64) throws(SystemError) {
        var range: (UInt64, UInt64) = (offset, length)
        try check(ioctl(descriptor.rawValue, UInt(LAM_BLKDISCARD), &range), "BLKDISCARD", path)
    }

    /// The device number of the node.
    public borrowing func number() throws(SystemError) -> DeviceNumber { try descriptor.status().node }
}
