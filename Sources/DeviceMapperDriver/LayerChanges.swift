import LinuxSystem
import StorageDriver
import SystemPackage
import ThinPool

/// What a layer may have changed, from the blocks that it maps differently than its parent: those of ext4's inode
/// tables name the changed inodes, whose names are in the parent's index or in directories that are changed themselves.
extension DeviceMapperDriver: ChangeTracking {
    public func touched(_ child: LayerTree, since parent: LayerTree) throws(StorageError) -> TouchedEntries? {
        guard ground.filesystem == "ext4" else { return nil }
        return try attempt("compare", objectName(child.number)) {
            let blocks = try ground.withMetadata { metadata throws(SystemError) in
                try metadata.differences(between: parent.number.rawValue, and: child.number.rawValue)
            }
            let ranges = blocks.map { $0.lowerBound * blockBytes..<$0.upperBound * blockBytes }
            let old = try BlockDevice(path(parent.number))
            let new = try BlockDevice(path(child.number))
            guard let inodes = try Ext4ChangedInodes.find(in: ranges, between: old.descriptor, and: new.descriptor)
            else { return nil }
            let index = try NameIndex.of(parent.root, keptAt: ground.nameIndex(parent.number))
            let changes = try ChangedNames(of: inodes, in: index, from: parent.root, to: child.root)
            return TouchedEntries(paths: changes.paths) { inode throws(StorageError) in
                index.paths(of: inode) + (changes.added[inode] ?? [])
            }
        }
    }
}

/// The names that are touched when inodes are.
private struct ChangedNames {
    private(set) var paths: Set<[UInt8]> = []
    /// Names of inodes that directories have in the child only.
    private(set) var added: [UInt64: [[UInt8]]] = [:]

    init(
        of inodes: Set<UInt64>, in index: NameIndex, from parent: FileDescriptor, to child: FileDescriptor
    ) throws(SystemError) {
        for inode in inodes {
            for path in index.paths(of: inode) {
                paths.insert(path)
                try compareDirectory(inode, path, parent, child)
            }
        }
    }

    /// Tells the entries that a directory has in one of the trees only, or for another inode. Of one that is not in its
    /// place any more nothing is told: what has come there, and where it has gone, is compared in full.
    private mutating func compareDirectory(
        _ inode: UInt64, _ path: [UInt8], _ parent: FileDescriptor, _ child: FileDescriptor
    ) throws(SystemError) {
        guard let old = try Self.directory(path, inode, in: parent) else { return }
        defer { old.closeQuietly() }
        guard let new = try Self.directory(path, inode, in: child) else { return }
        defer { new.closeQuietly() }
        let before = Set(try old.directoryEntries())
        let after = Set(try new.directoryEntries())
        func place(_ entry: DirectoryEntry) -> [UInt8] {
            path + (path.isEmpty ? [] : [UInt8(ascii: "/")]) + entry.name.bytes
        }
        for entry in before.subtracting(after) { paths.insert(place(entry)) }
        for entry in after.subtracting(before) {
            paths.insert(place(entry))
            added[entry.inode, default: []].append(place(entry))
        }
    }

    /// Nil when what is at the path is not the directory with this inode.
    private static func directory(
        _ path: [UInt8], _ inode: UInt64, in root: FileDescriptor
    ) throws(SystemError) -> FileDescriptor? {
        let directory: FileDescriptor
        do throws(SystemError) {
            directory = try root.openDirectory(beneath: path)
        } catch {
            let elsewhere: [Errno] = [.noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels]
            if elsewhere.contains(error.errno) { return nil }
            throw error
        }
        do throws(SystemError) {
            if try directory.status().inode == inode { return directory }
        } catch {
            directory.closeQuietly()
            throw error
        }
        directory.closeQuietly()
        return nil
    }
}
