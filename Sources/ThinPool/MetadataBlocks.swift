import CLinux
import Glibc
import LinuxSystem
import SystemPackage

/// Reads blocks of a pool's metadata device past the page cache, which does not know what the kernel writes there.
/// The format is that of Linux's drivers/md/persistent-data and dm-thin-metadata.c.
final class MetadataBlocks {
    static let size = 4096

    /// What is mixed into a block's checksum, by the kind of block.
    enum Salt: UInt32 {
        case superblock = 160774
        case btree = 121107
    }

    private let device: FileDescriptor
    let path: String
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: MetadataBlocks.size, alignment: 4096)

    init(_ path: String) throws(SystemError) {
        self.path = path
        device = try .opening(path, .readOnly, flags: LAM_O_DIRECT)
    }

    deinit {
        device.closeQuietly()
        buffer.deallocate()
    }

    /// A copy of the block.
    /// - Throws: EUCLEAN when its checksum or its own number is wrong.
    func read(_ number: UInt64, _ salt: Salt) throws(SystemError) -> [UInt8] {
        let count = Glibc.pread(device.rawValue, buffer.baseAddress, Self.size, off_t(number) * off_t(Self.size))
        guard try check(count, "read metadata", path) == Self.size else {
            throw SystemError("read metadata", path, .ioError, detail: "block \(number) is beyond the end")
        }
        let raw = UnsafeRawBufferPointer(buffer)
        let sum = Self.crc32c(UnsafeRawBufferPointer(rebasing: raw[4...])) ^ salt.rawValue
        // A btree node has its number at 8 as a superblock has: flags are 4 bytes long in both.
        guard sum == raw.number(UInt32.self, at: 0), number == raw.number(UInt64.self, at: 8) else {
            throw SystemError(
                "read metadata", path, Errno(rawValue: EUCLEAN), detail: "block \(number) is not what it should be")
        }
        return Array(raw)
    }

    /// CRC-32C without the inversion at the end.
    static func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var sum: UInt32 = .max
        for byte in bytes { sum = table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ (sum >> 8) }
        return sum
    }

    private static let table: [UInt32] = (0..<256).map { index in
        // The reversed polynomial of Castagnoli.
        (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
    }
}
