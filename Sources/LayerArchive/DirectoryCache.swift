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

    /// - Parameter root: stays open for as long as this is used.
    init(_ root: FileDescriptor) { self.root = root }

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
        let fd = name.withCString { lam_openat2(root.rawValue, $0, flags, 0, resolve) }
        return FileDescriptor(rawValue: try check(fd, "open", path.text))
    }

    /// To be called when the directory at `path`, or one above it, goes.
    func forget(within path: EntryPath = .root) {
        guard let last, last.path.isWithin(path) else { return }
        last.descriptor.closeQuietly()
        self.last = nil
    }
}
