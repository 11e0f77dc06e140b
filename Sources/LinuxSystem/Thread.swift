import Glibc
import Synchronization
import SystemPackage

/// Starts a thread that runs `body`.
/// - Returns: what pthread_join takes.
public func startThread(_ body: @escaping @Sendable () -> Void) throws(Errno) -> pthread_t {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let box = Unmanaged.passRetained(Box(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { context in
            Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    if code != 0 {
        box.release()
        throw Errno(rawValue: code)
    }
    return thread
}

/// Runs `body` on a thread of its own and waits for it: for what the kernel keeps per thread (working directory, mount
/// namespace, capabilities), all of which goes with the thread.
public func onOwnThread<Result: Sendable>(
    _ body: @escaping @Sendable () -> Result
) throws(Errno) -> Result {
    let box = ResultBox<Result>()
    let thread = try startThread { box.result.withLock { $0 = body() } }
    pthread_join(thread, nil)
    return box.result.withLock { $0! }
}

private final class ResultBox<Result: Sendable>: Sendable {
    /// Written by the thread, read after its end.
    let result = Mutex<Result?>(nil)
}
