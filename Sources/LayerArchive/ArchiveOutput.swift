import CISAL
import CZstd
import LinuxSystem
import StorageDriver
import SystemPackage

/// Where a tar goes: hashed as it is, packed, hashed again, written.
final class ArchiveOutput {
    /// Bytes of the plain tar so far.
    private(set) var produced: UInt64 = 0
    /// Bytes written so far.
    private(set) var written: UInt64 = 0

    private let target: FileDescriptor
    private let compressor: Compressor?
    private let plainHash = SHA256()
    private let packedHash = SHA256()
    private let progress: ((UInt64) -> Void)?
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    private var filled = 0

    init(_ target: FileDescriptor, compression: Compression, progress: ((UInt64) -> Void)?) {
        self.target = target
        self.progress = progress
        switch compression {
        case .none: compressor = nil
        case .gzip: compressor = GzipCompressor()
        case .zstd: compressor = ZstdCompressor()
        }
    }

    deinit { buffer.deallocate() }

    func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = min(rest.count, buffer.count - filled)
            UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<filled + count])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
            filled += count
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            if filled == buffer.count { try flush(isLast: false) }
        }
    }

    /// Writes what is left.
    /// - Returns: digests of the plain and of the written bytes.
    func finish() throws(SystemError) -> (plain: String, packed: String) {
        try flush(isLast: true)
        return (plainHash.finish(), packedHash.finish())
    }

    private func flush(isLast: Bool) throws(SystemError) {
        let piece = UnsafeRawBufferPointer(rebasing: buffer[..<filled])
        filled = 0
        plainHash.update(piece)
        produced += UInt64(piece.count)
        progress?(produced)
        if let compressor {
            try compressor.run(piece, isLast: isLast) { packed throws(SystemError) in try self.emit(packed) }
        } else {
            try emit(piece)
        }
    }

    private func emit(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        packedHash.update(bytes)
        written += UInt64(bytes.count)
        try target.writeFully(bytes, to: "output")
    }
}

/// Packs a stream.
protocol Compressor: AnyObject {
    /// Packs all of `input`, and with `isLast` ends the stream.
    func run(
        _ input: UnsafeRawBufferPointer, isLast: Bool,
        _ emit: (UnsafeRawBufferPointer) throws(SystemError) -> Void
    ) throws(SystemError)
}

/// gzip through libisal, at its fastest level; no name and no time in the header.
final class GzipCompressor: Compressor {
    private let stream = UnsafeMutablePointer<isal_zstream>.allocate(capacity: 1)
    private let work = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(LAM_ISAL_LEVEL_1_BUFFER))
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)

    init() {
        isal_deflate_init(stream)
        stream.pointee.level = 1
        stream.pointee.level_buf = work
        stream.pointee.level_buf_size = LAM_ISAL_LEVEL_1_BUFFER
        stream.pointee.gzip_flag = UInt16(IGZIP_GZIP)
    }

    deinit {
        stream.deallocate()
        work.deallocate()
        output.deallocate()
    }

    func run(
        _ input: UnsafeRawBufferPointer, isLast: Bool,
        _ emit: (UnsafeRawBufferPointer) throws(SystemError) -> Void
    ) throws(SystemError) {
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(input.count)
        stream.pointee.end_of_stream = isLast ? 1 : 0
        repeat {
            stream.pointee.next_out = output.baseAddress!.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(output.count)
            isal_deflate(stream)
            try emit(UnsafeRawBufferPointer(rebasing: output[..<(output.count - Int(stream.pointee.avail_out))]))
        } while stream.pointee.avail_out == 0
    }
}

/// zstd through libzstd, at its default level, with a checksum.
final class ZstdCompressor: Compressor {
    private let stream = ZSTD_createCCtx()
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)

    init() { ZSTD_CCtx_setParameter(stream, ZSTD_c_checksumFlag, 1) }

    deinit {
        ZSTD_freeCCtx(stream)
        output.deallocate()
    }

    func run(
        _ input: UnsafeRawBufferPointer, isLast: Bool,
        _ emit: (UnsafeRawBufferPointer) throws(SystemError) -> Void
    ) throws(SystemError) {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        while true {
            var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
            let left = ZSTD_compressStream2(stream, &target, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
            if ZSTD_isError(left) != 0 {
                throw SystemError("zstd", "output", .ioError, detail: String(cString: ZSTD_getErrorName(left)))
            }
            try emit(UnsafeRawBufferPointer(rebasing: output[..<target.pos]))
            if isLast ? left == 0 : source.pos == source.size { return }
        }
    }
}
