import LinuxSystem
import SystemPackage

/// Finds the inodes that two ext4 filesystems, one of which began as a snapshot of the other, hold differently.
enum Ext4ChangedInodes {
    /// Compares the inodes that lie in ranges of bytes. The kernel sets an inode's time of change whenever the inode,
    /// its data, its attributes or, of a directory, its entries change; times of access alone do not count.
    /// - Parameter ranges: where the devices may differ, in order.
    /// - Returns: nil when one of the two is no filesystem that is understood here, or inodes have moved.
    static func find(
        in ranges: [Range<UInt64>], between parent: FileDescriptor, and child: FileDescriptor
    ) throws(SystemError) -> Set<UInt64>? {
        guard let old = try Ext4InodeTables(on: parent), let new = try Ext4InodeTables(on: child),
            old.inodeSize == new.inodeSize, old.inodesPerGroup == new.inodesPerGroup,
            new.tables.starts(with: old.tables)
        else { return nil }
        let size = new.inodeSize
        var changed: Set<UInt64> = []
        // Groups that only the child has, when it was made larger, hold inodes that are new.
        for (first, bytes) in old.pieces(in: ranges) {
            var position = bytes.lowerBound
            while position < bytes.upperBound {
                let count = Int(min(bytes.upperBound - position, UInt64(largestPiece)))
                let before = try parent.readBytes(count, at: position, of: "inodes")
                let after = try child.readBytes(count, at: position, of: "inodes")
                guard before.count == count, after.count == count else {
                    throw SystemError("read", "inodes", .ioError, detail: "the device is too short")
                }
                for index in 0..<count / size {
                    let place = index * size..<(index + 1) * size
                    if !isSame(before[place], after[place]) {
                        changed.insert(first + (position - bytes.lowerBound) / UInt64(size) + UInt64(index))
                    }
                }
                position += UInt64(count)
            }
        }
        return changed
    }

    private static let largestPiece = 1 << 20

    /// Whether two inodes differ in no more than times of access (i_atime, i_atime_extra) and what follows from them
    /// (i_checksum_lo and _hi).
    private static func isSame(_ one: ArraySlice<UInt8>, _ other: ArraySlice<UInt8>) -> Bool {
        if one == other { return true }
        var (one, other) = (Array(one), Array(other))
        // i_extra_isize says how far the fields reach; behind them are attributes.
        let extra = one.count > 128 ? one.littleEndian(UInt16.self, at: 0x80) : 0
        var ignored = [0x8..<0xC, 0x7C..<0x7E]
        if extra >= 0x10 { ignored += [0x82..<0x84, 0x8C..<0x90] }
        for range in ignored {
            let zeros = [UInt8](repeating: 0, count: range.count)
            one.replaceSubrange(range, with: zeros)
            other.replaceSubrange(range, with: zeros)
        }
        return one == other
    }
}
