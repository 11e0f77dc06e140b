import CBtrfs
import Glibc
import LinuxSystem
import SystemPackage

/// btrfs subvolumes through the kernel's ioctls (btrfs-ioctl(2), linux/btrfs.h). Needs the superuser.
public enum Subvolume {
    /// The first number that is not the filesystem's own (BTRFS_FIRST_FREE_OBJECTID): the inode of every subvolume's root
    /// directory, and the least id of a subvolume that somebody has made.
    public static let firstNumber: UInt64 = 256
    /// The last that is searched for: what follows is the filesystem's own again (BTRFS_LAST_FREE_OBJECTID).
    static let lastNumber = UInt64.max - 256

    /// Makes an empty subvolume `name` in `directory`.
    public static func create(_ name: String, in directory: FileDescriptor) throws(SystemError) {
        var arguments = try volumeArguments(name)
        try check(
            ioctl(directory.rawValue, UInt(LAM_BTRFS_IOC_SUBVOL_CREATE_V2), &arguments), "create subvolume", name)
    }

    /// Makes a writable snapshot `name` of the subvolume open as `source`, in `directory`.
    public static func snapshot(
        of source: FileDescriptor, _ name: String, in directory: FileDescriptor
    ) throws(SystemError) {
        var arguments = try volumeArguments(name)
        arguments.fd = Int64(source.rawValue)
        try check(ioctl(directory.rawValue, UInt(LAM_BTRFS_IOC_SNAP_CREATE_V2), &arguments), "snapshot", name)
    }

    /// Removes the subvolume `name` of `directory`, and those that users have made inside it. Its blocks are given
    /// back by the kernel's cleaner later, whatever its size.
    public static func destroy(_ name: String, in directory: FileDescriptor) throws(SystemError) {
        let subvolume = try directory.openBeneath(name, flags: O_DIRECTORY | O_NOFOLLOW)
        defer { subvolume.closeQuietly() }
        for nested in try nested(in: subvolume) {
            try setReadOnly(false, subvolume)
            let path = FilePath(nested)
            let parent = try subvolume.openBeneath(
                path.removingLastComponent().isEmpty ? "." : path.removingLastComponent().string, flags: O_DIRECTORY)
            defer { parent.closeQuietly() }
            try destroy(path.lastComponent?.string ?? nested, in: parent)
        }
        var arguments = btrfs_ioctl_vol_args()
        try copy(name, into: &arguments.name)
        try check(ioctl(directory.rawValue, UInt(LAM_BTRFS_IOC_SNAP_DESTROY), &arguments), "destroy subvolume", name)
    }

    public static func isReadOnly(_ subvolume: FileDescriptor) throws(SystemError) -> Bool {
        try flags(of: subvolume) & readOnlyFlag != 0
    }

    /// Sets or clears the read-only property; on the disk when this returns.
    public static func setReadOnly(_ readOnly: Bool, _ subvolume: FileDescriptor) throws(SystemError) {
        var flags = try flags(of: subvolume)
        guard (flags & readOnlyFlag != 0) != readOnly else { return }
        flags ^= readOnlyFlag
        try check(
            ioctl(subvolume.rawValue, UInt(LAM_BTRFS_IOC_SUBVOL_SETFLAGS), &flags), "set subvolume flags", "subvolume")
    }

    private static let readOnlyFlag = UInt64(BTRFS_SUBVOL_RDONLY)

    private static func flags(of subvolume: FileDescriptor) throws(SystemError) -> UInt64 {
        var flags: UInt64 = 0
        try check(
            ioctl(subvolume.rawValue, UInt(LAM_BTRFS_IOC_SUBVOL_GETFLAGS), &flags), "read subvolume flags", "subvolume")
        return flags
    }

    /// The subvolume's id and, for a snapshot, the transaction in which it was taken.
    public static func info(
        _ subvolume: FileDescriptor
    ) throws(SystemError) -> (id: UInt64, takenInTransaction: UInt64?) {
        var arguments = btrfs_ioctl_get_subvol_info_args()
        try check(
            ioctl(subvolume.rawValue, UInt(LAM_BTRFS_IOC_GET_SUBVOL_INFO), &arguments), "read subvolume info",
            "subvolume")
        let isSnapshot = withUnsafeBytes(of: &arguments.parent_uuid) { $0.contains { $0 != 0 } }
        return (arguments.treeid, isSnapshot ? arguments.otransid : nil)
    }

    private static func volumeArguments(_ name: String) throws(SystemError) -> btrfs_ioctl_vol_args_v2 {
        var arguments = btrfs_ioctl_vol_args_v2()
        try copy(name, into: &arguments.name)
        return arguments
    }

    /// Fills a C array of characters, ended by NUL.
    private static func copy<Field>(_ name: String, into field: inout Field) throws(SystemError) {
        let bytes = Array(name.utf8)
        let fits = withUnsafeMutableBytes(of: &field) { buffer in
            guard bytes.count < buffer.count else { return false }
            buffer.copyBytes(from: bytes + [0])
            return true
        }
        if !fits { throw SystemError("name subvolume", name, .fileNameTooLong) }
    }
}
