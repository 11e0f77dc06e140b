/// Slots that go round between one thread that fills them and one that empties them. Each slot is one side's alone:
/// two semaphores hand them over, in order.
final class Ring<Slot>: @unchecked Sendable {
    private let slots: UnsafeMutablePointer<Slot>
    private let count: Int
    /// Slots that can be filled, and slots that can be emptied.
    private let free: Semaphore
    private let full = Semaphore(0)
    /// Each used by its side only.
    private var filling = 0
    private var emptying = 0

    init(_ slots: [Slot]) {
        count = slots.count
        self.slots = .allocate(capacity: count)
        for (index, slot) in slots.enumerated() { (self.slots + index).initialize(to: slot) }
        free = Semaphore(count)
    }

    deinit {
        slots.deinitialize(count: count)
        slots.deallocate()
    }

    /// Waits for a slot that can be filled; `filled` gives it away.
    func slotToFill() -> UnsafeMutablePointer<Slot> {
        free.wait()
        return slots + filling % count
    }

    func filled() {
        filling += 1
        full.post()
    }

    /// Waits for a slot that was filled; `emptied` gives it back.
    func slotToEmpty() -> UnsafeMutablePointer<Slot> {
        full.wait()
        return slots + emptying % count
    }

    func emptied() {
        emptying += 1
        free.post()
    }
}
