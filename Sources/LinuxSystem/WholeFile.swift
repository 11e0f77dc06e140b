import Glibc
import SystemPackage

/// A file that is there under its name once it is whole, and not at all before: without a name until then, or, where
/// the filesystem has no files without one, under another. What is no regular file (a device, a pipe) is written to.
public struct WholeFile: Sendable {
    /// What is written to.
    public let descriptor: FileDescriptor
    /// Nil for what is written to in place.
    private let path: String?
    private let temporaryName: String
    private let isNamed: Bool

    /// - Throws: what opening says; ENOENT for a symlink that leads nowhere.
    public init(_ name: String) throws(SystemError) {
        let isLink = (try? FileStatus(path: name, followLinks: false))?.kind == .symlink
        guard let path = isLink ? resolvedPath(name) : absolutePath(name) else {
            throw SystemError(
                "open", name, .noSuchFileOrDirectory, detail: "it is a symbolic link that leads nowhere")
        }
        temporaryName = path + ".\(String(UInt64.random(in: 0 ... .max), radix: 36)).partial"
        if let kind = (try? FileStatus(path: path))?.kind, kind != .regular {
            (self.path, isNamed) = (nil, false)
            descriptor = try FileDescriptor.opening(path, .writeOnly)
            return
        }
        self.path = path
        let directory = FilePath(path).removingLastComponent().string
        if let nameless = try? FileDescriptor.opening(
            directory, .writeOnly, flags: temporaryFileFlag, permissions: 0o644)
        {
            (descriptor, isNamed) = (nameless, false)
            return
        }
        descriptor = try FileDescriptor.opening(
            temporaryName, .writeOnly, flags: O_CREAT | O_EXCL, permissions: 0o644)
        isNamed = true
    }

    /// Puts it on the disk and under its name.
    public func publish() throws(SystemError) {
        guard let path else { return }
        try descriptor.synchronize()
        if !isNamed {
            try check(linkat(AT_FDCWD, descriptor.procPath, AT_FDCWD, temporaryName, AT_SYMLINK_FOLLOW), "link", path)
        }
        if rename(temporaryName, path) == -1 {
            let error = SystemError.last("rename", path)
            unlink(temporaryName)
            throw error
        }
    }

    /// Closes it; what was not published is gone.
    public func close() {
        descriptor.closeQuietly()
        if isNamed { unlink(temporaryName) }
    }
}
