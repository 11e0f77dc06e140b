import CLinux
import Glibc
import SystemPackage

/// What statfs(2) tells of the filesystem that holds a path.
public struct FilesystemStatus: Sendable, Equatable {
    /// The magic number (linux/magic.h).
    public let magic: UInt64
    public let totalBytes: UInt64
    /// Bytes free for the superuser.
    public let freeBytes: UInt64
    public let totalInodes: UInt64
    public let freeInodes: UInt64
    public let isReadOnly: Bool

    public init(path: String) throws(SystemError) {
        var raw = statfs()
        try check(lam_statfs(path, &raw), "statfs", path)
        let unit = UInt64(raw.f_frsize > 0 ? raw.f_frsize : raw.f_bsize)
        magic = UInt64(UInt32(truncatingIfNeeded: raw.f_type))
        totalBytes = UInt64(raw.f_blocks) * unit
        freeBytes = UInt64(raw.f_bfree) * unit
        totalInodes = UInt64(raw.f_files)
        freeInodes = UInt64(raw.f_ffree)
        isReadOnly = raw.f_flags & 1 != 0  // ST_RDONLY
    }

    /// Nil where the magic number is not known.
    public var kind: FilesystemKind? { FilesystemKind(magic: magic) }

    /// The name of the filesystem, or its magic number in hexadecimal where we have no name for it.
    public var typeName: String { kind?.name ?? "0x" + String(magic, radix: 16) }
}
