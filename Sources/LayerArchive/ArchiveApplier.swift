import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Writes the members of a tar into a layer's tree.
///
/// Names are resolved inside the tree (`DirectoryCache`); the last name of a path is never followed.
final class ArchiveApplier {
    private(set) var entries: UInt64 = 0
    private(set) var warnings: [String] = []

    private let root: FileDescriptor
    private let reader: TarReader
    private let name: String
    private let limits: ArchiveLimits
    private let directories: DirectoryCache
    private let files: FileWriter
    /// What this tar itself has put, which an opaque whiteout of the same tar does not take away: hashes of paths,
    /// by a key of this process, for the paths of a million members would not fit. Nil when there was nothing before.
    private var made: Set<Int>?
    /// Times that directories have when all is done: the tar's, or, of those that it does not tell of, their own.
    private var directoryTimes: [EntryPath: FileStatus.Timestamp] = [:]
    /// So many are kept in memory; then they are set, and read again when something more is put into a directory.
    private static let mostDirectoryTimes = 50_000
    /// What the directory that was used last gives to new entries.
    private var inheritance: (path: EntryPath, givesACL: Bool, givesGroup: Bool)?
    private var fileBytes: UInt64 = 0

    init(
        _ reader: TarReader, onto root: FileDescriptor, named name: String, limits: ArchiveLimits
    ) throws(StorageError) {
        self.reader = reader
        self.root = root
        self.name = name
        self.limits = limits
        directories = DirectoryCache(root)
        files = try FileWriter(named: name)
    }

    func run() throws(StorageError) {
        try naming(.root) { if try !self.root.entries().isEmpty { self.made = [] } }
        while let entry = try reader.next() {
            if directoryTimes.count > Self.mostDirectoryTimes { try setDirectoryTimes() }
            let path = try EntryPath(entry.path, in: name)
            entries += 1
            try enforceLimits(entry, path)
            try naming(path) { try self.apply(entry, path) }
        }
        warnings += try files.drain()
        try setDirectoryTimes()
    }

    private func setDirectoryTimes() throws(StorageError) {
        for (path, time) in directoryTimes {
            try naming(path) {
                do throws(SystemError) {
                    let directory = try self.directories.open(path)
                    defer { directory.closeQuietly() }
                    try directory.setModified(time, of: .itself)
                } catch {
                    // It was reached through a symlink, and has gone by another name.
                    guard error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory else { throw error }
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
        let xattrBytes = entry.xattrs.reduce(0) { $0 + $1.key.utf8.count + $1.value.count }
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
            try replaceAttributes(of: .itself, in: root, with: entry)
            return directoryDone(path, entry)
        }
        if path.parent.hasReservedName {
            // AUFS kept directories of its own; others are a mistake that could not be exported again.
            if path.hasInternalName { return }
            throw StorageError(
                .invalidArgument, "apply", name, "member \"\(path.text)\": a directory's name begins with .wh.")
        }
        if path.name.starts(with: Whiteout.prefix), entry.hardLink == nil { return try whiteOut(path) }
        let parent = try parentDirectory(of: path, entry)
        let leaf = EntryName(path.name)
        made?.insert(path.hashValue)
        if let target = entry.hardLink {
            return try link(leaf, path, in: parent, to: try EntryPath(target, in: name))
        }
        if try make(entry, leaf, path, in: parent) { return }
        // It is there already.
        if entry.kind == .directory, try parent.status(of: leaf).kind == .directory {
            try replaceAttributes(of: leaf, in: parent, with: entry)
            return directoryDone(path, entry)
        }
        try removeEntry(leaf, path, parent)
        _ = try make(entry, leaf, path, in: parent)
    }

    /// - Returns: false when there is an entry of this name.
    private func make(_ entry: TarEntry, _ leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor) throws -> Bool
    {
        var file: FileDescriptor?
        do throws(SystemError) {
            switch entry.kind {
            case .directory: try parent.makeDirectory(leaf, permissions: 0o700)
            case .regular:
                file = try parent.openEntry(leaf, .writeOnly, flags: O_CREAT | O_EXCL, permissions: 0o600)
            case .symlink: try parent.makeSymlink(leaf, to: entry.symlink)
            case .characterDevice, .blockDevice, .fifo: try parent.makeNode(leaf, entry.kind, entry.device)
            case .socket:
                warnings.append("\(path.text): sockets are not kept")
                return true
            }
        } catch {
            if error.errno == .fileExists { return false }
            if error.errno == .notPermitted, entry.isOverlayWhiteout {
                throw StorageError(
                    .unimplemented, "apply", name,
                    "member \"\(path.text)\": a character device 0:0 is overlayfs's own, and layers on it have none",
                    errno: error.errno, hint: "import it into a root of another driver")
            }
            throw error
        }
        do {
            try noteInheritance(path.parent, parent)
            if inheritance?.givesACL == true { try dropInherited(of: leaf, in: parent) }
        } catch {
            file?.closeQuietly()
            throw error
        }
        // New entries are root's, but for the group that their directory gives.
        let isRoots = entry.uid == 0 && entry.gid == 0 && inheritance?.givesGroup == false
        if let file {
            defer { files.finish(file, .init(path: path, owner: isRoots ? nil : (entry.uid, entry.gid), entry: entry)) }
            try reader.readData { offset, bytes in self.files.write(bytes, at: offset, to: file, path) }
            return true
        }
        if !isRoots { try parent.setOwner(of: leaf, uid: entry.uid, gid: entry.gid) }
        try setAttributes(entry, leaf, in: parent)
        if entry.kind == .directory {
            directoryDone(path, entry)
        } else {
            try parent.setModified(entry.modified, of: leaf)
        }
        return true
    }

    private func directoryDone(_ path: EntryPath, _ entry: TarEntry) {
        directoryTimes[path] = entry.modified
        if inheritance?.path == path { inheritance = nil }
    }

    private func setAttributes(_ entry: TarEntry, _ leaf: EntryName, in parent: FileDescriptor) throws {
        if entry.kind != .symlink { try parent.setPermissions(entry.permissions, of: leaf) }
        for (key, value) in entry.layerAttributes {
            do throws(SystemError) {
                try parent.setExtendedAttribute(key, value, of: leaf)
            } catch {
                guard key == selinuxLabel, error.errno == .notSupported else { throw error }
                warnings.append("\(leaf.text): \(key) is not supported here")
            }
        }
    }

    /// Gives a directory that a lower layer has what the tar says, and takes away what it does not.
    private func replaceAttributes(of leaf: EntryName, in parent: FileDescriptor, with entry: TarEntry) throws {
        let existing = try parent.extendedAttributes(of: leaf)
        for key in existing.keys.sorted()
        where isLayerAttribute(key) && entry.xattrs[key] == nil && key != selinuxLabel {
            try parent.removeExtendedAttribute(key, of: leaf)
        }
        try parent.setOwner(of: leaf, uid: entry.uid, gid: entry.gid)
        try setAttributes(entry, leaf, in: parent)
    }

    private func noteInheritance(_ path: EntryPath, _ directory: FileDescriptor) throws {
        if inheritance?.path == path { return }
        let givesACL = try directory.extendedAttributes(of: .itself)[PosixACL.defaultKey] != nil
        inheritance = (path, givesACL, try directory.status().permissions & 0o2000 != 0)
    }

    /// Takes away the ACLs that a new entry got from the default ACL of its directory.
    private func dropInherited(of leaf: EntryName, in parent: FileDescriptor) throws {
        for key in try parent.extendedAttributes(of: leaf).keys
        where key == PosixACL.accessKey || key == PosixACL.defaultKey {
            try parent.removeExtendedAttribute(key, of: leaf)
        }
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
        if isOpaque { return try clear(parent, path.parent) }
        if try TreeEntry(parent, EntryName(hidden)) != nil {
            try removeEntry(EntryName(hidden), path.parent.appending(hidden), parent)
        }
    }

    /// Takes away what lower layers have in a directory; what this tar has put stays.
    private func clear(_ directory: FileDescriptor, _ path: EntryPath) throws {
        guard let made else { return }
        for entry in try directory.entries() {
            let below = path.appending(entry.bytes)
            if !made.contains(below.hashValue) {
                try removeEntry(entry, below, directory)
            } else if try directory.status(of: entry).kind == .directory {
                let child = try directory.openEntry(entry, flags: O_DIRECTORY)
                defer { child.closeQuietly() }
                if directoryTimes[below] == nil { directoryTimes[below] = try child.status().modified }
                try clear(child, below)
            }
        }
    }

    private func removeEntry(_ leaf: EntryName, _ path: EntryPath, _ parent: FileDescriptor) throws {
        try parent.removeEntry(leaf) { trail in
            let gone = trail.reduce(path) { $0.appending($1.bytes) }
            self.directoryTimes[gone] = nil
            if self.inheritance?.path == gone { self.inheritance = nil }
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
        try noteInheritance(parent.parent, above)
        if inheritance?.givesACL == true { try dropInherited(of: leaf, in: above) }
        try above.setOwner(of: leaf, uid: 0, gid: 0)
        try above.setPermissions(0o755, of: leaf)
        made?.insert(parent.hashValue)
        directoryTimes[parent] = entry.modified
        return try directory(parent)
    }
}
