import Glibc
import SystemPackage

/// Slots that go round between one thread that fills them and one that empties them. Each slot is one side's alone:
/// two semaphores hand them over, in order.
final class Ring<Slot>: @unchecked Sendable {
    private let slots: UnsafeMutablePointer<Slot>
    private let count: Int
    /// Slots that can be filled, and slots that can be emptied.
    private let free = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let full = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    /// Each used by its side only.
    private var filling = 0
    private var emptying = 0

    init(_ slots: [Slot]) {
        count = slots.count
        self.slots = .allocate(capacity: count)
        for (index, slot) in slots.enumerated() { (self.slots + index).initialize(to: slot) }
        sem_init(free, 0, UInt32(count))
        sem_init(full, 0, 0)
    }

    deinit {
        slots.deinitialize(count: count)
        slots.deallocate()
        for semaphore in [free, full] {
            sem_destroy(semaphore)
            semaphore.deallocate()
        }
    }

    /// Waits for a slot that can be filled; `filled` gives it away.
    func slotToFill() -> UnsafeMutablePointer<Slot> {
        Self.wait(free)
        return slots + filling % count
    }

    func filled() {
        filling += 1
        sem_post(full)
    }

    /// Waits for a slot that was filled; `emptied` gives it back.
    func slotToEmpty() -> UnsafeMutablePointer<Slot> {
        Self.wait(full)
        return slots + emptying % count
    }

    func emptied() {
        emptying += 1
        sem_post(free)
    }

    private static func wait(_ semaphore: UnsafeMutablePointer<sem_t>) {
        // Only a signal ends it early.
        while sem_wait(semaphore) == -1 {}
    }
}
