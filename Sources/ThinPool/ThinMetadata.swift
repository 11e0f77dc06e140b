import LinuxSystem
import SystemPackage

/// What the metadata of a pool tells of one thin device.
public struct ThinDeviceDetails: Sendable, Equatable {
    public let id: UInt64
    /// Data blocks that the device maps, shared ones included.
    public let mappedBlocks: UInt64
    public let transactionID: UInt64
    /// The pool's clock when the device was made: what is mapped with this time or a later one, it has written itself.
    public let creationTime: UInt32
    public let snapshottedTime: UInt32
}

/// The two trees of a pool's metadata, read from a metadata snapshot (`reserve_metadata_snap`), which stays as it is
/// while the pool goes on.
public struct ThinMetadata {
    private let blocks: MetadataBlocks
    private let superblock: ThinSuperblock

    /// Runs `body` on a snapshot of the metadata. There is one at a time: the caller holds a lock that all who use
    /// this pool take, so that a snapshot that is there was left by a process that was killed, and is replaced.
    /// A pool that is read-only takes none, and needs none: its metadata stays as it is.
    /// - Parameter device: the pool's metadata device.
    public static func withSnapshot<Result>(
        of pool: ThinPool, device: String, _ body: (ThinMetadata) throws(SystemError) -> Result
    ) throws(SystemError) -> Result {
        let status = try pool.status()
        if status.mode == .readOnly { return try body(try ThinMetadata(MetadataBlocks(device), superblock: 0)) }
        if status.heldRoot != nil { try DeviceMapper.message(pool.name, "release_metadata_snap") }
        try DeviceMapper.message(pool.name, "reserve_metadata_snap")
        let result: Result
        do throws(SystemError) {
            guard let root = try pool.status().heldRoot else {
                throw SystemError("reserve metadata snapshot of", pool.name, .ioError)
            }
            result = try body(try ThinMetadata(MetadataBlocks(device), superblock: root))
        } catch {
            try? DeviceMapper.message(pool.name, "release_metadata_snap")
            throw error
        }
        try DeviceMapper.message(pool.name, "release_metadata_snap")
        return result
    }

    init(_ blocks: MetadataBlocks, superblock block: UInt64) throws(SystemError) {
        self.blocks = blocks
        superblock = try ThinSuperblock(blocks, at: block)
    }

    /// All devices, by id.
    public func devices() throws(SystemError) -> [ThinDeviceDetails] {
        var devices: [ThinDeviceDetails] = []
        try walk(superblock.detailsRoot, valueSize: Self.detailsSize, within: 0...UInt64.max) { id, value in
            devices.append(
                ThinDeviceDetails(
                    id: id, mappedBlocks: value.littleEndian(UInt64.self, at: 0),
                    transactionID: value.littleEndian(UInt64.self, at: 8),
                    creationTime: value.littleEndian(UInt32.self, at: 16),
                    snapshottedTime: value.littleEndian(UInt32.self, at: 20)))
        }
        return devices
    }

    /// The data blocks of a device: all, and those that it has written itself since it was made.
    /// - Throws: ENODATA when there is no such device.
    public func blocks(of id: UInt64) throws(SystemError) -> (mapped: UInt64, written: UInt64) {
        var made: UInt32?
        try walk(superblock.detailsRoot, valueSize: Self.detailsSize, within: id...id) { _, value in
            made = value.littleEndian(UInt32.self, at: 16)
        }
        guard let made else { throw SystemError("read metadata", "thin device \(id)", .noData) }
        let root = try mappingRoot(of: id)
        var (mapped, written): (UInt64, UInt64) = (0, 0)
        try walk(root, valueSize: Self.mappingSize, within: 0...UInt64.max) { _, value in
            mapped += 1
            if value.littleEndian(UInt64.self, at: 0) % (1 << Self.timeBits) >= UInt64(made) { written += 1 }
        }
        return (mapped, written)
    }

    /// The virtual blocks that two devices map to different data blocks, or that only one of them maps; in order, in
    /// ranges that do not touch. What both map to one data block is the same data. Costs what differs: nodes of the
    /// trees are never written in place, so that a node which both trees reach is the same subtree in both.
    /// - Throws: ENODATA when one of the devices is not there.
    public func differences(between one: UInt64, and other: UInt64) throws(SystemError) -> [Range<UInt64>] {
        var left = try level(of: one)
        var right = try level(of: other)
        while true {
            if left.height == right.height {
                let common = Set(left.nodes).intersection(right.nodes)
                left.nodes.removeAll { common.contains($0) }
                right.nodes.removeAll { common.contains($0) }
            }
            if left.height == 0, right.height == 0 { break }
            // The higher one, or both.
            let (first, second) = (left.height >= right.height, right.height >= left.height)
            if first { try descend(&left) }
            if second { try descend(&right) }
        }
        let (before, after) = (try mappings(in: left.nodes), try mappings(in: right.nodes))
        var changed = before.compactMap { after[$0.key] == $0.value ? nil : $0.key }
        changed += after.keys.filter { before[$0] == nil }
        var ranges: [Range<UInt64>] = []
        for block in changed.sorted() {
            if let last = ranges.last, last.upperBound == block {
                ranges[ranges.count - 1] = last.lowerBound..<block + 1
            } else {
                ranges.append(block..<block + 1)
            }
        }
        return ranges
    }

    // MARK: Trees

    /// Nodes of a mapping tree, all of them equally far from the leaves.
    private struct Level {
        /// Block numbers.
        var nodes: [UInt64]
        /// 0 for leaves.
        var height: Int
    }

    /// The root of a device's mapping tree.
    private func level(of device: UInt64) throws(SystemError) -> Level {
        let root = try mappingRoot(of: device)
        var height = 0
        var node = try self.node(root, valueSize: Self.mappingSize)
        while !node.isLeaf {
            height += 1
            guard height < Self.greatestHeight, node.count > 0 else { throw node.refused() }
            node = try self.node(node.child(0), valueSize: Self.mappingSize)
        }
        return Level(nodes: [root], height: height)
    }

    private func descend(_ level: inout Level) throws(SystemError) {
        var below: [UInt64] = []
        for number in level.nodes {
            let node = try node(number, valueSize: Self.mappingSize)
            guard !node.isLeaf else { throw node.refused() }
            for index in 0..<node.count { below.append(node.child(index)) }
        }
        level.nodes = below
        level.height -= 1
    }

    /// Data blocks by virtual blocks.
    private func mappings(in leaves: [UInt64]) throws(SystemError) -> [UInt64: UInt64] {
        var found: [UInt64: UInt64] = [:]
        for number in leaves {
            let node = try node(number, valueSize: Self.mappingSize)
            guard node.isLeaf else { throw node.refused() }
            for index in 0..<node.count {
                found[node.key(index)] = node.value(index).littleEndian(UInt64.self, at: 0) >> Self.timeBits
            }
        }
        return found
    }

    private func mappingRoot(of device: UInt64) throws(SystemError) -> UInt64 {
        var root: UInt64?
        try walk(superblock.mappingRoot, valueSize: 8, within: device...device) { _, value in
            root = value.littleEndian(UInt64.self, at: 0)
        }
        guard let root else { throw SystemError("read metadata", "thin device \(device)", .noData) }
        return root
    }

    /// Of struct disk_device_details.
    private static let detailsSize = 24
    /// A data block in the upper 40 bits, the time at which it was mapped in the lower 24.
    private static let mappingSize = 8
    private static let timeBits: UInt64 = 24
    /// No tree of 2^64 keys is higher.
    private static let greatestHeight = 16

    private func node(_ number: UInt64, valueSize: Int) throws(SystemError) -> BTreeNode {
        try BTreeNode(try blocks.read(number, .btree), number: number, valueSize: valueSize)
    }

    /// Visits the entries of a btree whose keys lie in a range.
    /// - Parameter valueSize: bytes of a value in a leaf.
    private func walk(
        _ root: UInt64, valueSize: Int, within range: ClosedRange<UInt64>, depth: Int = 0,
        _ body: (UInt64, ArraySlice<UInt8>) -> Void
    ) throws(SystemError) {
        let node = try node(root, valueSize: valueSize)
        guard depth < Self.greatestHeight else { throw node.refused() }
        for index in 0..<node.count {
            let key = node.key(index)
            if key > range.upperBound { return }
            if node.isLeaf {
                if key >= range.lowerBound { body(key, node.value(index)) }
            } else if index + 1 == node.count || node.key(index + 1) > range.lowerBound {
                try walk(node.child(index), valueSize: valueSize, within: range, depth: depth + 1, body)
            }
        }
    }
}

/// A node of a btree (struct btree_node in Linux's drivers/md/persistent-data/dm-btree-internal.h): flags at 4
/// (1 internal, 2 leaf), number of entries 16, room for entries 20, size of a value 24; keys from 32, values after all
/// room for keys.
private struct BTreeNode {
    let isLeaf: Bool
    let count: Int
    private let number: UInt64
    private let bytes: [UInt8]
    private let room: Int
    private let size: Int

    /// - Parameter valueSize: bytes of a value in a leaf; an internal node has block numbers of 8.
    /// - Throws: EINVAL for what cannot be.
    init(_ bytes: [UInt8], number: UInt64, valueSize: Int) throws(SystemError) {
        self.bytes = bytes
        self.number = number
        isLeaf = bytes.littleEndian(UInt32.self, at: 4) & 2 != 0
        count = Int(bytes.littleEndian(UInt32.self, at: 16))
        room = Int(bytes.littleEndian(UInt32.self, at: 20))
        size = Int(bytes.littleEndian(UInt32.self, at: 24))
        guard count <= room, size == (isLeaf ? valueSize : 8), 32 + room * (8 + size) <= bytes.count else {
            throw refused()
        }
    }

    func key(_ index: Int) -> UInt64 { bytes.littleEndian(UInt64.self, at: 32 + 8 * index) }

    func value(_ index: Int) -> ArraySlice<UInt8> {
        let start = 32 + 8 * room + size * index
        return bytes[start..<start + size]
    }

    /// Of an internal node.
    func child(_ index: Int) -> UInt64 { value(index).littleEndian(UInt64.self, at: 0) }

    func refused() -> SystemError { SystemError("read metadata", "btree node \(number)", .invalidArgument) }
}
