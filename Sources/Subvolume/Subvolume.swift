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
        let arguments = try volumeArguments(name)
        try arguments.call(UInt(LAM_BTRFS_IOC_SUBVOL_CREATE_V2), directory, "create subvolume", name)
    }

    /// Makes a snapshot `name` of the subvolume open as `source`, in `directory`.
    public static func snapshot(
        of source: FileDescriptor, _ name: String, in directory: FileDescriptor, readOnly: Bool = false
    ) throws(SystemError) {
        let arguments = try volumeArguments(name)
        arguments.set(Int64(source.rawValue), at: LAM_BTRFS_VOL_ARGS_V2_FD)
        if readOnly { arguments.set(readOnlyFlag, at: LAM_BTRFS_VOL_ARGS_V2_FLAGS) }
        try arguments.call(UInt(LAM_BTRFS_IOC_SNAP_CREATE_V2), directory, "snapshot", name)
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
        let arguments = IoctlArguments(size: LAM_BTRFS_VOL_ARGS_SIZE)
        try arguments.setName(name, at: LAM_BTRFS_VOL_ARGS_NAME)
        try arguments.call(UInt(LAM_BTRFS_IOC_SNAP_DESTROY), directory, "destroy subvolume", name)
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
        let arguments = IoctlArguments(size: LAM_BTRFS_SUBVOL_INFO_SIZE)
        try arguments.call(UInt(LAM_BTRFS_IOC_GET_SUBVOL_INFO), subvolume, "read subvolume info", "subvolume")
        let parent = LAM_BTRFS_SUBVOL_INFO_PARENT
        let isSnapshot = arguments.bytes(parent..<parent + 16).contains { $0 != 0 }
        let taken = arguments.get(UInt64.self, at: LAM_BTRFS_SUBVOL_INFO_OTRANSID)
        return (arguments.get(UInt64.self, at: LAM_BTRFS_SUBVOL_INFO_TREE), isSnapshot ? taken : nil)
    }

    private static func volumeArguments(_ name: String) throws(SystemError) -> IoctlArguments {
        let arguments = IoctlArguments(size: LAM_BTRFS_VOL_ARGS_V2_SIZE)
        try arguments.setName(name, at: LAM_BTRFS_VOL_ARGS_V2_NAME)
        return arguments
    }
}
