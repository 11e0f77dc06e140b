import CISAL
import CZstd

/// gzip with any number of members, through libisal.
final class GzipDecompressor: Decompressor {
    /// 87 KB: never a Swift value.
    private let state = UnsafeMutablePointer<inflate_state>.allocate(capacity: 1)
    private(set) var isComplete = false

    init() {
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
    }

    deinit { state.deallocate() }

    func run(
        _ input: inout UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(UnpackFailure) -> Int {
        if isComplete {
            // Padding of zeros after the last member is common.
            input = UnsafeRawBufferPointer(rebasing: input.drop { $0 == 0 })
            guard let first = input.first else { return 0 }
            if first != 0x1F { throw .corrupt("what follows the gzip stream is not gzip") }
            isal_inflate_reset(state)
            state.pointee.crc_flag = UInt32(ISAL_GZIP)
            isComplete = false
        }
        state.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        state.pointee.avail_in = UInt32(input.count)
        state.pointee.next_out = output.baseAddress!.assumingMemoryBound(to: UInt8.self)
        state.pointee.avail_out = UInt32(output.count)
        let result = isal_inflate(state)
        if result == ISAL_INCORRECT_CHECKSUM { throw .corrupt("the gzip stream does not match its checksum") }
        if result < 0 { throw .corrupt("it is no valid gzip stream") }
        input = UnsafeRawBufferPointer(rebasing: input.suffix(Int(state.pointee.avail_in)))
        isComplete = state.pointee.block_state == ISAL_BLOCK_FINISH
        return output.count - Int(state.pointee.avail_out)
    }
}

/// zstd with any number of frames, through libzstd.
final class ZstdDecompressor: Decompressor {
    private let stream = ZSTD_createDStream()
    private(set) var isComplete = false

    init() { ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, Self.largestWindow) }

    deinit { ZSTD_freeDStream(stream) }

    func run(
        _ input: inout UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(UnpackFailure) -> Int {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let result = ZSTD_decompressStream(stream, &target, &source)
        if ZSTD_isError(result) != 0 {
            if ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge {
                throw .needsMemory(hint: "unpack it first: zstd -dc --long=31 FILE | lamina layer import NAME -")
            }
            throw .corrupt("it is no valid zstd stream: \(String(cString: ZSTD_getErrorName(result)))")
        }
        // At the end of the input, a call that moved nothing says nothing about the frame.
        if source.pos > 0 || target.pos > 0 { isComplete = result == 0 }
        input = UnsafeRawBufferPointer(rebasing: input.dropFirst(source.pos))
        return target.pos
    }

    /// The logarithm of the largest window: 32 MiB, four times what RFC 8878 asks of readers and what zstd's levels take
    /// up to 19. Memory of this size is taken when a frame asks for it.
    private static let largestWindow: Int32 = 25
}
