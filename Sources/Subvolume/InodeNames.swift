import LinuxSystem
import SystemPackage

/// The names of inodes of one subvolume, from the references that each inode has to the directories it is in: however
/// large the tree is, an inode costs a search for itself and one for each directory above it.
public final class InodeNames {
    private let subvolume: FileDescriptor
    /// Paths of directories that were asked for.
    private var directories: [UInt64: [UInt8]] = [Subvolume.firstNumber: []]

    /// - Parameter subvolume: any of its files, open for as long as this is used; read-only as a whole.
    public init(of subvolume: FileDescriptor) { self.subvolume = subvolume }

    /// Paths relative to the subvolume's root; none for an inode that is not there.
    public func paths(of inode: UInt64) throws(SystemError) -> [[UInt8]] {
        var paths: [[UInt8]] = []
        for (directory, name) in try references(of: inode) {
            let above = try path(ofDirectory: directory)
            paths.append(above.isEmpty ? name : above + [UInt8(ascii: "/")] + name)
        }
        return paths
    }

    private func path(ofDirectory inode: UInt64) throws(SystemError) -> [UInt8] {
        if let known = directories[inode] { return known }
        guard let path = try paths(of: inode).first else {
            throw SystemError("look up inode", "\(inode)", .noSuchFileOrDirectory)
        }
        directories[inode] = path
        return path
    }

    /// Types of the items that name an inode, and what they hold, one after the other (linux/btrfs_tree.h):
    /// `btrfs_inode_ref`, the name's length at 8 and the name at 10, the directory being the item's offset; and, where
    /// these would not fit, `btrfs_inode_extref`, the directory at 0, the name's length at 16 and the name at 18.
    private static let reference: UInt32 = 12
    private static let extendedReference: UInt32 = 13

    private func references(of inode: UInt64) throws(SystemError) -> [(directory: UInt64, name: [UInt8])] {
        var found: [(UInt64, [UInt8])] = []
        try searchTree(
            0, through: subvolume, objects: inode...inode, types: Self.reference...Self.extendedReference
        ) { item in
            let isExtended = item.type == Self.extendedReference
            let header = isExtended ? 18 : 10
            var position = 0
            while position + header <= item.data.count {
                let directory = isExtended ? item.data.number(UInt64.self, at: position) : item.offset
                let length = Int(item.data.number(UInt16.self, at: position + header - 2))
                let start = position + header
                found.append((directory, Array(item.data[start..<min(start + length, item.data.count)])))
                position = start + length
            }
        }
        return found
    }
}
