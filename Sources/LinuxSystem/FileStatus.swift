import CLinux
import Glibc
import SystemPackage

/// A device number.
public struct DeviceNumber: Sendable, Hashable, CustomStringConvertible {
    public let major: UInt32
    public let minor: UInt32

    public init(major: UInt32, minor: UInt32) {
        self.major = major
        self.minor = minor
    }

    /// Reads `"253:4"`, the form of /sys and of dm tables.
    public init?(_ text: some StringProtocol) {
        // As bytes, which cost less: the mount table has one in each line.
        let parts = text.utf8.split(separator: UInt8(ascii: ":")).map { String(decoding: $0, as: UTF8.self) }
        guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else { return nil }
        self.init(major: major, minor: minor)
    }

    public var description: String { "\(major):\(minor)" }

    /// The number as mknod(2) takes it.
    public var raw: dev_t { gnu_dev_makedev(major, minor) }
}

/// What statx(2) tells of a file.
public struct FileStatus: Sendable, Equatable {
    public enum Kind: UInt32, Sendable {
        case fifo = 0o010000
        case characterDevice = 0o020000
        case directory = 0o040000
        case blockDevice = 0o060000
        case regular = 0o100000
        case symlink = 0o120000
        case socket = 0o140000
    }

    public let kind: Kind
    /// Permission bits with setuid, setgid and sticky: the low 12 bits of the mode.
    public let permissions: UInt32
    public let uid: UInt32
    public let gid: UInt32
    public let linkCount: UInt32
    public let inode: UInt64
    /// Bytes.
    public let size: UInt64
    /// Bytes that the file occupies on its filesystem.
    public let allocated: UInt64
    public let modified: Timestamp
    public let changed: Timestamp
    /// Time of birth; nil where the filesystem keeps none.
    public let created: Timestamp?
    /// The filesystem's device.
    public let device: DeviceNumber
    /// For device nodes, the device that the node stands for.
    public let node: DeviceNumber
    public let mountID: UInt64
    /// Whether a mount starts here.
    public let isMountRoot: Bool

    /// Seconds and nanoseconds since 1970.
    public struct Timestamp: Sendable, Hashable {
        public var seconds: Int64
        public var nanoseconds: UInt32

        public init(seconds: Int64, nanoseconds: UInt32) {
            self.seconds = seconds
            self.nanoseconds = nanoseconds
        }

        /// What the kernel gives a file that changes now: its coarse clock, which stands still for some milliseconds.
        public static var now: Timestamp {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME_COARSE, &time)
            return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
        }
    }

    /// Facts of `name` relative to `directory`; a symlink is not followed.
    public init(
        at directory: FileDescriptor, _ name: String, flags: Int32 = LAM_AT_SYMLINK_NOFOLLOW
    ) throws(SystemError) {
        var raw = lam_file_status()
        try check(lam_statx(directory.rawValue, name, flags, &raw), "statx", name)
        self.init(raw)
    }

    /// Facts of the file at a path; links are followed unless said otherwise.
    public init(path: String, followLinks: Bool = true) throws(SystemError) {
        var raw = lam_file_status()
        let flags = followLinks ? 0 : LAM_AT_SYMLINK_NOFOLLOW
        try check(lam_statx(AT_FDCWD, path, flags, &raw), "statx", path)
        self.init(raw)
    }

    /// As `init(at:_:)`, for names that are bytes rather than text.
    public init(at directory: FileDescriptor, nameBytes: UnsafePointer<CChar>) throws(SystemError) {
        var raw = lam_file_status()
        try check(
            lam_statx(directory.rawValue, nameBytes, LAM_AT_SYMLINK_NOFOLLOW, &raw),
            "statx", String(cString: nameBytes))
        self.init(raw)
    }

    private init(_ raw: lam_file_status) {
        kind = Kind(rawValue: raw.mode & 0o170000) ?? .regular
        permissions = raw.mode & 0o7777
        uid = raw.uid
        gid = raw.gid
        linkCount = raw.nlink
        inode = raw.inode
        size = raw.size
        allocated = raw.blocks * 512
        modified = Timestamp(seconds: raw.mtime_seconds, nanoseconds: raw.mtime_nanoseconds)
        changed = Timestamp(seconds: raw.ctime_seconds, nanoseconds: raw.ctime_nanoseconds)
        let hasBirth = raw.mask & LAM_STATX_BTIME != 0
        created = hasBirth ? Timestamp(seconds: raw.btime_seconds, nanoseconds: raw.btime_nanoseconds) : nil
        device = DeviceNumber(major: raw.dev_major, minor: raw.dev_minor)
        node = DeviceNumber(major: raw.rdev_major, minor: raw.rdev_minor)
        mountID = raw.mount_id
        isMountRoot = raw.attributes & LAM_STATX_ATTR_MOUNT_ROOT != 0
    }
}
