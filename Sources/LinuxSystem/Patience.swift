import Glibc

/// Runs `body` again while it fails with EBUSY, for a fifth of a second. The last close of a mount may end a moment
/// after the call that caused it, and a child that another thread starts holds copies of all descriptors until it
/// runs its program.
/// - Throws: EBUSY when the object is still in use then; every other error at once.
public func patiently<Result>(_ body: () throws(SystemError) -> Result) throws(SystemError) -> Result {
    for _ in 0..<20 {
        do throws(SystemError) {
            return try body()
        } catch {
            guard error.errno == .resourceBusy else { throw error }
        }
        usleep(10000)
    }
    return try body()
}
