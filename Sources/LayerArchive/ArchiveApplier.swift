import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Writes the members of a tar into a layer's tree.
///
/// Every name is resolved by the kernel relative to the root's descriptor (openat2(2), RESOLVE_IN_ROOT): symlinks on
/// the way lead to where they would for a program chrooted into the layer, never outside, whoever planted them. The
/// last name of a path is never followed.
final class ArchiveApplier {
    private(set) var entries = 0
    private(set) var warnings: [String] = []

    private let root: FileDescriptor
    private let reader: TarReader
    private let name: String
    /// What this tar itself has put, which an opaque whiteout of the same tar does not take away.
    private var made: Set<EntryPath> = []
    /// Directories get their times when nothing is put into them any more.
    private var directoryTimes: [(path: EntryPath, time: FileStatus.Timestamp)] = []
    /// The directory of the last member: most follow one from the same.
    private var lastParent: (path: EntryPath, descriptor: FileDescriptor)?

    init(_ reader: TarReader, onto root: FileDescriptor, named name: String) {
        self.reader = reader
        self.root = root
        self.name = name
    }

    deinit { lastParent?.descriptor.closeQuietly() }

    func run() throws(StorageError) {
        while let entry = try reader.next() {
            let path = try EntryPath(entry.path, in: name)
            try naming(path) { try self.apply(entry, path) }
            entries += 1
        }
        for (path, time) in directoryTimes.reversed() {
            try naming(path) {
                let directory = try self.open(path)
                defer { directory.closeQuietly() }
                try directory.setModified(time, of: .itself)
            }
        }
    }

    private func naming(_ path: EntryPath, _ body: () throws -> Void) throws(StorageError) {
        do {
            try body()
        } catch let error as SystemError {
            var failure = StorageError(error, "apply", name)
            failure.message = "member \"\(path.text)\": \(failure.message)"
            throw failure
        } catch {
            throw error as? StorageError ?? StorageError(.internal, "apply", name, "\(error)")
        }
    }

    private func apply(_ entry: TarEntry, _ path: EntryPath) throws {
        if path.isRoot {
            guard entry.kind == .directory, entry.hardLink == nil else {
                throw StorageError(.invalidArgument, "apply", name, "a member replaces the layer's root")
            }
            try setAttributes(entry, .itself, in: root)
            directoryTimes.append((path, entry.modified))
            return
        }
        let parent = try parentDirectory(of: path)
        if path.name.starts(with: Whiteout.prefix), entry.hardLink == nil {
            return try whiteOut(path, parent)
        }
        let leaf = EntryName(path.name)
        let existing = try status(of: leaf, in: parent)
        if let target = entry.hardLink {
            try link(leaf, in: parent, to: try EntryPath(target, in: name), replacing: existing)
        } else {
            if let existing, existing.kind != .directory || entry.kind != .directory {
                try removeEntry(leaf, path, parent)
            }
            try make(entry, leaf, path, in: parent, isThere: existing?.kind == .directory && entry.kind == .directory)
        }
        made.insert(path)
    }

    private func make(
        _ entry: TarEntry, _ leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor, isThere: Bool
    ) throws {
        switch entry.kind {
        case .directory:
            if !isThere { try parent.makeDirectory(leaf, permissions: 0o700) }
            try setAttributes(entry, leaf, in: parent)
            directoryTimes.append((path, entry.modified))
            return
        case .regular:
            let file = try parent.openEntry(leaf, .writeOnly, flags: O_CREAT | O_EXCL, permissions: 0o600)
            defer { file.closeQuietly() }
            try writeData(of: entry, to: file, path)
        case .symlink:
            try parent.makeSymlink(leaf, to: entry.symlink)
        case .characterDevice, .blockDevice, .fifo:
            try parent.makeNode(leaf, entry.kind, entry.device)
        case .socket:
            warnings.append("\(path.text): sockets are not kept")
            return
        }
        try setAttributes(entry, leaf, in: parent)
        try parent.setModified(entry.modified, of: leaf)
    }

    private func writeData(of entry: TarEntry, to file: FileDescriptor, _ path: EntryPath) throws {
        var end: UInt64 = 0
        try reader.readData { offset, bytes throws(StorageError) in
            do throws(SystemError) {
                var position = 0
                while position < bytes.count {
                    // Up to the next border of a block, so that blocks of zeros become holes.
                    let border = Self.block - Int((offset + UInt64(position)) % UInt64(Self.block))
                    let length = min(bytes.count - position, border)
                    let piece = UnsafeRawBufferPointer(rebasing: bytes[position..<position + length])
                    if !piece.allSatisfy({ $0 == 0 }) {
                        let start = position
                        position += length
                        while position < bytes.count, bytes[position] != 0 {
                            position = min(bytes.count, position + Self.block)
                        }
                        let run = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
                        try file.writeFully(run, at: offset + UInt64(start), to: path.text)
                        end = offset + UInt64(position)
                    } else {
                        position += length
                    }
                }
            } catch {
                throw StorageError(error, "apply", self.name)
            }
        }
        // What is left is a hole.
        if end < entry.size { try check(ftruncate(file.rawValue, off_t(entry.size)), "truncate", path.text) }
    }

    /// Zeros of this many bytes, aligned, are not written: the block size of the filesystems layers are on.
    private static let block = 4096

    private func setAttributes(_ entry: TarEntry, _ leaf: EntryName, in parent: FileDescriptor) throws {
        try parent.setOwner(of: leaf, uid: entry.uid, gid: entry.gid)
        if entry.kind != .symlink { try parent.setPermissions(entry.permissions, of: leaf) }
        for (key, value) in entry.xattrs.sorted(by: { $0.key < $1.key }) {
            // Another engine's notes on its own upper directories.
            if key.hasPrefix("trusted.overlay.") { continue }
            do throws(SystemError) {
                try parent.setExtendedAttribute(key, value, of: leaf)
            } catch {
                guard key == "security.selinux", error.errno == .notSupported else { throw error }
                warnings.append("\(leaf.text): \(key) is not supported here")
            }
        }
    }

    private func link(
        _ leaf: EntryName, in parent: FileDescriptor, to target: EntryPath, replacing existing: FileStatus?
    ) throws {
        let directory = try open(target.parent)
        defer { directory.closeQuietly() }
        let source = EntryName(target.name)
        guard !target.isRoot, let status = try status(of: source, in: directory), status.kind != .directory else {
            throw StorageError(
                .invalidArgument, "apply", name,
                "member \"\(leaf.text)\" is a hard link to \"\(target.text)\", "
                    + "which is not a file of the layer")
        }
        if let existing {
            if existing.inode == status.inode { return }
            try parent.removeEntry(leaf)
        }
        try parent.makeLink(leaf, to: source, in: directory)
    }

    private func whiteOut(_ path: EntryPath, _ parent: FileDescriptor) throws {
        if path.name == Whiteout.opaque { return try clear(parent, path.parent) }
        if path.name.starts(with: Whiteout.internalPrefix) { return }
        let hidden = Array(path.name.dropFirst(Whiteout.prefix.count))
        if hidden.isEmpty || hidden == [0x2E] || hidden == [0x2E, 0x2E] {
            throw StorageError(.invalidArgument, "apply", name, "member \"\(path.text)\" is a whiteout of no name")
        }
        if try status(of: EntryName(hidden), in: parent) != nil {
            try removeEntry(EntryName(hidden), path.parent.appending(hidden), parent)
        }
    }

    /// Takes away what lower layers have in a directory; what this tar has put stays.
    private func clear(_ directory: FileDescriptor, _ path: EntryPath) throws {
        for entry in try directory.entries() {
            let below = path.appending(entry.bytes)
            if !made.contains(below) {
                try removeEntry(entry, below, directory)
            } else if try directory.status(of: entry).kind == .directory {
                let child = try directory.openEntry(entry, flags: O_DIRECTORY)
                defer { child.closeQuietly() }
                try clear(child, below)
            }
        }
    }

    private func removeEntry(_ leaf: EntryName, _ path: EntryPath, _ parent: FileDescriptor) throws {
        // The descriptor at hand may be of a directory that goes.
        if let last = lastParent, last.path.components.starts(with: path.components) { forgetLastParent() }
        directoryTimes.removeAll { $0.path.components.starts(with: path.components) }
        try parent.removeEntry(leaf)
    }

    private func status(of leaf: EntryName, in parent: FileDescriptor) throws(SystemError) -> FileStatus? {
        do throws(SystemError) {
            return try parent.status(of: leaf)
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }

    /// The directory that holds a path; made with mode 0755 where the tar has not told of it.
    private func parentDirectory(of path: EntryPath) throws -> FileDescriptor {
        let parent = path.parent
        if let last = lastParent, last.path == parent { return last.descriptor }
        var descriptor: FileDescriptor
        do throws(SystemError) {
            descriptor = try open(parent)
        } catch {
            guard error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory, !parent.isRoot else {
                throw error
            }
            let above = try parentDirectory(of: parent)
            let leaf = EntryName(parent.name)
            if let existing = try status(of: leaf, in: above), existing.kind != .directory {
                try removeEntry(leaf, parent, above)
            }
            try above.makeDirectory(leaf, permissions: 0o700)
            try above.setPermissions(0o755, of: leaf)
            made.insert(parent)
            descriptor = try open(parent)
        }
        forgetLastParent()
        lastParent = (parent, descriptor)
        return descriptor
    }

    private func forgetLastParent() {
        lastParent?.descriptor.closeQuietly()
        lastParent = nil
    }

    private func open(_ path: EntryPath) throws(SystemError) -> FileDescriptor {
        let name = EntryName(path.isRoot ? [0x2E] : path.bytes)
        let flags = UInt64(O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let resolve = UInt64(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        let fd = name.withCString { lam_openat2(root.rawValue, $0, flags, 0, resolve) }
        return FileDescriptor(rawValue: try check(fd, "open", path.text))
    }
}
