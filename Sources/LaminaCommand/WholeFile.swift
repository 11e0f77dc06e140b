import Glibc
import Lamina
import LinuxSystem
import SystemPackage

/// A file that is there under its name once it is whole, and not at all before: without a name until then, or, where
/// the filesystem has no files without one, under another. What is no regular file (a device, a pipe) is written to.
struct WholeFile {
    let descriptor: FileDescriptor
    /// Nil for what is written to in place.
    private let path: String?
    private let temporaryName: String
    private let isNamed: Bool

    /// - Throws: what opening says; `.failedPrecondition` for a symlink that leads nowhere.
    init(_ name: String) throws(StorageError) {
        let isLink = (try? FileStatus(path: name, followLinks: false))?.kind == .symlink
        guard let path = isLink ? resolvedPath(name) : absolutePath(name) else {
            throw StorageError(.failedPrecondition, "write", name, "it is a symbolic link that leads nowhere")
        }
        temporaryName = path + ".\(String(UInt64.random(in: 0 ... .max), radix: 36)).partial"
        if let kind = (try? FileStatus(path: path))?.kind, kind != .regular {
            (self.path, isNamed) = (nil, false)
            descriptor = try attempt("write", name) { try FileDescriptor.opening(path, .writeOnly) }
            return
        }
        self.path = path
        let directory = FilePath(path).removingLastComponent().string
        let nameless = try? FileDescriptor.opening(
            directory, .writeOnly, flags: temporaryFileFlag, permissions: 0o644)
        if let nameless {
            (descriptor, isNamed) = (nameless, false)
            return
        }
        let temporary = temporaryName
        descriptor = try attempt("write", name) {
            try FileDescriptor.opening(temporary, .writeOnly, flags: O_CREAT | O_EXCL, permissions: 0o644)
        }
        isNamed = true
    }

    /// Puts it on the disk and under its name.
    func publish() throws(StorageError) {
        guard let path else { return }
        try attempt("write", path) {
            try descriptor.synchronize()
            if !isNamed {
                try check(
                    linkat(AT_FDCWD, descriptor.procPath, AT_FDCWD, temporaryName, AT_SYMLINK_FOLLOW), "link", path)
            }
            if rename(temporaryName, path) == -1 {
                let error = SystemError.last("rename", path)
                unlink(temporaryName)
                throw error
            }
        }
    }

    /// Closes it; what was not published is gone.
    func close() {
        descriptor.closeQuietly()
        if isNamed { unlink(temporaryName) }
    }
}
