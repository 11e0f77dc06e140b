import Glibc
import Synchronization

/// Runs `body` in as many threads at once; what they throw, as text.
public func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) -> [String] {
    let failures = Failures()
    var threads: [pthread_t] = []
    for index in 0..<count {
        let work = Unmanaged.passRetained(
            Work {
                do { try body(index) } catch { failures.add("\(error)") }
            })
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { @Sendable argument in
                Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
    return failures.all
}

private final class Work: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

private final class Failures: Sendable {
    /// Guards the texts that threads add.
    private let texts = Mutex<[String]>([])
    func add(_ text: String) { texts.withLock { $0.append(text) } }
    var all: [String] { texts.withLock { $0 } }
}
