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

    /// The name of the filesystem, or its magic number in hexadecimal where we have no name for it.
    public var typeName: String { Self.names[magic] ?? "0x" + String(magic, radix: 16) }

    /// Magic numbers as linux/magic.h and the filesystems' own headers give them.
    public static let names: [UInt64: String] = [
        0x6175_6673: "aufs", 0x9123_683E: "btrfs", 0xEF53: "ext4", 0xE0F5_E1E2: "erofs", 0xF2F5_2010: "f2fs",
        0x6573_5546: "fuse", 0x6969: "nfs", 0x794C_7630: "overlay", 0x8584_58F6: "ramfs", 0x7371_7368: "squashfs",
        0x0102_1994: "tmpfs", 0x5846_5342: "xfs", 0x2FC1_2FC1: "zfs", 0x0102_1997: "9p", 0xFF53_4D42: "cifs",
        0xFE53_4D42: "smb2", 0x00C3_6400: "ceph", 0xCA45_1A4E: "bcachefs",
    ]
}
