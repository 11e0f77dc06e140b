import Glibc

/// Runs `body` again while it fails with EBUSY, for a second. The last close of a mount may end a moment
/// after the call that caused it, and a child that another thread starts holds copies of all descriptors until it
/// runs its program.
/// - Parameter pause: microseconds between two attempts.
/// - Throws: EBUSY when the object is still in use then; every other error at once.
public func patiently<Result>(
    attempts: Int = 101, pause: UInt32 = 10000, _ body: () throws(SystemError) -> Result
) throws(SystemError) -> Result {
    for _ in 1..<attempts {
        do throws(SystemError) {
            return try body()
        } catch {
            guard error.errno == .resourceBusy else { throw error }
        }
        usleep(pause)
    }
    return try body()
}
