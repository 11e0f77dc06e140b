import CLinux
import Glibc
import SystemPackage

/// Directories stacked on each other by overlayfs (the kernel's Documentation/filesystems/overlayfs.rst).
///
/// A long stack needs short names: they are resolved from `directory`, where the caller can have any it likes.
public struct OverlayStack: Sendable {
    /// From where the names of the others are resolved.
    public var directory: String
    /// What the mount table shows as the source of the mount.
    public var source: String
    /// Only read, topmost first; names without comma, colon and backslash, which are overlayfs's own.
    public var lowers: [String]
    /// Where writes go; nil for a tree that cannot be written.
    public var upper: Upper?
    /// Of overlayfs, besides the directories.
    public var options: [String]
    /// Whether the filesystem is read-only at first (`reconfigureFilesystem`). One that has not been writable is
    /// unmounted at once; any other with an upper directory writes all of that directory's filesystem to the disk first.
    public var isReadOnly: Bool

    public struct Upper: Sendable {
        public var directory: String
        /// On the same filesystem, and overlayfs's own.
        public var work: String

        public init(directory: String, work: String) {
            self.directory = directory
            self.work = work
        }
    }

    /// Most lower directories that the kernel takes (OVL_MAX_STACK of fs/overlayfs).
    public static let mostLowers = 500

    /// Bytes of options that mount(2) takes: a page of 4096 with a zero at its end.
    private static let mostData = 4095

    public init(
        directory: String, source: String, lowers: [String], upper: Upper?, options: [String], isReadOnly: Bool
    ) {
        self.directory = directory
        self.source = source
        self.lowers = lowers
        self.upper = upper
        self.options = options
        self.isReadOnly = isReadOnly
    }

    /// Whether lower directories can be given one by one (`lowerdir+`, Linux 6.8), without a limit on their names
    /// together. A kernel whose overlayfs is configured by a page of text takes every option at first, also one that
    /// there is not.
    public static let kernelTakesLowersOneByOne: Bool = {
        let context = lam_fsopen("overlay")
        guard context != -1 else { return false }
        defer { Glibc.close(context) }
        return lam_fsconfig_flag(context, "lamina_no_such_option") == -1
            && lam_fsconfig_string(context, "lowerdir+", "/") == 0
    }()

    /// Mounts on this thread, whose working directory, capabilities and mount namespace are changed.
    fileprivate func mountOnOwnThread() throws(SystemError) -> FileDescriptor {
        try check(lam_unshare(LAM_CLONE_FS), "unshare", source)
        try check(chdir(directory), "chdir", directory)
        // overlayfs writes with the capabilities of the one who mounted it. With this one, writes would pass the quotas
        // of ext4 and take the blocks that it keeps for the superuser.
        try check(lam_drop_effective_capability(LAM_CAP_SYS_RESOURCE), "capset", source)
        var options = self.options
        if let upper { options += ["upperdir=\(upper.directory)", "workdir=\(upper.work)"] }
        if Self.kernelTakesLowersOneByOne {
            options = lowers.map { "lowerdir+=\($0)" } + options + (isReadOnly ? ["ro"] : [])
            return try DetachedMount.mountFilesystem(
                Mount(type: "overlay", source: source, options: options), attributes: 0)
        }
        return try mountByData((["lowerdir=" + lowers.joined(separator: ":")] + options).joined(separator: ","))
    }

    /// Mounts with mount(2), in a mount namespace that goes with this thread, and takes the tree out of it.
    private func mountByData(_ data: String) throws(SystemError) -> FileDescriptor {
        guard data.utf8.count <= Self.mostData else {
            throw SystemError(
                "mount", source, .argListTooLong,
                detail: "the names of \(lowers.count) directories are longer than the \(Self.mostData) bytes that "
                    + "this kernel takes (Linux 6.8 has no such limit)")
        }
        try check(lam_unshare(LAM_CLONE_NEWNS), "unshare", source)
        try check(mount("none", "/", nil, LAM_MS_REC_PRIVATE, nil), "make mounts private", "/")
        // The names are resolved from the working directory, which what is mounted on it does not cover.
        let flags = isReadOnly ? LAM_MS_RDONLY : 0
        try check(mount(source, directory, "overlay", flags, data), "mount", source)
        let tree = FileDescriptor(
            rawValue: try check(lam_open_tree_clone(AT_FDCWD, directory, 0), "open_tree", source))
        do throws(SystemError) {
            // mount(2) makes the mount read-only with the filesystem.
            try DetachedMount.makeWritable(tree)
        } catch {
            tree.closeQuietly()
            throw error
        }
        return tree
    }
}

extension DetachedMount {
    /// Mounts a stack of directories without attaching it anywhere.
    /// - Throws: `SystemError`; EBUSY where the upper directory is in use by another mount and the options ask for
    ///   `index=on`, E2BIG for names that are too long for this kernel.
    public init(_ stack: OverlayStack) throws(SystemError) {
        let result: Result<FileDescriptor, SystemError>
        do throws(Errno) {
            result = try onOwnThread { Result { () throws(SystemError) in try stack.mountOnOwnThread() } }
        } catch {
            throw SystemError("start thread", stack.source, error)
        }
        self.init(root: try result.get())
    }
}
