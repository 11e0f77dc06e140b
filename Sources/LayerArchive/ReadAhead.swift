import Glibc
import LinuxSystem
import StorageDriver
import Synchronization
import SystemPackage

/// Reads, unpacks and hashes a tar on a thread of its own, some pieces ahead of whoever takes them, so that none of
/// this waits for the filesystem that the members are written to.
final class ReadAhead {
    /// Bytes of the plain tar taken so far.
    private(set) var taken: UInt64 = 0

    private let producer: Producer
    private let thread: pthread_t
    private let progress: ((UInt64) -> Void)?
    /// The piece at hand.
    private var piece: UnsafeRawBufferPointer?
    private var isAtEnd = false

    /// - Parameter progress: called with the bytes of the input that have been read, on the thread that takes pieces.
    init(
        _ source: FileDescriptor, named name: String, limits: ArchiveLimits, progress: ((UInt64) -> Void)?
    ) throws(StorageError) {
        let producer = try Producer(source, named: name, limits: limits)
        do throws(Errno) {
            thread = try startThread { producer.run() }
        } catch {
            throw StorageError(SystemError("start thread", name, error), "read", name)
        }
        self.producer = producer
        self.progress = progress
    }

    deinit {
        producer.cancel()
        pthread_join(thread, nil)
    }

    /// The next plain bytes, valid until the next call; empty at the end.
    func next() throws(StorageError) -> UnsafeRawBufferPointer {
        if isAtEnd { return UnsafeRawBufferPointer(start: nil, count: 0) }
        if piece != nil { producer.ring.emptied() }
        let slot = producer.ring.slotToEmpty()
        progress?(slot.pointee.consumed)
        if let error = slot.pointee.error {
            isAtEnd = true
            throw error
        }
        let bytes = UnsafeRawBufferPointer(rebasing: slot.pointee.buffer[..<slot.pointee.count])
        piece = bytes
        isAtEnd = bytes.isEmpty
        taken += UInt64(bytes.count)
        return bytes
    }

    /// Takes what is left to the end.
    /// - Parameter position: from where on it should be zeros, and something of them be there.
    /// - Returns: the digest of the plain stream, and what else there is after the position.
    func finish(after position: UInt64) throws(StorageError) -> (digest: String, rest: Rest) {
        var isZero = true
        var bytes = piece ?? UnsafeRawBufferPointer(start: nil, count: 0)
        repeat {
            let before = taken - UInt64(bytes.count)
            let start = position > before ? min(bytes.count, Int(position - before)) : 0
            isZero = isZero && UnsafeRawBufferPointer(rebasing: bytes[start...]).isAllZero
            bytes = try next()
        } while !bytes.isEmpty
        return (producer.input.digest(), taken <= position ? .nothing : isZero ? .zeros : .something)
    }

    /// What follows the last member of a tar.
    enum Rest {
        /// Two blocks of zeros and more of them: as it should be.
        case zeros
        case nothing, something
    }
}

/// The thread's side. `input` is the thread's alone until an empty piece or an error has come.
private final class Producer: @unchecked Sendable {
    struct Piece {
        let buffer: UnsafeMutableRawBufferPointer
        var count = 0
        var consumed: UInt64 = 0
        var error: StorageError?
    }

    let input: ArchiveInput
    let ring: Ring<Piece>
    /// All pieces together: 8 MiB, what bridges a filesystem that pauses to write.
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 20, alignment: 4096)
    private static let pieceSize = 1 << 20
    /// Its writing end, once closed, wakes a thread that waits for input.
    private let cancellation: (read: FileDescriptor, write: FileDescriptor)
    private let isCancelled = Atomic(false)

    init(_ source: FileDescriptor, named name: String, limits: ArchiveLimits) throws(StorageError) {
        do throws(SystemError) {
            cancellation = try makePipe()
        } catch {
            throw StorageError(error, "read", name)
        }
        let memory = memory
        ring = Ring(
            stride(from: 0, to: memory.count, by: Self.pieceSize).map { start in
                Piece(buffer: .init(rebasing: memory[start..<start + Self.pieceSize]))
            })
        do throws(StorageError) {
            input = try ArchiveInput(source, named: name, limits: limits, cancellation: cancellation.read)
        } catch {
            cancellation.read.closeQuietly()
            cancellation.write.closeQuietly()
            memory.deallocate()
            throw error
        }
    }

    deinit {
        memory.deallocate()
        cancellation.read.closeQuietly()
        if !isCancelled.load(ordering: .acquiring) { cancellation.write.closeQuietly() }
    }

    func run() {
        while true {
            let piece = ring.slotToFill()
            if isCancelled.load(ordering: .acquiring) { return }
            do throws(StorageError) {
                piece.pointee.count = try input.fill(piece.pointee.buffer)
            } catch {
                piece.pointee.error = error
            }
            piece.pointee.consumed = input.consumed
            let isLast = piece.pointee.error != nil || piece.pointee.count == 0
            ring.filled()
            if isLast { return }
        }
    }

    /// Makes the thread end. Called once, by the other side.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        cancellation.write.closeQuietly()
        ring.emptied()
    }
}
