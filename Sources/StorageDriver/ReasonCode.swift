/// Every reason that a driver or the probe gives, by a code that scripts may rely on: it stays the same between
/// versions, whatever the message beside it says.
public enum ReasonCode: String, Sendable, Codable, CaseIterable {
    // The state root, whatever the driver.
    case readOnly = "FS_READ_ONLY"
    case network = "FS_NETWORK"
    case fuse = "FS_FUSE"
    case pseudo = "FS_PSEUDO"
    case foreign = "FS_FOREIGN"
    case notDirectory = "ROOT_NOT_DIRECTORY"
    case volatile = "FS_VOLATILE"
    case noSpace = "FS_NO_SPACE"
    // The process.
    case needsRoot = "NEEDS_ROOT"
    case contained = "CONTAINED"
    // What several drivers need.
    case toolMissing = "TOOL_MISSING"
    case loopMissing = "LOOP_MISSING"
    case loopOnly = "LOOP_ONLY"
    // btrfs.
    case btrfsMissing = "BTRFS_MISSING"
    case onBtrfs = "FS_BTRFS"
    case notBtrfs = "FS_NOT_BTRFS"
    // zfs.
    case zfsMissing = "ZFS_MISSING"
    case zfsNotLoaded = "ZFS_NOT_LOADED"
    case onZFS = "FS_ZFS"
    case notZFS = "FS_NOT_ZFS"
    case zfsNeedsPool = "ZFS_NEEDS_POOL"
    // devicemapper.
    case deviceMapperMissing = "DM_MISSING"
    case deviceMapperNotLoaded = "DM_NOT_LOADED"
    case deviceMapperNoNode = "DM_NO_NODE"
    case thinPoolMissing = "THIN_POOL_MISSING"
    case needsPool = "DM_NEEDS_POOL"
    case thinCheckMissing = "THIN_CHECK_MISSING"
    // overlay2.
    case overlayMissing = "OVERLAY_MISSING"
    case canBeUpper = "FS_UPPER"
    case notUpper = "FS_NOT_UPPER"
    case noEntryTypes = "FS_NO_D_TYPE"
    case untried = "FS_UNKNOWN"
    case noProjectQuota = "FS_NO_PROJECT_QUOTA"
    // aufs.
    case aufsMissing = "AUFS_MISSING"
    case aufsNotLoaded = "AUFS_NOT_LOADED"
    case canBeBranch = "FS_BRANCH"
    case notBranch = "FS_NO_BRANCH"
    // vfs.
    case copies = "VFS_COPIES"

    /// What it means wherever it is said, and what follows from it.
    public var meaning: String {
        switch self {
        case .readOnly: "The filesystem of the state root is read-only: no driver can keep anything there."
        case .network:
            "The state root is on another machine's filesystem: locks, links and extended attributes do not hold."
        case .fuse: "A process serves the filesystem of the state root: what it keeps of layers is its own affair."
        case .pseudo: "The state root is in a filesystem of the kernel's own objects, which keeps no files."
        case .foreign: "The filesystem of the state root keeps no Unix owners, permissions or links."
        case .notDirectory: "The path of the state root is there and is no directory."
        case .volatile: "The state root is in memory: all layers are gone with a reboot. Never chosen on its own."
        case .noSpace: "The filesystem of the state root is as good as full. Never chosen on its own."
        case .needsRoot: "Not run as the superuser, who alone sees what decides here."
        case .contained:
            "Run inside a container: the kernel refuses what the driver does to the superuser of a user namespace."
        case .toolMissing: "A program that the driver runs is not installed."
        case .loopMissing: "There are no loop devices, and so no driver in a file."
        case .loopOnly: "The driver works in a file (--loop SIZE): for trying out. Never chosen on its own."
        case .btrfsMissing: "The kernel has no btrfs and cannot load it."
        case .onBtrfs: "The state root is on btrfs."
        case .notBtrfs: "The state root is not on btrfs."
        case .zfsMissing: "Neither the kernel nor a process offers ZFS."
        case .zfsNotLoaded: "The kernel could load the zfs module and has not."
        case .onZFS: "The state root is on ZFS."
        case .notZFS: "The state root is not on ZFS."
        case .zfsNeedsPool: "A pool or dataset must be named (--pool). Never chosen on its own."
        case .deviceMapperMissing: "The kernel has no device-mapper and cannot load it."
        case .deviceMapperNotLoaded: "The kernel could load device-mapper and has not."
        case .deviceMapperNoNode:
            "device-mapper is in the kernel and its control node is not in /dev: what it can do is not seen."
        case .thinPoolMissing: "device-mapper has no thin-pool target and cannot load it."
        case .needsPool: "A pool, a block device or a file must be named. Never chosen on its own."
        case .thinCheckMissing: "Pools are not checked before they are used."
        case .overlayMissing: "The kernel has no overlay filesystem and cannot load it."
        case .canBeUpper: "The filesystem of the state root can hold the upper directories of overlays."
        case .notUpper: "The filesystem of the state root cannot hold the upper directories of overlays."
        case .noEntryTypes:
            "Directories do not tell the types of their entries, which overlay needs (xfs: made with ftype=0)."
        case .untried: "Nobody has tried the driver on this filesystem. Only when named."
        case .noProjectQuota: "The filesystem of the state root is not mounted with project quotas: no --size."
        case .aufsMissing: "The kernel has no aufs: it was never part of Linux, and distributions have dropped it."
        case .aufsNotLoaded: "The kernel could load the aufs module and has not."
        case .canBeBranch: "The kernel has aufs, and the filesystem of the state root can hold its branches."
        case .notBranch: "The filesystem of the state root cannot hold writable branches of aufs."
        case .copies: "Every layer is a full copy of its parent. Only when named."
        }
    }
}
