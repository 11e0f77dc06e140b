import CLinux
import Glibc
import SystemPackage

/// How to mount something, as a value that any process may act on (mount(8)'s type, source and options).
/// The type `bind` makes a directory visible elsewhere.
public struct Mount: Sendable, Hashable, Codable {
    public let type: String
    public let source: String
    public let options: [String]

    public init(type: String, source: String, options: [String]) {
        self.type = type
        self.source = source
        self.options = options
    }

    public var isReadOnly: Bool { options.contains("ro") }
}

/// A mounted tree that has no place in the file hierarchy: it is reached through its descriptor, and is gone when
/// that is closed or its process ends, so that a killed process leaves no mount.
public struct DetachedMount: ~Copyable {
    /// The root directory of the tree (O_PATH).
    public let root: FileDescriptor

    /// Mounts without attaching anywhere (fsopen(2) and fsmount(2), or open_tree(2) for a bind).
    /// - Throws: `SystemError` with the kernel's own explanation in `detail`, where it gives one.
    public init(_ mount: Mount) throws(SystemError) {
        root =
            mount.type == "bind"
            ? try Self.cloneTree(mount)
            : try Self.mountFilesystem(mount, attributes: mount.isReadOnly ? LAM_MOUNT_ATTR_RDONLY : 0)
    }

    /// Takes the descriptor over.
    init(root: FileDescriptor) { self.root = root }

    deinit { root.closeQuietly() }

    /// Opens the root directory for reading its entries; the caller closes it.
    public borrowing func openRoot() throws(SystemError) -> FileDescriptor {
        try root.openBeneath(".", .readOnly, flags: O_DIRECTORY)
    }

    /// Makes the tree visible at `target`, an existing directory. It then outlives this value.
    /// - Parameter isPrivate: what is mounted below `target` later does not appear below copies of this mount, nor
    ///   the reverse.
    public borrowing func attach(to target: String, isPrivate: Bool = false) throws(SystemError) {
        try check(lam_move_mount(root.rawValue, AT_FDCWD, target), "move_mount", target)
        if isPrivate { try check(lam_mount_make_private(root.rawValue), "mount_setattr", target) }
    }

    /// Takes the read-only attribute from the mount; a filesystem that is read-only itself stays so.
    public borrowing func makeWritable() throws(SystemError) { try Self.makeWritable(root) }

    static func makeWritable(_ mount: FileDescriptor) throws(SystemError) {
        let result = lam_mount_set_attributes(mount.rawValue, 0, UInt64(LAM_MOUNT_ATTR_RDONLY), 0)
        try check(result, "mount_setattr", "descriptor \(mount.rawValue)")
    }

    private static func cloneTree(_ mount: Mount) throws(SystemError) -> FileDescriptor {
        let recursive: Int32 = mount.options.contains("rbind") ? 1 : 0
        let fd = try check(lam_open_tree_clone(AT_FDCWD, mount.source, recursive), "open_tree", mount.source)
        if mount.isReadOnly {
            let result = lam_mount_set_attributes(fd, UInt64(LAM_MOUNT_ATTR_RDONLY), 0, recursive)
            if result == -1 {
                let error = SystemError.last("mount_setattr", mount.source)
                Glibc.close(fd)
                throw error
            }
        }
        return FileDescriptor(rawValue: fd)
    }

    /// - Parameter attributes: of the mount; `ro` among the options is the filesystem's.
    static func mountFilesystem(_ mount: Mount, attributes: UInt32) throws(SystemError) -> FileDescriptor {
        let context = FileDescriptor(rawValue: try check(lam_fsopen(mount.type), "fsopen", mount.type))
        defer { context.closeQuietly() }
        func configured(_ result: Int32, _ operation: String) throws(SystemError) {
            if result == -1 {
                let errno = Errno.current
                throw SystemError(operation, mount.source, errno, detail: explanation(of: context))
            }
        }
        try configured(lam_fsconfig_string(context.rawValue, "source", mount.source), "mount")
        for option in mount.options where option != "rw" {
            let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
            let result =
                parts.count == 2
                ? lam_fsconfig_string(context.rawValue, parts[0], parts[1])
                : lam_fsconfig_flag(context.rawValue, parts[0])
            try configured(result, "mount option \(option) of")
        }
        try configured(lam_fsconfig_create(context.rawValue), "mount")
        let fd = lam_fsmount(context.rawValue, attributes)
        try configured(fd == -1 ? -1 : 0, "fsmount")
        return FileDescriptor(rawValue: fd)
    }

    /// The messages that the kernel left in a mount context ("e ext4: bad geometry"), joined.
    private static func explanation(of context: FileDescriptor) -> String? {
        var lines: [String] = []
        var buffer = [UInt8](repeating: 0, count: 1024)
        while true {
            let count = Glibc.read(context.rawValue, &buffer, buffer.count)
            if count <= 0 { break }
            let line = String(decoding: buffer[..<count], as: UTF8.self)
            lines.append(line.dropFirst(2).trimmingSuffix("\n"))
        }
        return lines.isEmpty ? nil : lines.joined(separator: "; ")
    }
}

extension StringProtocol {
    /// Without the given ending, if it is there.
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : String(self)
    }
}

/// Sets a flag of the filesystem that is mounted at `target`, for all its mounts: `"rw"` makes one that was mounted
/// read-only writable, but for mounts that are read-only themselves.
public func reconfigureFilesystem(_ target: String, _ flag: String) throws(SystemError) {
    let context = FileDescriptor(rawValue: try check(lam_fspick(target), "fspick", target))
    defer { context.closeQuietly() }
    try check(lam_fsconfig_flag(context.rawValue, flag), "remount", target)
    try check(lam_fsconfig_reconfigure(context.rawValue), "remount", target)
}

/// Unmounts what is mounted at `target`; with `lazily` at once for all, and really when its last user goes.
/// - Throws: `SystemError`; EBUSY when it is in use and stays so for a moment.
public func unmount(_ target: String, lazily: Bool = false) throws(SystemError) {
    try patiently { () throws(SystemError) -> Void in
        try check(umount2(target, (lazily ? Int32(MNT_DETACH) : 0) | umountNoFollow), "umount", target)
    }
}

/// UMOUNT_NOFOLLOW of linux/fs.h: a symlink at the target is not followed.
private let umountNoFollow: Int32 = 8
