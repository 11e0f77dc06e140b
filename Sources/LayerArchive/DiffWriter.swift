import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Writes changes as an OCI layer: what was added or modified whole, what is gone as whiteouts.
final class DiffWriter {
    private(set) var warnings = Warnings()
    private let root: FileDescriptor
    private let tar: TarWriter
    private let output: ArchiveOutput
    /// Where the first name of an inode with several stands in the tar.
    private var firstLinks: [UInt64: [UInt8]] = [:]
    private let directories: DirectoryCache
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)

    init(_ root: FileDescriptor, _ output: ArchiveOutput) {
        self.root = root
        self.output = output
        tar = TarWriter(output)
        directories = DirectoryCache(root)
    }

    deinit { buffer.deallocate() }

    /// - Parameter changes: in the order of a walk; that order is the tar's.
    func write(_ changes: [TreeChange]) throws {
        for change in changes { try write(change) }
        try tar.end()
    }

    private func write(_ change: TreeChange) throws {
        let path = change.path
        if path.isRoot {
            let entry = TreeEntry(root, .itself, try root.status())
            return try tar.header([0x2E, 0x2F], entry.status, xattrs: entry.layerAttributes())
        }
        guard path.bytes.count <= EntryPath.longestPath else {
            throw StorageError(
                .failedPrecondition, "diff", "/" + path.text,
                "its path is longer than \(EntryPath.longestPath) bytes: no other program could name it",
                errno: .fileNameTooLong)
        }
        if change.kind == .deleted { return try whiteOut(path) }
        let directory = try directories.directory(path.parent)
        let name = EntryName(path.name)
        if path.name.starts(with: Whiteout.prefix) {
            throw StorageError(
                .failedPrecondition, "diff", "/" + path.text,
                "a name that begins with .wh. has no place in an OCI layer")
        }
        let entry = TreeEntry(directory, name, try directory.status(of: name))
        if entry.status.kind == .socket {
            warnings.add("/\(path.text): sockets are not kept")
            if change.kind == .modified { try whiteOut(path) }
            return
        }
        try member(entry, path)
    }

    private func whiteOut(_ path: EntryPath) throws {
        try tar.whiteout(path.parent.appending(Whiteout.prefix + path.name).bytes)
    }

    private func member(_ entry: TreeEntry, _ path: EntryPath) throws {
        let status = entry.status
        if status.kind != .directory, status.linkCount > 1 {
            if let first = firstLinks[status.inode] {
                return try tar.header(path.bytes, status, linkName: first, isHardLink: true)
            }
            firstLinks[status.inode] = path.bytes
        }
        let xattrs = try entry.layerAttributes()
        switch status.kind {
        case .directory: try tar.header(path.bytes + [UInt8(ascii: "/")], status, xattrs: xattrs)
        case .symlink:
            try tar.header(path.bytes, status, linkName: entry.directory.readLink(entry.name), xattrs: xattrs)
        case .regular:
            let file = try entry.directory.openEntry(entry.name)
            defer { file.closeQuietly() }
            let map = try SparseMap(of: file, size: status.size, named: "/" + path.text)
            try tar.header(path.bytes, status, xattrs: xattrs, map: map)
            for range in map?.data ?? [0..<status.size] { try copy(file, range, path) }
            try tar.pad(after: map?.stored ?? status.size)
        default: try tar.header(path.bytes, status, xattrs: xattrs)
        }
    }

    private func copy(_ file: FileDescriptor, _ range: Range<UInt64>, _ path: EntryPath) throws {
        var position = range.lowerBound
        while position < range.upperBound {
            let length = min(range.upperBound - position, UInt64(buffer.count))
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(length)])
            let count = try file.readPiece(at: position, into: piece, of: "/" + path.text)
            if count == 0 {
                throw StorageError(.aborted, "diff", "/" + path.text, "it became shorter while it was read")
            }
            try output.write(UnsafeRawBufferPointer(rebasing: piece[..<count]))
            position += UInt64(count)
        }
    }
}
