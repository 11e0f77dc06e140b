import LinuxSystem

extension HostFacts {
    /// The overlay filesystem.
    public struct Overlay: Sendable, Equatable, Encodable {
        /// Mount options beyond the three directories.
        public enum Feature: String, Sendable, Encodable, CaseIterable {
            case redirectDir = "redirect_dir"
            case index
            case nfsExport = "nfs_export"
            case metacopy
            case volatile
            case userxattr
            /// Lower directories one by one, through fsconfig(2): as many as the kernel takes, of any length.
            case appendLower = "lowerdir+"

            /// The kernel that its documentation (filesystems/overlayfs.rst) or its history dates it by.
            public var since: KernelVersion {
                switch self {
                case .redirectDir: KernelVersion(4, 10)
                case .index: KernelVersion(4, 13)
                case .nfsExport: KernelVersion(4, 16)
                case .metacopy: KernelVersion(4, 19)
                case .volatile: KernelVersion(5, 10)
                case .userxattr: KernelVersion(5, 11)
                case .appendLower: KernelVersion(6, 8)
                }
            }
        }

        /// Those that the loaded module has a parameter for, and those that the kernel is new enough for.
        public var features: Set<Feature>
        /// Those of them that a mount has without asking.
        public var enabled: Set<Feature>

        public init(features: Set<Feature>, enabled: Set<Feature> = []) {
            self.features = features
            self.enabled = enabled
        }
    }

    /// btrfs in the kernel, and the one that the state root is on.
    public struct Btrfs: Sendable, Equatable, Encodable {
        /// Names in /sys/fs/btrfs/features; none while btrfs is not loaded.
        public var features: Set<String>
        /// Whether quotas can do without counting shared extents (`btrfs quota enable --simple`); by the kernel's
        /// version while btrfs is not loaded.
        public var hasSimpleQuota: Bool
        /// The newest version of send streams; by the kernel's version while btrfs is not loaded.
        public var sendVersion: Int
        /// Of the state root's filesystem: "off", "qgroup", "squota" or "inconsistent"; nil where it is not on btrfs.
        public var quota: String?

        public init(
            features: Set<String> = [], hasSimpleQuota: Bool = false, sendVersion: Int = 1, quota: String? = nil
        ) {
            self.features = features
            self.hasSimpleQuota = hasSimpleQuota
            self.sendVersion = sendVersion
            self.quota = quota
        }
    }

    /// ZFS, in the kernel or as a process.
    public struct ZFS: Sendable, Equatable, Encodable {
        /// Of the kernel module that is loaded ("2.1.11-1"); nil when none is.
        public var moduleVersion: String?
        /// Whether the zfs-fuse daemon answers (its socket is there).
        public var hasFuseDaemon: Bool
        /// Imported pools, by name, and their states ("ONLINE"); those of zfs-fuse are not seen without asking it.
        public var pools: [String: String]

        public init(moduleVersion: String? = nil, hasFuseDaemon: Bool = false, pools: [String: String] = [:]) {
            self.moduleVersion = moduleVersion
            self.hasFuseDaemon = hasFuseDaemon
            self.pools = pools
        }
    }

    public struct DeviceMapper: Sendable, Equatable, Encodable {
        /// Of the ioctl interface ("4.47.0"); nil where this user may not ask.
        public var version: String?
        /// Versions of the targets that the kernel has now; empty where this user may not ask.
        public var targets: [String: String]
        public var pools: [Pool]

        public init(version: String?, targets: [String: String], pools: [Pool] = []) {
            self.version = version
            self.targets = targets
            self.pools = pools
        }

        /// A thin pool that is active.
        public struct Pool: Sendable, Equatable, Encodable {
            public var name: String
            /// "rw", "ro", "out_of_data_space" or "Fail"; nil where its status cannot be read.
            public var mode: String?
            public var needsCheck: Bool
            public var transactionID: UInt64
            public var totalBytes, usedBytes: UInt64
            /// Whose it is, by its name and its uuid ("LVM", "Docker", "Lamina root 1a2b3c4d"); nil when they do not tell.
            public var owner: String?
            /// Names of the devices on it that are active.
            public var users: [String]

            public init(
                name: String, mode: String? = "rw", needsCheck: Bool = false, transactionID: UInt64 = 0,
                totalBytes: UInt64 = 0, usedBytes: UInt64 = 0, owner: String? = nil, users: [String] = []
            ) {
                self.name = name
                self.mode = mode
                self.needsCheck = needsCheck
                self.transactionID = transactionID
                self.totalBytes = totalBytes
                self.usedBytes = usedBytes
                self.owner = owner
                self.users = users
            }

            /// Whether a root could have it: nobody has made anything in it.
            public var isFree: Bool {
                mode == "rw" && !needsCheck && transactionID == 0 && usedBytes == 0 && users.isEmpty
            }
        }
    }

    /// A block device that nothing seems to use.
    public struct FreeDevice: Sendable, Equatable, Encodable {
        public var path: String
        public var bytes: UInt64

        public init(path: String, bytes: UInt64) {
            self.path = path
            self.bytes = bytes
        }
    }
}
