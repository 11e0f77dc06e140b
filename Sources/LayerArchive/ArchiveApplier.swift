import LinuxSystem
import StorageDriver
import SystemPackage

/// Writes the members of a tar into a layer's tree.
///
/// Names are resolved inside the tree (`DirectoryCache`); the last name of a path is never followed.
final class ArchiveApplier {
    private(set) var entries: UInt64 = 0
    var warnings: Warnings { maker.warnings }

    private let root: FileDescriptor
    private let reader: TarReader
    private let name: String
    private let limits: ArchiveLimits
    private let directories: DirectoryCache
    private let maker: EntryMaker
    /// Nil when there was nothing before.
    private var made: MadeEntries?
    /// Times that directories have when all is done: the tar's, or, of those that it does not tell of, their own.
    private var directoryTimes: [EntryPath: FileStatus.Timestamp] = [:]
    /// So many are kept in memory; then they are set, and read again when something more is put into a directory.
    private static let mostDirectoryTimes = 50_000
    private var fileBytes: UInt64 = 0
    /// Whether there is something in `EntryPath.aufsLinks`.
    private var hasAUFSLinks = false

    init(_ reader: TarReader, onto root: FileDescriptor, named name: String, limits: ArchiveLimits) {
        self.reader = reader
        self.root = root
        self.name = name
        self.limits = limits
        directories = DirectoryCache(root, depth: limits.depth)
        maker = EntryMaker(reader, named: name)
    }

    func run() throws(StorageError) {
        try naming(.root) { if try !self.root.directoryEntries(atMost: 1).isEmpty { self.made = MadeEntries() } }
        while let entry = try reader.next() {
            if directoryTimes.count > Self.mostDirectoryTimes { try setDirectoryTimes() }
            let path = try EntryPath(entry.path, in: name)
            entries += 1
            try enforceLimits(entry, path)
            // A root that the tar does not tell of, and nobody else has, has a time that follows from the tar alone.
            if entries == 1, made == nil { directoryTimes[.root] = entry.modified }
            try naming(path) { try self.apply(entry, path) }
        }
        if hasAUFSLinks { try naming(.aufsLinks) { try self.removeAUFSLinks() } }
        try setDirectoryTimes()
    }

    private func setDirectoryTimes() throws(StorageError) {
        for (path, time) in directoryTimes {
            try naming(path) {
                do throws(SystemError) {
                    let directory = try self.directories.open(path)
                    defer { directory.closeQuietly() }
                    try self.maker.setModified(time, of: .itself, path, in: directory)
                } catch {
                    // It was reached through a symlink, and has gone by another name.
                    guard [.noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels].contains(error.errno)
                    else { throw error }
                }
            }
        }
        directoryTimes = [:]
    }

    /// A directory that is about to be changed, with its time remembered.
    private func directory(_ path: EntryPath) throws(SystemError) -> FileDescriptor {
        let directory = try directories.directory(path)
        if directoryTimes[path] == nil { directoryTimes[path] = try directory.status().modified }
        return directory
    }

    private func enforceLimits(_ entry: TarEntry, _ path: EntryPath) throws(StorageError) {
        func enforce(
            _ value: UInt64, _ limit: UInt64, _ option: String, _ what: String
        ) throws(StorageError) {
            try ArchiveLimits.check(value, limit, option, "member \"\(path.text)\": \(what)", in: name)
        }
        try enforce(entries, limits.entries, "--max-entries", "members so far")
        try enforce(UInt64(path.depth), limits.depth, "--max-depth", "names in its path")
        let xattrBytes = entry.xattrs.reduce(0) { $0 + $1.key.bytes.count + $1.value.count }
        try enforce(UInt64(xattrBytes), limits.xattrBytes, "--max-xattr-bytes", "bytes of extended attributes")
        if entry.kind == .regular, entry.hardLink == nil {
            try enforce(entry.size, limits.fileBytes, "--max-file-bytes", "bytes in the file")
            fileBytes = fileBytes.addingReportingOverflow(entry.size).partialValue
            try enforce(fileBytes, limits.bytes, "--max-bytes", "bytes of files so far")
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
            try maker.replaceAttributes(of: .itself, path, in: root, with: entry)
            directoryTimes[path] = entry.modified
            return
        }
        if path.isWithin(.aufsLinks), path != .aufsLinks {
            hasAUFSLinks = true
            return try put(entry, path)
        }
        if path.parent.hasReservedName {
            // AUFS kept directories of its own; others are a mistake that could not be exported again.
            if path.hasInternalName { return }
            throw StorageError(
                .invalidArgument, "apply", name, "member \"\(path.text)\": a directory's name begins with .wh.")
        }
        // Whatever it is: AUFS has hard links for them.
        if path.name.starts(with: Whiteout.prefix) { return try whiteOut(path) }
        try put(entry, path)
    }

    private func put(_ entry: TarEntry, _ path: EntryPath) throws {
        let parent = try parentDirectory(of: path, entry)
        let leaf = EntryName(path.name)
        made?.insert(path)
        if let target = entry.hardLink {
            return try link(leaf, path, in: parent, to: try EntryPath(target, in: name))
        }
        if try !maker.make(entry, leaf, path, in: parent) {
            // It is there already.
            if entry.kind == .directory, try parent.status(of: leaf).kind == .directory {
                try maker.replaceAttributes(of: leaf, path, in: parent, with: entry)
            } else {
                try removeEntry(leaf, path, parent)
                _ = try maker.make(entry, leaf, path, in: parent)
            }
        }
        if entry.kind == .directory { directoryTimes[path] = entry.modified }
    }

    private func link(
        _ leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor, to target: EntryPath
    ) throws {
        let directory = try directories.open(target.parent)
        defer { directory.closeQuietly() }
        let source = EntryName(target.name)
        guard !target.isRoot, let status = try TreeEntry(directory, source)?.status, status.kind != .directory else {
            throw StorageError(
                .invalidArgument, "apply", name,
                "member \"\(path.text)\" is a hard link to \"\(target.text)\", which is not a file of the layer")
        }
        if let existing = try TreeEntry(parent, leaf) {
            if existing.status.inode == status.inode { return }
            try removeEntry(leaf, path, parent)
        }
        try parent.makeLink(leaf, to: source, in: directory)
    }

    private func whiteOut(_ path: EntryPath) throws {
        let isOpaque = path.name == Whiteout.opaque
        if !isOpaque, path.name.starts(with: Whiteout.internalPrefix) { return }
        let hidden = Array(path.name.dropFirst(Whiteout.prefix.count))
        if hidden.isEmpty || hidden == [0x2E] || hidden == [0x2E, 0x2E] {
            throw StorageError(.invalidArgument, "apply", name, "member \"\(path.text)\" is a whiteout of no name")
        }
        let parent: FileDescriptor
        do throws(SystemError) {
            parent = try directory(path.parent)
        } catch {
            // Nothing is there that could go.
            if error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory { return }
            throw error
        }
        if isOpaque {
            if made?.isIncomplete == true {
                throw StorageError(
                    .resourceExhausted, "apply", name,
                    "member \"\(path.text)\": an opaque whiteout after more than \(MadeEntries.most) members: which of "
                        + "the directory's entries are this layer's is not known any more")
            }
            return try clear(parent, path.parent)
        }
        if try TreeEntry(parent, EntryName(hidden)) != nil {
            try removeEntry(EntryName(hidden), path.parent.appending(hidden), parent)
        }
    }

    /// Takes away what lower layers have in a directory; what this tar has put stays.
    private func clear(_ directory: FileDescriptor, _ path: EntryPath) throws(SystemError) {
        guard let made else { return }
        try directory.forEachEntry { entry throws(SystemError) in
            let below = path.appending(entry.name.bytes)
            if !made.contains(below) {
                try removeEntry(entry.name, below, directory)
            } else if try directory.status(of: entry.name).kind == .directory {
                let child = try directory.openEntry(entry.name, flags: directoryFlag)
                defer { child.closeQuietly() }
                if directoryTimes[below] == nil { directoryTimes[below] = try child.status().modified }
                try clear(child, below)
            }
            return true
        }
    }

    private func removeAUFSLinks() throws {
        let directory = try directory(.root)
        if try TreeEntry(directory, EntryName(EntryPath.aufsLinks.name)) != nil {
            try removeEntry(EntryName(EntryPath.aufsLinks.name), .aufsLinks, directory)
        }
    }

    private func removeEntry(
        _ leaf: EntryName, _ path: EntryPath, _ parent: FileDescriptor
    ) throws(SystemError) {
        maker.forget(within: path)
        try parent.removeEntry(leaf) { trail in
            let gone = trail.reduce(path) { $0.appending($1.bytes) }
            self.directoryTimes[gone] = nil
            // The descriptor at hand may be of a directory that goes.
            self.directories.forget(within: gone)
        }
    }

    /// The directory that holds a member; made with mode 0755, and the member's time, where the tar has not told of
    /// it.
    private func parentDirectory(of path: EntryPath, _ entry: TarEntry) throws -> FileDescriptor {
        let parent = path.parent
        do throws(SystemError) {
            return try directory(parent)
        } catch {
            guard error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory, !parent.isRoot else {
                throw error
            }
        }
        let above = try parentDirectory(of: parent, entry)
        let leaf = EntryName(parent.name)
        if let existing = try TreeEntry(above, leaf), existing.status.kind != .directory {
            try removeEntry(leaf, parent, above)
        }
        try above.makeDirectory(leaf, permissions: 0o700)
        try maker.dropInheritedACL(of: leaf, in: above, parent.parent)
        try above.setOwner(of: leaf, uid: 0, gid: 0)
        try above.setPermissions(0o755, of: leaf)
        made?.insert(parent)
        directoryTimes[parent] = entry.modified
        return try directory(parent)
    }
}
