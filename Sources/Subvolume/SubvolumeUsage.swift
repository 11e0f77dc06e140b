import CBtrfs
import LinuxSystem
import SystemPackage

/// What a subvolume occupies, read from its tree alone: the cost is that of its metadata, and no file is opened.
public struct SubvolumeUsage: Sendable, Equatable {
    /// Bytes on the disk of extents that were written since the subvolume was made; for a snapshot, what it has added
    /// to its origin.
    public var writtenBytes: UInt64 = 0
    /// Bytes on the disk of all extents that it reaches, each counted once.
    public var referencedBytes: UInt64 = 0
    public var inodes: UInt64 = 0

    public init(of subvolume: FileDescriptor) throws(SystemError) {
        let (id, origin) = try Subvolume.info(subvolume)
        var seen = Set<UInt64>()
        try searchTree(id, through: subvolume, objects: Subvolume.firstNumber...Subvolume.lastNumber) { item in
            switch item.type {
            case Self.inodeItem: inodes += 1
            case Self.extentData: count(item.data, since: origin, &seen)
            default: break
            }
        }
    }

    /// Item types of a filesystem tree (linux/btrfs_tree.h).
    private static let inodeItem: UInt32 = 1
    private static let extentData: UInt32 = 108

    /// A `btrfs_file_extent_item`: generation at 0, type at 20, disk address at 21, bytes on the disk at 29; for type
    /// 0, the file's data itself follows at 21.
    private mutating func count(_ item: UnsafeRawBufferPointer, since origin: UInt64?, _ seen: inout Set<UInt64>) {
        // All that a snapshot inherits was on the disk in the transaction in which it was taken.
        let isNew = origin.map { item.number(UInt64.self, at: 0) > $0 } ?? true
        let bytes: UInt64
        if item[20] == 0 {
            bytes = UInt64(item.count - 21)
        } else {
            let address = item.number(UInt64.self, at: 21)
            // Address 0 is a hole.
            guard address != 0, seen.insert(address).inserted else { return }
            bytes = item.number(UInt64.self, at: 29)
        }
        referencedBytes += bytes
        if isNew { writtenBytes += bytes }
    }
}
