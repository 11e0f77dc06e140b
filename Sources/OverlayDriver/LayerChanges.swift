import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// What a layer may have changed: what is in its upper directory.
extension OverlayDriver: ChangeTracking {
    public func touched(_ child: LayerTree, since parent: LayerTree) throws(StorageError) -> TouchedEntries? {
        try attempt("compare", objectName(child.number)) {
            guard try ground.parent(of: child.number) == parent.number, try NativeDiff(ground: ground).isProven()
            else { return nil }
            let upper = try FileDescriptor.openingDirectory(ground.diff(child.number))
            defer { upper.closeQuietly() }
            var changes = UpperChanges()
            try changes.walk(upper, over: parent.root, path: [])
            if changes.hasUnknownMark { return nil }
            try addNames(of: changes.hidden, below: parent.number, to: &changes.paths)
            // Names of an inode of the upper directory are all in there.
            return TouchedEntries(paths: changes.paths, sameDirectories: changes.sameDirectories) { _ in [] }
        }
    }

    /// Adds all names of files with several links of which the child hides one. Names of a file are all in the layer
    /// that has made it.
    private func addNames(
        of hidden: [UInt64: [UInt8]], below parent: LayerNumber, to paths: inout Set<[UInt8]>
    ) throws(SystemError) {
        var wanted = hidden
        for layer in try ground.chain(from: parent) where !wanted.isEmpty {
            let tree = try FileDescriptor.openingDirectory(ground.diff(layer))
            defer { tree.closeQuietly() }
            let here = wanted.filter { inode, path in (try? tree.status(of: EntryName(path)))?.inode == inode }
            if here.isEmpty { continue }
            for inode in here.keys { wanted[inode] = nil }
            var waiting: [[UInt8]] = [[]]
            while let path = waiting.popLast() {
                let directory = try tree.openDirectory(beneath: path)
                defer { directory.closeQuietly() }
                for entry in try directory.directoryEntries() {
                    if entry.kind == .directory {
                        waiting.append(path.appending(entry.name))
                    } else if here[entry.inode] != nil {
                        paths.insert(path.appending(entry.name))
                    }
                }
            }
        }
    }
}

/// What an upper directory says.
private struct UpperChanges {
    var paths: Set<[UInt8]> = []
    /// Directories that show what lower ones have too.
    private(set) var sameDirectories: Set<[UInt8]> = []
    /// A path of each file of the parent with several links of which the layer hides one.
    private(set) var hidden: [UInt64: [UInt8]] = [:]
    /// Whether something is there that the mount options of this driver do not bring about.
    private(set) var hasUnknownMark = false

    /// What goes meanwhile is told, for a layer may be written while it is read.
    /// - Parameter parent: the same directory of the parent's tree; nil where that has none that is shown.
    mutating func walk(
        _ upper: FileDescriptor, over parent: FileDescriptor?, path: [UInt8]
    ) throws(SystemError) {
        for entry in try upper.directoryEntries() {
            let place = path.appending(entry.name)
            paths.insert(place)
            do throws(SystemError) {
                let old = try parent.flatMap { parent throws(SystemError) in try Self.status(entry.name, in: parent) }
                if entry.kind == .directory {
                    try directory(upper, entry.name, over: parent, old, place)
                } else if let parent, let old {
                    try hide(entry.name, old, in: parent, place)
                }
            } catch {
                guard error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory else { throw error }
            }
        }
    }

    private mutating func directory(
        _ upper: FileDescriptor, _ name: EntryName, over parent: FileDescriptor?, _ old: FileStatus?, _ place: [UInt8]
    ) throws(SystemError) {
        let below = try upper.openEntry(name, flags: O_DIRECTORY)
        defer { below.closeQuietly() }
        let mark = try below.extendedAttribute(OverlayAttribute.opaque, of: .itself)
        if let mark, mark != OverlayAttribute.yes { hasUnknownMark = true }
        if try below.extendedAttribute(OverlayAttribute.redirect, of: .itself) != nil { hasUnknownMark = true }
        if let parent, old?.kind == .directory, mark == nil {
            sameDirectories.insert(place)
            let before = try parent.openEntry(name, flags: O_DIRECTORY)
            defer { before.closeQuietly() }
            return try walk(below, over: before, path: place)
        }
        if let parent, let old { try hide(name, old, in: parent, place) }
        try walk(below, over: nil, path: place)
    }

    /// Notes the files with several links at or below an entry of the parent that the layer does not show any more.
    private mutating func hide(
        _ name: EntryName, _ old: FileStatus, in parent: FileDescriptor, _ place: [UInt8]
    ) throws(SystemError) {
        guard old.kind == .directory else {
            if old.linkCount > 1 { hidden[old.inode] = place }
            return
        }
        let directory = try parent.openEntry(name, flags: O_DIRECTORY)
        defer { directory.closeQuietly() }
        for entry in try directory.entries() {
            try hide(entry, try directory.status(of: entry), in: directory, place.appending(entry))
        }
    }

    private static func status(
        _ name: EntryName, in directory: FileDescriptor
    ) throws(SystemError) -> FileStatus? {
        do throws(SystemError) {
            return try directory.status(of: name)
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }
}

extension [UInt8] {
    /// The path of an entry of the directory that this is the path of.
    fileprivate func appending(_ name: EntryName) -> [UInt8] {
        isEmpty ? name.bytes : self + [UInt8(ascii: "/")] + name.bytes
    }
}
