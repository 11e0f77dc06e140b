import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Takes pieces of a packed stream and gives pieces of the unpacked one.
protocol Decompressor: AnyObject {
    /// Unpacks from `input`, of which it removes what it has used, into `output`.
    /// - Returns: bytes written to `output`.
    func run(
        _ input: inout UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(UnpackFailure) -> Int
    /// Whether the stream may end here.
    var isComplete: Bool { get }
}

enum UnpackFailure: Error {
    /// The packed stream makes no sense.
    case corrupt(String)
    /// It was packed for readers with more memory.
    case needsMemory(hint: String)
}

/// A tar as a stream of plain bytes: unpacks what is packed, and hashes all that goes by. Used by one thread at a time.
final class ArchiveInput {
    /// Bytes read of the input so far, as they are there.
    private(set) var consumed: UInt64 = 0
    /// Bytes of the plain tar so far.
    private(set) var produced: UInt64 = 0

    private let source: FileDescriptor
    private let name: String
    private let limits: ArchiveLimits
    private let cancellation: FileDescriptor
    private let hash = SHA256()
    private var decompressor: Decompressor?
    private let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    /// What was read and not yet given on: part of `packed`.
    private var pending = UnsafeRawBufferPointer(start: nil, count: 0)
    private var isAtEnd = false

    /// - Parameter cancellation: when this can be read, waiting for input ends with an error.
    /// - Throws: `.invalidArgument` for an input without a byte.
    init(
        _ source: FileDescriptor, named name: String, limits: ArchiveLimits, cancellation: FileDescriptor
    ) throws(StorageError) {
        self.source = source
        self.name = name
        self.limits = limits
        self.cancellation = cancellation
        // A pipe may give one byte at a time.
        var count = 0
        while count < Compression.magicSize, !isAtEnd { count += try read(into: .init(rebasing: packed[count...])) }
        if count == 0 { throw StorageError(.invalidArgument, "read", name, "it is empty") }
        pending = UnsafeRawBufferPointer(rebasing: packed[..<count])
        switch try Compression(magic: pending, named: name) {
        case .none: decompressor = nil
        case .gzip: decompressor = GzipDecompressor()
        case .zstd: decompressor = ZstdDecompressor()
        }
    }

    deinit { packed.deallocate() }

    /// Fills a buffer with the next plain bytes.
    /// - Returns: how many; fewer than the buffer takes only at the end.
    func fill(_ buffer: UnsafeMutableRawBufferPointer) throws(StorageError) -> Int {
        var filled = 0
        while filled < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            if let decompressor {
                if pending.isEmpty, !isAtEnd {
                    pending = UnsafeRawBufferPointer(rebasing: packed[..<(try read(into: packed))])
                }
                let count = try unpack(decompressor, into: rest)
                filled += count
                if count == 0, isAtEnd, pending.isEmpty {
                    if !decompressor.isComplete { throw corrupt("the compressed stream ends too early") }
                    break
                }
            } else if pending.isEmpty {
                if isAtEnd { break }
                filled += try read(into: rest)
            } else {
                let count = min(pending.count, rest.count)
                rest.copyMemory(from: UnsafeRawBufferPointer(rebasing: pending[..<count]))
                pending = UnsafeRawBufferPointer(rebasing: pending[count...])
                filled += count
            }
        }
        hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<filled]))
        produced += UInt64(filled)
        try ArchiveLimits.check(
            produced, limits.bytes, "--max-bytes", "bytes of the uncompressed tar so far", in: name)
        if produced > ArchiveLimits.ratioFloor {
            try ArchiveLimits.check(
                produced / consumed, limits.ratio, "--max-ratio", "uncompressed bytes for one compressed", in: name)
        }
        return filled
    }

    /// The digest of the plain stream, once all of it has been given.
    func digest() -> String { hash.finish() }

    private func unpack(
        _ decompressor: Decompressor, into buffer: UnsafeMutableRawBufferPointer
    ) throws(StorageError) -> Int {
        do throws(UnpackFailure) {
            return try decompressor.run(&pending, into: buffer)
        } catch {
            switch error {
            case .corrupt(let reason): throw corrupt(reason)
            case .needsMemory(let hint):
                throw StorageError(
                    .resourceExhausted, "read", name, "unpacking it takes more memory than an import may take",
                    hint: hint)
            }
        }
    }

    private func read(into buffer: UnsafeMutableRawBufferPointer) throws(StorageError) -> Int {
        while true {
            var waits = [source, cancellation].map { pollfd(fd: $0.rawValue, events: Int16(POLLIN), revents: 0) }
            var count = Int(poll(&waits, 2, -1))
            if count > 0, waits[1].revents != 0 {
                throw StorageError(.aborted, "read", name, "it is not needed any more")
            }
            if count > 0 { count = Glibc.read(source.rawValue, buffer.baseAddress, buffer.count) }
            if count == -1 {
                let error = SystemError.last("read", name)
                if error.errno == .interrupted { continue }
                throw StorageError(error, "read", name)
            }
            if count == 0 { isAtEnd = true }
            consumed += UInt64(count)
            return count
        }
    }

    private func corrupt(_ reason: String) -> StorageError { StorageError(.dataLoss, "read", name, reason) }
}
