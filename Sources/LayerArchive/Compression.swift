/// How a layer's tar is packed.
public enum Compression: String, Sendable, CaseIterable {
    case none, gzip, zstd

    /// By the first bytes of a stream (RFC 1952, RFC 8878); anything else is taken to be plain.
    init(magic: UnsafeRawBufferPointer) {
        if magic.starts(with: [0x1F, 0x8B]) {
            self = .gzip
        } else if magic.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            self = .zstd
        } else {
            self = .none
        }
    }
}
