import LinuxSystem
import Synchronization
import SystemPackage

/// Directories that wait to be compared, shared by the threads of one walk. Whoever meets a directory while few wait
/// leaves it here for another, with its descriptors, and goes on; else compares it itself.
final class WalkStock: @unchecked Sendable {
    struct Pair {
        let parent: FileDescriptor?
        let child: FileDescriptor
        let path: EntryPath

        /// Takes the child over, also when opening the parent fails.
        init(_ path: EntryPath, child: FileDescriptor, parent: () throws -> FileDescriptor?) rethrows {
            do {
                self.parent = try parent()
            } catch {
                child.closeQuietly()
                throw error
            }
            self.child = child
            self.path = path
        }

        func close() {
            parent?.closeQuietly()
            child.closeQuietly()
        }
    }

    private struct State {
        var waiting: [Pair] = []
        /// Directories that wait or are being compared.
        var open = 0
        var failure: (any Error)?
    }

    private let state = Mutex(State())
    /// Posted once for each directory that waits, and for each thread when there will be no more.
    private let available = Semaphore(0)
    private let threads: Int

    /// - Parameter threads: of the walk; each must call `next` until it gets nil.
    init(threads: Int) { self.threads = threads }

    /// Takes a directory over, with its descriptors.
    /// - Returns: false when enough wait, and the caller is to compare it.
    func leave(_ pair: Pair) -> Bool {
        let isTaken = state.withLock { state in
            guard state.waiting.count < 2 * threads, state.failure == nil else { return false }
            state.waiting.append(pair)
            state.open += 1
            return true
        }
        if isTaken { available.post() }
        return isTaken
    }

    /// Waits for a directory; nil when all have been compared, or a thread has failed. `done` ends it.
    func next() -> Pair? {
        available.wait()
        return state.withLock { $0.failure == nil ? $0.waiting.popLast() : nil }
    }

    func done(_ pair: Pair, failure: (any Error)? = nil) {
        pair.close()
        let isEnd = state.withLock { state in
            let isFirst = failure != nil && state.failure == nil
            if isFirst { state.failure = failure }
            state.open -= 1
            return isFirst || (state.open == 0 && state.failure == nil)
        }
        if isEnd { for _ in 0..<threads { available.post() } }
    }

    /// To be called when all threads have ended.
    func finish() throws {
        let failure = state.withLock { state in
            for pair in state.waiting { pair.close() }
            return state.failure
        }
        if let failure { throw failure }
    }
}
