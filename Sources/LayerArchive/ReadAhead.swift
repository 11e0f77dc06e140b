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

    private let ring: Ring
    private let thread: pthread_t
    private let progress: ((UInt64) -> Void)?
    private var position = 0
    private var hasPiece = false
    private var isAtEnd = false

    /// - Parameter progress: called with the bytes of the input that have been read, on the thread that takes pieces.
    init(
        _ source: FileDescriptor, named name: String, limits: ArchiveLimits, progress: ((UInt64) -> Void)?
    ) throws(StorageError) {
        let ring = try Ring(source, named: name, limits: limits)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Ring>.fromOpaque(context!).takeRetainedValue().produce()
                return nil
            }, Unmanaged.passRetained(ring).toOpaque())
        if code != 0 {
            Unmanaged.passUnretained(ring).release()
            throw StorageError(SystemError("start thread", name, Errno(rawValue: code)), "read", name)
        }
        self.ring = ring
        self.thread = thread
        self.progress = progress
    }

    deinit {
        ring.cancel()
        pthread_join(thread, nil)
    }

    /// The next plain bytes, valid until the next call; empty at the end.
    func next() throws(StorageError) -> UnsafeRawBufferPointer {
        if isAtEnd { return UnsafeRawBufferPointer(start: nil, count: 0) }
        if hasPiece {
            ring.giveBack()
            position += 1
        }
        let slot = ring.take(position)
        hasPiece = true
        progress?(slot.consumed)
        if let error = slot.error {
            isAtEnd = true
            throw error
        }
        isAtEnd = slot.bytes.isEmpty
        taken += UInt64(slot.bytes.count)
        return slot.bytes
    }

    /// Takes what is left to the end, and gives the digest of the plain stream.
    func finish() throws(StorageError) -> String {
        while try !next().isEmpty {}
        return ring.input.digest()
    }
}

/// Buffers that go round between the thread that fills them and the one that empties them. Each is one side's alone:
/// the semaphores hand them over, in order; `input` is the filling side's until an empty piece or an error has come.
private final class Ring: @unchecked Sendable {
    struct Slot {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Ring.pieceSize, alignment: 4096)
        var count = 0
        var consumed: UInt64 = 0
        var error: StorageError?
        var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[..<count]) }
    }

    /// 8 MiB in all: what a filesystem that pauses to write is bridged with.
    static let pieceSize = 1 << 20
    private static let pieces = 8

    let input: ArchiveInput
    private let slots = UnsafeMutablePointer<Slot>.allocate(capacity: pieces)
    private let free = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let full = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    /// Its closed writing end wakes a thread that waits for input.
    private let cancellation: (read: FileDescriptor, write: FileDescriptor)
    private let isCancelled = Atomic(false)

    init(_ source: FileDescriptor, named name: String, limits: ArchiveLimits) throws(StorageError) {
        do throws(SystemError) {
            cancellation = try makePipe()
        } catch {
            throw StorageError(error, "read", name)
        }
        do throws(StorageError) {
            input = try ArchiveInput(source, named: name, limits: limits, cancellation: cancellation.read)
        } catch {
            cancellation.read.closeQuietly()
            cancellation.write.closeQuietly()
            throw error
        }
        for piece in 0..<Self.pieces { (slots + piece).initialize(to: Slot()) }
        sem_init(free, 0, UInt32(Self.pieces))
        sem_init(full, 0, 0)
    }

    deinit {
        for piece in 0..<Self.pieces { slots[piece].buffer.deallocate() }
        slots.deinitialize(count: Self.pieces)
        slots.deallocate()
        sem_destroy(free)
        sem_destroy(full)
        free.deallocate()
        full.deallocate()
        cancellation.read.closeQuietly()
        if !isCancelled.load(ordering: .relaxed) { cancellation.write.closeQuietly() }
    }

    /// The filling side.
    func produce() {
        var position = 0
        while true {
            Self.wait(free)
            if isCancelled.load(ordering: .acquiring) { return }
            let slot = slots + position % Self.pieces
            do throws(StorageError) {
                slot.pointee.count = try input.fill(slot.pointee.buffer)
            } catch {
                slot.pointee.error = error
            }
            slot.pointee.consumed = input.consumed
            let isLast = slot.pointee.error != nil || slot.pointee.count == 0
            sem_post(full)
            if isLast { return }
            position += 1
        }
    }

    /// The emptying side: the piece at a position, once it is there.
    func take(_ position: Int) -> Slot {
        Self.wait(full)
        return slots[position % Self.pieces]
    }

    func giveBack() { sem_post(free) }

    /// Makes the filling side end. Called once, by the emptying side.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        cancellation.write.closeQuietly()
        sem_post(free)
    }

    private static func wait(_ semaphore: UnsafeMutablePointer<sem_t>) {
        while sem_wait(semaphore) == -1 {}
    }
}
