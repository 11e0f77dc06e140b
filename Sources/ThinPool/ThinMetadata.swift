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
                    id: id, mappedBlocks: value.number(UInt64.self, at: 0),
                    transactionID: value.number(UInt64.self, at: 8), creationTime: value.number(UInt32.self, at: 16),
                    snapshottedTime: value.number(UInt32.self, at: 20)))
        }
        return devices
    }

    /// The data blocks of a device: all, and those that it has written itself since it was made.
    /// - Throws: ENODATA when there is no such device.
    public func blocks(of id: UInt64) throws(SystemError) -> (mapped: UInt64, written: UInt64) {
        var made: UInt32?
        try walk(superblock.detailsRoot, valueSize: Self.detailsSize, within: id...id) { _, value in
            made = value.number(UInt32.self, at: 16)
        }
        var root: UInt64?
        try walk(superblock.mappingRoot, valueSize: 8, within: id...id) { _, value in
            root = value.number(UInt64.self, at: 0)
        }
        guard let made, let root else { throw SystemError("read metadata", "thin device \(id)", .noData) }
        var (mapped, written): (UInt64, UInt64) = (0, 0)
        try walk(root, valueSize: 8, within: 0...UInt64.max) { _, value in
            mapped += 1
            // The data block is in the upper 40 bits, the time in the lower 24.
            if value.number(UInt64.self, at: 0) & 0xFF_FFFF >= UInt64(made) { written += 1 }
        }
        return (mapped, written)
    }

    /// Of struct disk_device_details.
    private static let detailsSize = 24

    /// Visits the entries of a btree whose keys lie in a range. A node: flags 4 (1 internal, 2 leaf), number of
    /// entries 16, room for entries 20, size of a value 24; keys from 32, values after all room for keys.
    /// - Parameter valueSize: bytes of a value in a leaf; an internal node has block numbers of 8.
    private func walk(
        _ root: UInt64, valueSize: Int, within range: ClosedRange<UInt64>, depth: Int = 0,
        _ body: (UInt64, ArraySlice<UInt8>) -> Void
    ) throws(SystemError) {
        let node = try blocks.read(root, .btree)
        let isLeaf = node.number(UInt32.self, at: 4) & 2 != 0
        let count = Int(node.number(UInt32.self, at: 16))
        let room = Int(node.number(UInt32.self, at: 20))
        let size = Int(node.number(UInt32.self, at: 24))
        // No tree of 2^64 keys is higher than this.
        guard depth < 16, count <= room, size == (isLeaf ? valueSize : 8), 32 + room * (8 + size) <= MetadataBlocks.size
        else {
            throw SystemError("read metadata", "btree node \(root)", .invalidArgument)
        }
        for index in 0..<count {
            let key = node.number(UInt64.self, at: 32 + 8 * index)
            if key > range.upperBound { return }
            let start = 32 + 8 * room + size * index
            let value = node[start..<start + size]
            if isLeaf {
                if key >= range.lowerBound { body(key, value) }
            } else if index + 1 == count || node.number(UInt64.self, at: 32 + 8 * (index + 1)) > range.lowerBound {
                try walk(
                    value.number(UInt64.self, at: 0), valueSize: valueSize, within: range, depth: depth + 1, body)
            }
        }
    }
}
