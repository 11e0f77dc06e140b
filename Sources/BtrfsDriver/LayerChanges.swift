import LinuxSystem
import StorageDriver
import Subvolume
import SystemPackage

/// What a layer may have changed, from the kernel's own comparison of two subvolumes.
extension BtrfsDriver: ChangeTracking {
    public func touched(_ child: LayerTree, since parent: LayerTree) throws(StorageError) -> TouchedEntries? {
        // Whatever keeps the kernel from comparing them, the walk of both trees needs nothing of it.
        guard let paths = try? Subvolume.touchedPaths(child.root, since: parent.root) else { return nil }
        let (new, old) = (InodeNames(of: child.root), InodeNames(of: parent.root))
        return TouchedEntries(paths: paths) { inode throws(StorageError) in
            try attempt("find names in", objectName(child.number)) {
                try new.paths(of: inode) + old.paths(of: inode)
            }
        }
    }
}

extension BtrfsDriver: OpenTrees {
    public func openTree(_ layer: LayerNumber) throws(StorageError) -> FileDescriptor {
        try attempt("open", objectName(layer)) { try open(layer) }
    }
}

extension BtrfsDriver: LiveSnapshots {
    public func snapshot(_ layer: LayerNumber, as copy: LayerNumber) throws(StorageError) {
        try make(copy, "snapshot") {
            let source = try open(layer)
            defer { source.closeQuietly() }
            let take = {
                try Subvolume.snapshot(of: source, copy.description, in: layers.descriptor, readOnly: true)
            }
            if mounts(of: layer).contains(where: { !$0.options.contains("ro") }) {
                try flushOnCommit.during(take)
            } else {
                try take()
            }
            try refuseNested(in: source, of: layer, "snapshot")
        }
    }
}
