import Glibc
import LinuxSystem
import StorageDriver
import Synchronization
import SystemPackage

/// Runs `body` for each of the values at once, each in a thread of its own, and waits for all.
/// - Throws: the first failure, once all have ended.
func inParallel<Value: Sendable>(
    _ values: [Value], _ body: @escaping @Sendable (Value) throws(StorageError) -> Void
) throws(StorageError) {
    let failure = FirstFailure()
    var threads: [pthread_t] = []
    for value in values {
        do throws(Errno) {
            threads.append(
                try startThread {
                    do throws(StorageError) { try body(value) } catch { failure.keep(error) }
                })
        } catch {
            failure.keep(StorageError(SystemError("start", "thread", error), "bench", "threads"))
        }
    }
    for thread in threads { pthread_join(thread, nil) }
    if let error = failure.error { throw error }
}

private final class FirstFailure: Sendable {
    /// Guards what threads report.
    private let first = Mutex<StorageError?>(nil)
    func keep(_ error: StorageError) { first.withLock { if $0 == nil { $0 = error } } }
    var error: StorageError? { first.withLock { $0 } }
}
