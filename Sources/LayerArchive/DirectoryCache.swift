import CLinux
import Glibc
import LinuxSystem
import SystemPackage

/// Opens directories of a layer by their paths, and keeps the last one: most entries follow one of the same directory.
///
/// Paths are resolved by the kernel relative to the root's descriptor (openat2(2), RESOLVE_IN_ROOT): symlinks on the
/// way lead to where they would for a program chrooted into the layer, never outside, whoever planted them.
final class DirectoryCache {
    private let root: FileDescriptor
    private var last: (path: EntryPath, descriptor: FileDescriptor)?

    /// Names in the path of a directory that symlinks lead to.
    private let depth: UInt64

    /// - Parameter root: stays open for as long as this is used.
    init(_ root: FileDescriptor, depth: UInt64 = .max) {
        self.root = root
        self.depth = depth
    }

    deinit { forget() }

    /// A descriptor that is good until the next call.
    func directory(_ path: EntryPath) throws(SystemError) -> FileDescriptor {
        if let last, last.path == path { return last.descriptor }
        let descriptor = try open(path)
        forget()
        last = (path, descriptor)
        return descriptor
    }

    /// A descriptor that the caller closes.
    func open(_ path: EntryPath) throws(SystemError) -> FileDescriptor {
        let name = EntryName(path.isRoot ? [0x2E] : path.bytes)
        let flags = UInt64(O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let resolve = UInt64(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        let plain = name.withCString { lam_openat2(root.rawValue, $0, flags, 0, resolve | UInt64(RESOLVE_NO_SYMLINKS)) }
        if plain != -1 || Errno.current != .tooManySymbolicLinkLevels {
            return FileDescriptor(rawValue: try check(plain, "open", path.text))
        }
        let fd = name.withCString { lam_openat2(root.rawValue, $0, flags, 0, resolve) }
        let directory = FileDescriptor(rawValue: try check(fd, "open", path.text))
        guard depth == .max || isWithinDepth(directory) else {
            directory.closeQuietly()
            throw SystemError("open", "\(path.text) (through symlinks, deeper than --max-depth)", .fileNameTooLong)
        }
        return directory
    }

    /// Links lead on from link to link: the path in the tar says nothing of how deep it is in the tree. The kernel gives
    /// no path that is longer than it takes (PATH_MAX).
    private func isWithinDepth(_ directory: FileDescriptor) -> Bool {
        func names(_ descriptor: FileDescriptor) -> Int? {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink(descriptor.procPath, &buffer, buffer.count)
            return count < 0 || count == buffer.count ? nil : buffer[..<count].split(separator: 0x2F).count
        }
        guard let above = names(root), let all = names(directory) else { return false }
        return UInt64(all - above) <= depth
    }

    /// To be called when the directory at `path`, or one above it, goes.
    func forget(within path: EntryPath = .root) {
        guard let last, last.path.isWithin(path) else { return }
        last.descriptor.closeQuietly()
        self.last = nil
    }
}
