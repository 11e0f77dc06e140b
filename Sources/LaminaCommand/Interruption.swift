import Glibc
import LinuxSystem
import Synchronization

/// Lets a command that has things to take down end in an orderly way: SIGINT, SIGTERM and SIGHUP do not end the process
/// from here on, but are remembered.
final class Interruption: Sendable {
    private let isRaised = Atomic(false)

    var isStopped: Bool { isRaised.load(ordering: .relaxed) }

    /// Blocks the signals in this thread and all that it starts later.
    init() {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let waited = signals
        _ = try? startThread {
            var signals = waited
            var signal: Int32 = 0
            while sigwait(&signals, &signal) != 0 {}
            self.isRaised.store(true, ordering: .relaxed)
        }
    }
}
