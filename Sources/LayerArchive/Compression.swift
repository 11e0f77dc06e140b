import StorageDriver

/// How a layer's tar is packed.
public enum Compression: String, Sendable, CaseIterable {
    case none, gzip, zstd

    /// By the first bytes of a stream (RFC 1952, RFC 8878); anything else is taken to be plain.
    /// - Throws: `.unimplemented` for what is packed in another way.
    init(magic: UnsafeRawBufferPointer, named name: String) throws(StorageError) {
        // A zstd stream may begin with a frame to skip, of sixteen magic numbers.
        let isSkippable = magic.count >= 4 && magic[0] & 0xF0 == 0x50 && magic[1...3].elementsEqual([0x2A, 0x4D, 0x18])
        if magic.starts(with: [0x1F, 0x8B]) {
            self = .gzip
        } else if magic.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) || isSkippable {
            self = .zstd
        } else if let other = Self.others.first(where: { magic.starts(with: $0.magic) }) {
            throw StorageError(
                .unimplemented, "read", name, "it is packed with \(other.program): gzip and zstd are taken",
                hint: "unpack it first: \(other.program) -dc FILE | lamina layer import NAME -")
        } else {
            self = .none
        }
    }

    /// Enough bytes to know them all.
    static let magicSize = 10

    private static let others: [(program: String, magic: [UInt8])] =
        [
            ("xz", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]), ("lz4", [0x04, 0x22, 0x4D, 0x18]),
            ("lzip", Array("LZIP".utf8) + [1]), ("compress", [0x1F, 0x9D]),
        ] + (1...9).map { ("bzip2", Array("BZh\($0)1AY&SY".utf8)) }
}
