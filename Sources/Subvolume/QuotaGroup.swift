import CBtrfs
import Glibc
import LinuxSystem
import SystemPackage

/// btrfs quota groups of level 0: one for each subvolume, with the subvolume's id, where quotas are enabled.
public enum QuotaGroup {
    /// Limits what a subvolume may reach, its origin's extents included. Enables quotas on the filesystem if they are
    /// not, and waits until the kernel has counted what is there. They are never disabled again: others may rely on
    /// them by then.
    /// - Parameter bytes: most bytes.
    public static func limit(
        _ subvolume: UInt64, to bytes: UInt64, on filesystem: FileDescriptor
    ) throws(SystemError) {
        do throws(SystemError) {
            try setLimit(subvolume, bytes, filesystem)
        } catch {
            // ENOTCONN: quotas are not enabled. ENOENT: the group was not made yet. EINVAL: older kernels.
            let expected: [Errno] = [.socketNotConnected, .noSuchFileOrDirectory, .invalidArgument]
            guard expected.contains(error.errno) else { throw error }
            var control = btrfs_ioctl_quota_ctl_args()
            control.cmd = UInt64(BTRFS_QUOTA_CTL_ENABLE)
            try check(ioctl(filesystem.rawValue, UInt(LAM_BTRFS_IOC_QUOTA_CTL), &control), "enable quotas", "btrfs")
            try check(ioctl(filesystem.rawValue, UInt(LAM_BTRFS_IOC_QUOTA_RESCAN_WAIT)), "count quotas", "btrfs")
            try setLimit(subvolume, bytes, filesystem)
        }
    }

    /// Removes the groups of subvolumes that are gone: newer kernels do so by themselves, older ones keep them. A
    /// group can go only when the kernel's cleaner has dropped the subvolume and a transaction has counted that: both
    /// are asked for a few times, a tenth of a second at most on an idle machine. What is not done by then is for a
    /// later call. Without quotas nothing is done.
    /// - Parameter subvolume: the id of one that has just been destroyed.
    public static func sweep(after subvolume: UInt64, on filesystem: FileDescriptor) throws(SystemError) {
        var groups = try all(on: filesystem)
        if groups.isEmpty { return }
        for _ in 0..<5 {
            try check(ioctl(filesystem.rawValue, UInt(LAM_BTRFS_IOC_SYNC)), "sync", "btrfs")
            let living = try Subvolume.all(on: filesystem)
            for group in groups where !living.contains(group) {
                var arguments = btrfs_ioctl_qgroup_create_args()
                arguments.create = 0
                arguments.qgroupid = group
                _ = ioctl(filesystem.rawValue, UInt(LAM_BTRFS_IOC_QGROUP_CREATE), &arguments)
            }
            groups = try all(on: filesystem)
            if !groups.contains(subvolume) { return }
            usleep(10000)
        }
    }

    /// Ids of the level-0 groups of the filesystem; empty where quotas are not enabled.
    public static func all(on filesystem: FileDescriptor) throws(SystemError) -> [UInt64] {
        var groups: [UInt64] = []
        do throws(SystemError) {
            try searchTree(quotaTree, through: filesystem, objects: 0...0, types: groupInfo...groupInfo) { item in
                // The level is in the upper 16 bits of the id.
                if item.type == groupInfo, item.offset >> 48 == 0 { groups.append(item.offset) }
            }
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
        }
        return groups
    }

    /// The quota tree and its items with the counts of a group (linux/btrfs_tree.h).
    private static let quotaTree: UInt64 = 8
    private static let groupInfo: UInt32 = 242

    private static func setLimit(
        _ subvolume: UInt64, _ bytes: UInt64, _ filesystem: FileDescriptor
    ) throws(SystemError) {
        var arguments = btrfs_ioctl_qgroup_limit_args()
        arguments.qgroupid = subvolume
        arguments.lim.flags = 1  // BTRFS_QGROUP_LIMIT_MAX_RFER
        arguments.lim.max_referenced = bytes
        try check(
            ioctl(filesystem.rawValue, UInt(LAM_BTRFS_IOC_QGROUP_LIMIT), &arguments), "limit quota group",
            "0/\(subvolume)")
    }
}
