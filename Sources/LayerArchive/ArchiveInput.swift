import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Takes pieces of a packed stream and gives pieces of the unpacked one.
protocol Decompressor: AnyObject {
    /// Unpacks from `input`, of which it removes what it has used, into `output`.
    /// - Returns: bytes written to `output`.
    /// - Throws: `CorruptStream`.
    func run(_ input: inout UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) throws -> Int
    /// Whether the stream may end here.
    var isComplete: Bool { get }
}

/// The packed stream makes no sense.
struct CorruptStream: Error {
    let reason: String
}

/// A tar as a stream of plain bytes: unpacks what is packed, and hashes all that goes by.
final class ArchiveInput {
    /// Bytes read of the input so far, as they are there.
    private(set) var consumed: UInt64 = 0
    /// Bytes of the plain tar so far.
    private(set) var produced: UInt64 = 0

    private let source: FileDescriptor
    private let name: String
    private let limits: ArchiveLimits
    private let progress: ((UInt64) -> Void)?
    private let hash = SHA256()
    private var decompressor: Decompressor?
    private let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    private let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    private var pending = UnsafeRawBufferPointer(start: nil, count: 0)
    private var isAtEnd = false

    /// - Throws: `.invalidArgument` for an input without a byte.
    init(
        _ source: FileDescriptor, named name: String, limits: ArchiveLimits, progress: ((UInt64) -> Void)?
    ) throws(StorageError) {
        self.source = source
        self.name = name
        self.limits = limits
        self.progress = progress
        // Magic numbers have up to four bytes, and a pipe may give one at a time.
        var count = 0
        while count < 4, !isAtEnd { count += try fill(from: count) }
        if count == 0 { throw StorageError(.invalidArgument, "read", name, "it is empty") }
        pending = UnsafeRawBufferPointer(rebasing: packed[..<count])
        switch Compression(magic: pending) {
        case .none: decompressor = nil
        case .gzip: decompressor = GzipDecompressor()
        case .zstd: decompressor = ZstdDecompressor()
        }
    }

    deinit {
        packed.deallocate()
        plain.deallocate()
    }

    /// The next plain bytes, valid until the next call; empty at the end.
    func next() throws(StorageError) -> UnsafeRawBufferPointer {
        while true {
            if pending.isEmpty, !isAtEnd {
                let count = try fill(from: 0)
                pending = UnsafeRawBufferPointer(rebasing: packed[..<count])
            }
            let piece: UnsafeRawBufferPointer
            if let decompressor {
                piece = try unpack(decompressor)
                if piece.isEmpty {
                    if !isAtEnd || !pending.isEmpty { continue }
                    if !decompressor.isComplete { throw corrupt("the compressed stream ends too early") }
                }
            } else {
                piece = pending
                pending = UnsafeRawBufferPointer(start: nil, count: 0)
                if piece.isEmpty, !isAtEnd { continue }
            }
            hash.update(piece)
            produced += UInt64(piece.count)
            try ArchiveLimits.check(
                produced, limits.bytes, "--max-bytes", "bytes of the uncompressed tar so far", in: name)
            if produced > ArchiveLimits.ratioFloor, consumed > 0 {
                try ArchiveLimits.check(
                    produced / consumed, limits.ratio, "--max-ratio", "uncompressed bytes for one compressed", in: name)
            }
            return piece
        }
    }

    /// Reads what is left to the end, and gives the digest of the plain stream.
    func finish() throws(StorageError) -> String {
        while try !next().isEmpty {}
        return hash.finish()
    }

    private func unpack(_ decompressor: Decompressor) throws(StorageError) -> UnsafeRawBufferPointer {
        do {
            let count = try decompressor.run(&pending, into: plain)
            return UnsafeRawBufferPointer(rebasing: plain[..<count])
        } catch {
            throw corrupt((error as? CorruptStream)?.reason ?? "\(error)")
        }
    }

    private func fill(from offset: Int) throws(StorageError) -> Int {
        while true {
            let count = Glibc.read(source.rawValue, packed.baseAddress! + offset, packed.count - offset)
            if count == -1 {
                let error = SystemError.last("read", name)
                if error.errno == .interrupted { continue }
                throw StorageError(error, "read", name)
            }
            if count == 0 { isAtEnd = true }
            consumed += UInt64(count)
            progress?(consumed)
            return count
        }
    }

    private func corrupt(_ reason: String) -> StorageError { StorageError(.dataLoss, "read", name, reason) }
}
