import LinuxSystem

/// What the probe has read of a host. A value, so that drivers can be judged on the facts of other hosts.
public struct HostFacts: Sendable {
    public var kernelRelease: String
    public var isRoot: Bool
    /// Where the state root is or would be.
    public var path: String
    /// The filesystem of `path`, or of the nearest directory above it that exists.
    public var filesystem: Filesystem
    /// Names of filesystems that the kernel has now (/proc/filesystems).
    public var kernelFilesystems: Set<String>
    /// Modules that could be loaded or are built in (modules.dep and modules.builtin of the running kernel).
    public var availableModules: Set<String>
    /// Nil when the kernel has no device-mapper at all now.
    public var deviceMapper: DeviceMapper?
    /// Whether loop devices can be had (/dev/loop-control).
    public var hasLoop: Bool
    /// Paths of the tools that were looked for and found, by name.
    public var tools: [String: String]

    public struct Filesystem: Sendable, Equatable {
        public var type: String
        public var magic: UInt64
        public var isReadOnly: Bool
        public var totalBytes: UInt64
        public var freeBytes: UInt64
        public var freeInodes: UInt64
        /// Whether its directories say of which type their entries are (d_type); nil where none was found that tells.
        public var hasEntryTypes: Bool?

        public init(
            type: String, magic: UInt64, isReadOnly: Bool, totalBytes: UInt64, freeBytes: UInt64, freeInodes: UInt64,
            hasEntryTypes: Bool? = nil
        ) {
            self.type = type
            self.magic = magic
            self.isReadOnly = isReadOnly
            self.totalBytes = totalBytes
            self.freeBytes = freeBytes
            self.freeInodes = freeInodes
            self.hasEntryTypes = hasEntryTypes
        }
    }

    public struct DeviceMapper: Sendable, Equatable {
        /// Of the ioctl interface ("4.47.0"); nil where this user may not ask.
        public var version: String?
        /// Versions of the targets that the kernel has now; empty where this user may not ask.
        public var targets: [String: String]

        public init(version: String?, targets: [String: String]) {
            self.version = version
            self.targets = targets
        }
    }

    public init(
        kernelRelease: String, isRoot: Bool, path: String, filesystem: Filesystem, kernelFilesystems: Set<String>,
        availableModules: Set<String>, deviceMapper: DeviceMapper?, hasLoop: Bool, tools: [String: String]
    ) {
        self.kernelRelease = kernelRelease
        self.isRoot = isRoot
        self.path = path
        self.filesystem = filesystem
        self.kernelFilesystems = kernelFilesystems
        self.availableModules = availableModules
        self.deviceMapper = deviceMapper
        self.hasLoop = hasLoop
        self.tools = tools
    }

    /// What keeps a root from being made at `path`, where its filesystem is read-only.
    public var readOnlyReason: DriverAssessment.Reason? {
        filesystem.isReadOnly ? .init("FS_READ_ONLY", "the filesystem of \(path) is read-only") : nil
    }

    /// Whether the kernel has the filesystem or could load it.
    public func supports(filesystem: String) -> Bool {
        kernelFilesystems.contains(filesystem) || availableModules.contains(filesystem)
    }
}

/// A driver's judgement of a host.
public struct DriverAssessment: Sendable, Equatable {
    public enum Status: String, Sendable, Codable {
        /// It works here as it is.
        case available
        /// It works here with a restriction, or only with an option that the user must give; never picked on its own.
        case limited
        case unavailable
    }

    /// Why, in words and in a code that stays the same between versions ("FS_NOT_BTRFS").
    public struct Reason: Sendable, Equatable, Codable {
        public let code: String
        public let message: String

        public init(_ code: String, _ message: String) {
            self.code = code
            self.message = message
        }
    }

    public var driver: String
    public var status: Status
    /// Never empty.
    public var reasons: [Reason]
    /// What to do to make it available.
    public var remedy: String?
    /// What it is good at here, in a line.
    public var strengths: String?
    /// Whether `init --loop` would work with this driver here.
    public var worksOnLoop: Bool

    public init(
        driver: String, status: Status, reasons: [Reason], remedy: String? = nil, strengths: String? = nil,
        worksOnLoop: Bool = false
    ) {
        self.driver = driver
        self.status = status
        self.reasons = reasons
        self.remedy = remedy
        self.strengths = strengths
        self.worksOnLoop = worksOnLoop
    }
}
