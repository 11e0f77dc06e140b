import Glibc
import LinuxSystem
import SystemPackage

/// What the first block of a pool's metadata says of the pool (struct thin_disk_superblock in Linux's
/// drivers/md/dm-thin-metadata.c), and where its trees begin.
public struct ThinSuperblock: Sendable, Equatable {
    public let transactionID: UInt64
    /// Blocks that the data device had when it was last seen.
    public let dataBlocks: UInt64
    let mappingRoot: UInt64
    let detailsRoot: UInt64

    /// Reads it from a metadata device that no pool has active.
    /// - Throws: EUCLEAN when the device does not begin with one.
    public init(of device: String) throws(SystemError) {
        try self.init(try MetadataBlocks(device), at: 0)
    }

    init(_ blocks: MetadataBlocks, at number: UInt64) throws(SystemError) {
        let block = try blocks.read(number, .superblock)
        guard block.littleEndian(UInt64.self, at: 32) == 27_022_010 else {
            throw SystemError("read superblock of", blocks.path, Errno(rawValue: EUCLEAN), detail: "wrong magic")
        }
        transactionID = block.littleEndian(UInt64.self, at: 48)
        // The root of the data's space map begins with their number.
        dataBlocks = block.littleEndian(UInt64.self, at: 64)
        mappingRoot = block.littleEndian(UInt64.self, at: 320)
        detailsRoot = block.littleEndian(UInt64.self, at: 328)
    }
}
