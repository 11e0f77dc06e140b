import CBtrfs
import Glibc
import LinuxSystem
import SystemPackage

extension Subvolume {
    /// Paths, relative to its root, of the subvolumes that lie directly in this one: those that users make inside a
    /// layer. Found in the tree of roots, without walking files.
    public static func nested(in subvolume: FileDescriptor) throws(SystemError) -> [String] {
        let (id, _) = try info(subvolume)
        var found: [(directory: UInt64, name: String)] = []
        // A `btrfs_root_ref`: directory's inode at 0, name's length at 16, name at 18.
        try searchTree(rootTree, through: subvolume, objects: id...id, types: rootReference...rootReference) { item in
            guard item.type == rootReference, item.objectID == id else { return }
            let length = Int(item.data.number(UInt16.self, at: 16))
            let name = String(decoding: item.data[18..<18 + length], as: UTF8.self)
            found.append((item.data.number(UInt64.self, at: 0), name))
        }
        var paths: [String] = []
        for (directory, name) in found {
            let arguments = IoctlArguments(size: LAM_BTRFS_INO_LOOKUP_SIZE)
            arguments.set(id, at: LAM_BTRFS_INO_LOOKUP_TREE)
            arguments.set(directory, at: LAM_BTRFS_INO_LOOKUP_OBJECT)
            try arguments.call(UInt(LAM_BTRFS_IOC_INO_LOOKUP), subvolume, "look up inode", "\(directory)")
            let parent = String(decoding: arguments.name(at: LAM_BTRFS_INO_LOOKUP_NAME), as: UTF8.self)
            paths.append(parent + name)
        }
        return paths
    }

    /// Ids of all subvolumes of the filesystem that the kernel has not dropped yet, its own top level included.
    static func all(on filesystem: FileDescriptor) throws(SystemError) -> Set<UInt64> {
        var ids: Set<UInt64> = [5]
        try searchTree(rootTree, through: filesystem, objects: firstNumber...lastNumber) { item in
            if item.type == rootItem { ids.insert(item.objectID) }
        }
        return ids
    }

    /// The item of a subvolume in the tree of tree roots.
    private static let rootItem: UInt32 = 132

    /// The tree of tree roots, and the type of its item that names a subvolume (linux/btrfs_tree.h).
    private static let rootTree: UInt64 = 1
    private static let rootReference: UInt32 = 156
}
