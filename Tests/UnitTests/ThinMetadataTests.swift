import Fixtures
import Glibc
import LinuxSystem
import SystemPackage
import Testing

@testable import ThinPool

/// Metadata made by hand, block by block, in a file.
@Suite struct ThinMetadataTests {
    /// A block of the format: the number at 8, the rest as given, the checksum in front.
    private func block(_ number: UInt64, _ salt: MetadataBlocks.Salt, _ fields: [Int: UInt64]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: MetadataBlocks.size)
        func put(_ value: UInt64, at offset: Int, size: Int) {
            for index in 0..<size { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        for (offset, value) in fields.sorted(by: { $0.key < $1.key }) { put(value, at: offset, size: 8) }
        put(number, at: 8, size: 8)
        let sum = bytes[4...].withUnsafeBytes { MetadataBlocks.crc32c($0) } ^ salt.rawValue
        put(UInt64(sum), at: 0, size: 4)
        return bytes
    }

    private func node(_ number: UInt64, leaf: Bool, valueSize: Int, _ entries: [(UInt64, [UInt64])]) -> [UInt8] {
        let room = 6
        var fields: [Int: UInt64] = [
            0: (leaf ? 2 : 1) << 32, 16: UInt64(entries.count) | UInt64(room) << 32, 24: UInt64(valueSize),
        ]
        for (index, entry) in entries.enumerated() {
            fields[32 + 8 * index] = entry.0
            for (word, value) in entry.1.enumerated() { fields[32 + 8 * room + valueSize * index + 8 * word] = value }
        }
        return block(number, .btree, fields)
    }

    /// Two devices: 1, made at time 1, with three blocks; 5, a snapshot made at time 2 that has written one of four.
    /// The snapshot's mappings are a tree of two levels whose left leaf it shares.
    private func image(change: (inout [[UInt8]]) -> Void = { _ in }) -> [[UInt8]] {
        func mapped(_ block: UInt64, _ time: UInt64) -> [UInt64] { [block << 24 | time] }
        var blocks = [
            block(0, .superblock, [32: 27_022_010, 48: 0xABCD, 64: 2048, 320: 2, 328: 1]),
            node(
                1, leaf: true, valueSize: 24,
                [(1, [3, 7, 1 | 2 << 32]), (5, [4, 8, 2 | 2 << 32])]),
            node(2, leaf: true, valueSize: 8, [(1, [3]), (5, [4])]),
            node(3, leaf: true, valueSize: 8, [(0, mapped(10, 1)), (1, mapped(11, 1)), (7, mapped(12, 1))]),
            node(4, leaf: false, valueSize: 8, [(0, [3]), (100, [5])]),
            node(5, leaf: true, valueSize: 8, [(100, mapped(13, 2))]),
        ]
        change(&blocks)
        return blocks
    }

    private func withMetadata(_ blocks: [[UInt8]], _ body: (String) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            let file = directory + "/metadata"
            let descriptor = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT)
            try descriptor.closing { descriptor in
                try blocks.flatMap { $0 }.withUnsafeBytes { try descriptor.writeFully($0, to: file) }
            }
            try body(file)
        }
    }

    @Test func theSuperblock() throws {
        try withMetadata(image()) { file in
            let superblock = try ThinSuperblock(of: file)
            #expect(superblock.transactionID == 0xABCD && superblock.dataBlocks == 2048)
        }
    }

    @Test func devicesAndTheirBlocks() throws {
        try withMetadata(image()) { file in
            let metadata = try ThinMetadata(try MetadataBlocks(file), superblock: 0)
            #expect(
                try metadata.devices() == [
                    ThinDeviceDetails(id: 1, mappedBlocks: 3, transactionID: 7, creationTime: 1, snapshottedTime: 2),
                    ThinDeviceDetails(id: 5, mappedBlocks: 4, transactionID: 8, creationTime: 2, snapshottedTime: 2),
                ])
            #expect(try metadata.blocks(of: 1) == (mapped: 3, written: 3))
            #expect(try metadata.blocks(of: 5) == (mapped: 4, written: 1))
            let error = #expect(throws: SystemError.self) { _ = try metadata.blocks(of: 3) }
            #expect(error?.errno == .noData)
        }
    }

    @Test func whatTwoDevicesMapDifferently() throws {
        try withMetadata(image()) { file in
            let metadata = try ThinMetadata(try MetadataBlocks(file), superblock: 0)
            #expect(try metadata.differences(between: 1, and: 5) == [100..<101])
            #expect(try metadata.differences(between: 5, and: 1) == [100..<101])
            #expect(try metadata.differences(between: 5, and: 5) == [])
            let error = #expect(throws: SystemError.self) { _ = try metadata.differences(between: 1, and: 3) }
            #expect(error?.errno == .noData)
        }
    }

    /// Three devices whose trees share leaves: what is shared is not even read.
    @Test func sharedSubtreesAreLeftOut() throws {
        func mapped(_ block: UInt64, _ time: UInt64) -> [UInt64] { [block << 24 | time] }
        let blocks = [
            block(0, .superblock, [32: 27_022_010, 320: 1, 328: 1]),
            node(1, leaf: true, valueSize: 8, [(1, [2]), (2, [3]), (3, [4])]),
            node(2, leaf: false, valueSize: 8, [(0, [10]), (25, [5]), (50, [6])]),
            node(3, leaf: false, valueSize: 8, [(0, [10]), (25, [5]), (50, [7])]),
            node(4, leaf: false, valueSize: 8, [(0, [2]), (200, [8])]),
            [UInt8](repeating: 0xFF, count: MetadataBlocks.size),
            node(6, leaf: true, valueSize: 8, [(50, mapped(20, 1)), (51, mapped(21, 1)), (60, mapped(22, 1))]),
            // 50 as it was, at another time; 51 written anew; 52 new; 60 discarded.
            node(7, leaf: true, valueSize: 8, [(50, mapped(20, 2)), (51, mapped(31, 2)), (52, mapped(32, 2))]),
            node(8, leaf: false, valueSize: 8, [(200, [9])]),
            node(9, leaf: true, valueSize: 8, [(200, mapped(40, 3))]),
            node(10, leaf: true, valueSize: 8, [(0, mapped(50, 1))]),
        ]
        try withMetadata(blocks) { file in
            let metadata = try ThinMetadata(try MetadataBlocks(file), superblock: 0)
            #expect(try metadata.differences(between: 1, and: 2) == [51..<53, 60..<61])
            #expect(try metadata.differences(between: 1, and: 3) == [200..<201])
            #expect(throws: SystemError.self) { _ = try metadata.blocks(of: 1) }
        }
    }

    @Test(arguments: [0, 1, 5]) func aBlockThatHasChangedIsNoticed(_ number: Int) throws {
        try withMetadata(image { $0[number][100] ^= 1 }) { file in
            let error = #expect(throws: SystemError.self) {
                let metadata = try ThinMetadata(try MetadataBlocks(file), superblock: 0)
                _ = try metadata.devices()
                _ = try metadata.blocks(of: 5)
            }
            #expect(error?.errno.rawValue == EUCLEAN)
        }
    }

    @Test func aBlockInAnothersPlaceIsNoticed() throws {
        try withMetadata(image { $0.swapAt(3, 5) }) { file in
            let metadata = try ThinMetadata(try MetadataBlocks(file), superblock: 0)
            #expect(throws: SystemError.self) { _ = try metadata.blocks(of: 1) }
        }
    }

    /// Right by its checksum, and still nothing that may be believed.
    @Test func nodesThatCannotBeAreRefused() throws {
        for nonsense in [
            node(1, leaf: true, valueSize: 8, [(1, [3])]), node(1, leaf: true, valueSize: 0, [(1, [])]),
            node(1, leaf: false, valueSize: 8, [(0, [1])]),
            block(1, .btree, [0: 2 << 32, 16: 9 | 6 << 32, 24: 24]),
            block(1, .btree, [0: 2 << 32, 16: 9 | 900 << 32, 24: 24]),
        ] {
            try withMetadata(image { $0[1] = nonsense }) { file in
                let metadata = try ThinMetadata(try MetadataBlocks(file), superblock: 0)
                let error = #expect(throws: SystemError.self) { _ = try metadata.devices() }
                #expect(error?.errno == .invalidArgument)
            }
        }
    }

    @Test func zerosAreNoSuperblock() throws {
        try withMetadata([[UInt8](repeating: 0, count: 4096)]) { file in
            let error = #expect(throws: SystemError.self) { try ThinSuperblock(of: file) }
            #expect(error?.errno.rawValue == EUCLEAN)
        }
    }
}
