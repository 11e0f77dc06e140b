import LinuxSystem
import SystemPackage

/// Where an ext4 filesystem keeps its inodes, read from its superblock and group descriptors (Linux:
/// Documentation/filesystems/ext4, "Global Structures"; all numbers are little-endian).
struct Ext4InodeTables: Equatable {
    /// Bytes of an inode: a power of two.
    let inodeSize: Int
    let inodesPerGroup: Int
    /// Where the table of each group begins, in bytes.
    let tables: [UInt64]

    /// - Parameter device: the device, or an image of it.
    /// - Returns: nil for a filesystem that is not clean, or has a feature that is not known here.
    init?(on device: FileDescriptor) throws(SystemError) {
        let head = try Self.read(device, at: 1024, count: 1024)
        // s_magic; s_feature_incompat.
        guard head.littleEndian(UInt16.self, at: 0x38) == 0xEF53 else { return nil }
        let incompatible = head.littleEndian(UInt32.self, at: 0x60)
        guard incompatible & ~Self.knownFeatures == 0 else { return nil }
        let blockSize = UInt64(1024) << UInt64(head.littleEndian(UInt32.self, at: 0x18))
        let firstBlock = UInt64(head.littleEndian(UInt32.self, at: 0x14))
        let blocksPerGroup = UInt64(head.littleEndian(UInt32.self, at: 0x20))
        let has64Bit = incompatible & Self.has64BitNumbers != 0
        var blocks = UInt64(head.littleEndian(UInt32.self, at: 0x4))
        if has64Bit { blocks |= UInt64(head.littleEndian(UInt32.self, at: 0x150)) << 32 }
        inodesPerGroup = Int(head.littleEndian(UInt32.self, at: 0x28))
        inodeSize = Int(head.littleEndian(UInt16.self, at: 0x58))
        guard blocksPerGroup > 0, blocks > firstBlock, inodesPerGroup > 0, inodeSize >= 128,
            inodeSize & (inodeSize - 1) == 0
        else { return nil }
        let groups = (blocks - firstBlock + blocksPerGroup - 1) / blocksPerGroup

        let size = has64Bit ? Int(head.littleEndian(UInt16.self, at: 0xFE)) : 32
        guard size >= 32, UInt64(size) <= blockSize else { return nil }
        let perBlock = blockSize / UInt64(size)
        // Blocks of descriptors follow the superblock, those from s_first_meta_bg on lie in the groups they describe.
        let firstMeta =
            incompatible & Self.hasMetaGroups != 0 ? UInt64(head.littleEndian(UInt32.self, at: 0x104)) : .max
        let backups = SuperblockBackups(head)
        var tables: [UInt64] = []
        for number in 0..<(groups + perBlock - 1) / perBlock {
            var block = firstBlock + 1 + number
            if number >= firstMeta {
                let group = number * perBlock
                block = firstBlock + group * blocksPerGroup + (backups.isIn(group) ? 1 : 0)
            }
            let descriptors = try Self.read(device, at: block * blockSize, count: Int(blockSize))
            for index in 0..<Int(min(perBlock, groups - number * perBlock)) {
                // bg_inode_table_lo and _hi.
                var table = UInt64(descriptors.littleEndian(UInt32.self, at: index * size + 0x8))
                if size >= 64 { table |= UInt64(descriptors.littleEndian(UInt32.self, at: index * size + 0x28)) << 32 }
                tables.append(table * blockSize)
            }
        }
        self.tables = tables
    }

    /// The inodes whose table lies in ranges of bytes, in pieces: the number of the first, and where it begins. Numbers
    /// start at 1.
    func pieces(in ranges: [Range<UInt64>]) -> [(first: UInt64, bytes: Range<UInt64>)] {
        let length = UInt64(inodesPerGroup * inodeSize)
        let order = tables.indices.sorted { tables[$0] < tables[$1] }
        var pieces: [(first: UInt64, bytes: Range<UInt64>)] = []
        var next = 0
        for range in ranges {
            while next < order.count, tables[order[next]] + length <= range.lowerBound { next += 1 }
            for group in order[next...] {
                let table = tables[group]
                if table >= range.upperBound { break }
                let bytes = range.clamped(to: table..<table + length)
                let index = UInt64(group * inodesPerGroup) + (bytes.lowerBound - table) / UInt64(inodeSize)
                pieces.append((index + 1, bytes))
            }
        }
        return pieces
    }

    /// What may be there without changing where inodes are: types in directories, extents, 64-bit numbers, flexible
    /// groups, seeds of checksums, large directories, data in inodes; and meta groups. Not a journal to be replayed.
    private static let knownFeatures: UInt32 =
        0x2 | 0x40 | has64BitNumbers | 0x200 | 0x2000 | 0x4000 | 0x8000 | hasMetaGroups
    private static let has64BitNumbers: UInt32 = 0x80
    private static let hasMetaGroups: UInt32 = 0x10

    private static func read(
        _ device: FileDescriptor, at offset: UInt64, count: Int
    ) throws(SystemError) -> [UInt8] {
        let bytes = try device.readBytes(count, at: offset, of: "ext4")
        guard bytes.count == count else {
            throw SystemError("read", "ext4", .ioError, detail: "the filesystem is larger than its device")
        }
        return bytes
    }
}

/// Which groups have a copy of the superblock (s_feature_compat, s_feature_ro_compat, s_backup_bgs).
private struct SuperblockBackups {
    private let isSparse: Bool
    private let only: [UInt64]?

    init(_ superblock: [UInt8]) {
        isSparse = superblock.littleEndian(UInt32.self, at: 0x64) & 0x1 != 0
        let hasTwo = superblock.littleEndian(UInt32.self, at: 0x5C) & 0x200 != 0
        only = hasTwo ? [0x24C, 0x250].map { UInt64(superblock.littleEndian(UInt32.self, at: $0)) } : nil
    }

    func isIn(_ group: UInt64) -> Bool {
        if group == 0 { return true }
        if let only { return only.contains(group) }
        if !isSparse || group == 1 { return true }
        return [3, 5, 7].contains { (base: UInt64) in
            var power = base
            while power < group { power *= base }
            return power == group
        }
    }
}
