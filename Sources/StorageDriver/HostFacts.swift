import LinuxSystem

/// What the probe has read of a host. A value, so that drivers can be judged on the facts of other hosts.
public struct HostFacts: Sendable {
    /// What the process that asks may do.
    public enum Privilege: String, Sendable, Codable {
        /// All that drivers do.
        case superuser
        /// The superuser of a user namespace, or one without CAP_SYS_ADMIN: as inside of containers.
        case contained
        /// An ordinary user: what only the superuser sees is not among the facts, and named in `unseen`. Drivers judge
        /// what they could do for the superuser.
        case user
    }

    public var kernelRelease: String
    /// Options of the kernel's build that matter to drivers, without `CONFIG_` ("OVERLAY_FS": "m"; those that are off
    /// are not there). Nil where the kernel does not tell.
    public var kernelConfiguration: [String: String]?
    /// Names of filesystems that the kernel has now (/proc/filesystems).
    public var kernelFilesystems: Set<String>
    /// Modules that could be loaded or are built in (modules.dep and modules.builtin of the running kernel).
    public var availableModules: Set<String>
    public var privilege: Privilege
    /// What kind of container this is ("docker", "user namespace"); nil where nothing shows one.
    public var container: String?

    /// Where the state root is or would be.
    public var path: String
    /// Whether something that is no directory is at `path`, or above it.
    public var isOccupied: Bool
    /// The filesystem of `path`, or of the nearest directory above it that exists.
    public var filesystem: Filesystem
    /// Nil when the kernel has no overlay filesystem and cannot load it.
    public var overlay: Overlay?
    /// Nil when the kernel has no btrfs and cannot load it.
    public var btrfs: Btrfs?
    public var zfs: ZFS
    /// The version of aufs in the kernel; nil when it has none now.
    public var aufsVersion: String?
    /// Nil when the kernel has no device-mapper at all now.
    public var deviceMapper: DeviceMapper?
    /// Block devices that nothing seems to use: not mounted, no swap, no part of another device, no partitions, no
    /// signature. Suggestions; nothing is chosen from them.
    public var freeDevices: [FreeDevice]
    /// Whether loop devices can be had (/dev/loop-control).
    public var hasLoop: Bool
    /// Paths of the tools that were looked for and found, by name.
    public var tools: [String: String]
    /// What could not be seen, and why, in a line each.
    public var unseen: [String]

    public init(
        kernelRelease: String, privilege: Privilege, path: String, isOccupied: Bool = false, filesystem: Filesystem,
        kernelFilesystems: Set<String> = [], availableModules: Set<String> = [],
        kernelConfiguration: [String: String]? = nil, container: String? = nil, overlay: Overlay? = nil,
        btrfs: Btrfs? = nil, zfs: ZFS = ZFS(), aufsVersion: String? = nil, deviceMapper: DeviceMapper? = nil,
        freeDevices: [FreeDevice] = [], hasLoop: Bool = false, tools: [String: String] = [:], unseen: [String] = []
    ) {
        self.kernelRelease = kernelRelease
        self.privilege = privilege
        self.path = path
        self.isOccupied = isOccupied
        self.filesystem = filesystem
        self.kernelFilesystems = kernelFilesystems
        self.availableModules = availableModules
        self.kernelConfiguration = kernelConfiguration
        self.container = container
        self.overlay = overlay
        self.btrfs = btrfs
        self.zfs = zfs
        self.aufsVersion = aufsVersion
        self.deviceMapper = deviceMapper
        self.freeDevices = freeDevices
        self.hasLoop = hasLoop
        self.tools = tools
        self.unseen = unseen
    }

    public var kernelVersion: KernelVersion { KernelVersion(release: kernelRelease) }

    /// Whether the kernel has the filesystem or could load it.
    public func supports(filesystem: String) -> Bool {
        kernelFilesystems.contains(filesystem) || availableModules.contains(filesystem)
    }

    /// A filesystem as it is mounted.
    public struct Filesystem: Sendable, Equatable {
        /// By its magic number; as mounted where that says more ("fuse.sshfs", "ext3").
        public var type: String
        public var magic: UInt64
        /// Nil where the magic number is not known.
        public var family: FilesystemKind.Family? { FilesystemKind(magic: magic)?.family }
        public var isReadOnly: Bool
        public var totalBytes: UInt64
        public var freeBytes: UInt64
        /// 0 where the filesystem makes inodes as it needs them.
        public var totalInodes: UInt64
        public var freeInodes: UInt64

        public var mountPoint: String
        public var source: String
        /// Options of the mount and of the filesystem.
        public var options: [String]

        /// Whether directories tell the types of their entries (xfs made with ftype=0 does not); nil when unknown.
        public var hasEntryTypes: Bool?
        /// Whether files can share their data (FICLONE); nil when unknown.
        public var hasReflink: Bool?
        /// Whether project quotas are enforced: by the options it is mounted with.
        public var hasProjectQuota: Bool
        /// Whether the kernel can map the owners of files at a mount of it; nil when unknown. By the kernel's version.
        public var hasIDMappedMounts: Bool?

        public init(
            type: String, magic: UInt64, isReadOnly: Bool = false, totalBytes: UInt64 = 0, freeBytes: UInt64 = 0,
            totalInodes: UInt64 = 0, freeInodes: UInt64 = 0, mountPoint: String = "/", source: String = "",
            options: [String] = [], hasEntryTypes: Bool? = nil, hasReflink: Bool? = nil, hasProjectQuota: Bool = false,
            hasIDMappedMounts: Bool? = nil
        ) {
            self.type = type
            self.magic = magic
            self.isReadOnly = isReadOnly
            self.totalBytes = totalBytes
            self.freeBytes = freeBytes
            self.totalInodes = totalInodes
            self.freeInodes = freeInodes
            self.mountPoint = mountPoint
            self.source = source
            self.options = options
            self.hasEntryTypes = hasEntryTypes
            self.hasReflink = hasReflink
            self.hasProjectQuota = hasProjectQuota
            self.hasIDMappedMounts = hasIDMappedMounts
        }
    }
}
