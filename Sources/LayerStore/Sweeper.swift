import Glibc
import LinuxSystem
import Logging
import StorageDriver
import Synchronization

/// Removes objects that no record names any more, one after the other in a thread of its own: what that takes grows with
/// the layer, and nobody waits for it. The mark of each stays until it is gone, so that recovery removes what a process
/// that ends early has not.
final class Sweeper: Sendable {
    /// So many objects may wait, each with the descriptor of its mark; then who brings another waits for all.
    private static let most = 64

    private struct State {
        var waiting: [(number: LayerNumber, mark: InFlight)] = []
        var isRunning = false
        /// The latest thread, until somebody has joined it.
        var thread: pthread_t?
    }

    /// Guards what waits, and which thread works on it. Held for moments.
    private let state = Mutex(State())
    /// Held while a thread is waited for, so that of several who wait none goes on before the others.
    private let finishing = Mutex(())
    private let driver: any StorageDriver
    private let layout: RootLayout
    private let logger: Logger

    init(driver: any StorageDriver, layout: RootLayout, logger: Logger) {
        self.driver = driver
        self.layout = layout
        self.logger = logger
    }

    /// Leaves an object to the thread; where none can be started, removes it at once. The caller holds the lock of the
    /// number, which the thread waits for.
    func remove(_ number: LayerNumber, _ mark: InFlight) {
        // In order: on some drivers a parent's object cannot go before its child's.
        if state.withLock({ $0.waiting.count >= Self.most }) { finish() }
        let isLeft = state.withLock { state in
            if !state.isRunning {
                // The one before has ended, or is about to.
                if let thread = state.thread { pthread_join(thread, nil) }
                state.thread = try? startThread { self.run() }
                guard state.thread != nil else { return false }
                state.isRunning = true
            }
            state.waiting.append((number, mark))
            return true
        }
        if !isLeft { removeNow(number, mark) }
    }

    /// Removes an object in the caller's time, who holds the lock of the number.
    func removeNow(_ number: LayerNumber, _ mark: InFlight) {
        remove(number, mark) { () throws(StorageError) in try driver.remove(number) }
    }

    /// Waits until all that was left to the thread is removed, or cannot be.
    /// - Returns: whether there was anything.
    @discardableResult
    func finish() -> Bool {
        // Another may have taken the thread already, and wait for it.
        let isBusy = state.withLock { $0.isRunning || $0.thread != nil }
        finishing.withLock { _ in
            let thread = state.withLock { state in
                defer { state.thread = nil }
                return state.thread
            }
            if let thread { pthread_join(thread, nil) }
        }
        return isBusy
    }

    private func run() {
        while let (number, mark) = next() {
            remove(number, mark) { () throws(StorageError) in
                try layout.withLock(number, .exclusive, "remove") { () throws(StorageError) in
                    try driver.remove(number)
                }
            }
        }
    }

    private func next() -> (LayerNumber, InFlight)? {
        state.withLock { state in
            if state.waiting.isEmpty {
                state.isRunning = false
                return nil
            }
            return state.waiting.removeFirst()
        }
    }

    /// What cannot be removed now stays marked, and recovery tries again.
    private func remove(_ number: LayerNumber, _ mark: InFlight, _ body: () throws(StorageError) -> Void) {
        do throws(StorageError) {
            try body()
            mark.done()
        } catch {
            logger.warning("\(driver.objectName(number)) could not be removed yet: \(error)")
        }
    }
}
