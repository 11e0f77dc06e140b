import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

extension LayerArchive {
    /// Applies what a tree changed against another one to a third: written as a tar by a thread of its own, applied by
    /// the caller's, with nothing but a pipe in between.
    /// - Parameters:
    ///   - name: the layer's, for errors.
    ///   - touched: what may differ between the two, as a driver says; nil compares all of both.
    ///   - progress: called with the bytes of the tar so far.
    /// - Returns: the tar's digest, and what could not be kept.
    public static func copy(
        from parent: FileDescriptor?, to child: FileDescriptor, touched: TouchedEntries?, onto root: FileDescriptor,
        named name: String, progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> (diffID: String, bytes: UInt64, warnings: [String]) {
        let pipe = try attempt("copy", name) { try makePipe() }
        let writer = Writer(parent, child, touched, pipe.write)
        let thread: pthread_t
        do throws(Errno) {
            thread = try startThread { writer.run() }
        } catch {
            pipe.read.closeQuietly()
            pipe.write.closeQuietly()
            throw StorageError(SystemError("start thread", name, error), "copy", name)
        }
        let applied = Result { () throws(StorageError) in
            try apply(pipe.read, named: name, onto: root, limits: .none, progress: progress)
        }
        // A writer that is not done yet ends with EPIPE.
        pipe.read.closeQuietly()
        pthread_join(thread, nil)
        do throws(StorageError) {
            let written = try writer.result.get()
            let result = try applied.get()
            return (written.diffID, written.bytes, written.warnings + result.warnings)
        } catch {
            // What ended first made the other fail.
            if error.errno == .brokenPipe { _ = try applied.get() }
            throw error
        }
    }

    /// What the thread is given, and what it gives back: the caller looks at it when the thread has ended.
    private final class Writer: @unchecked Sendable {
        private let parent: FileDescriptor?
        private let child: FileDescriptor
        private let touched: TouchedEntries?
        private let output: FileDescriptor
        private(set) var result: Result<WrittenDiff, StorageError>

        init(_ parent: FileDescriptor?, _ child: FileDescriptor, _ touched: TouchedEntries?, _ output: FileDescriptor) {
            self.parent = parent
            self.child = child
            self.touched = touched
            self.output = output
            result = .failure(StorageError(.internal, "diff", "layer", "it did not run"))
        }

        func run() {
            // A pipe that nobody reads is an error here, not the end of the process.
            var signals = sigset_t()
            sigemptyset(&signals)
            sigaddset(&signals, SIGPIPE)
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            result = Result { () throws(StorageError) in
                try LayerArchive.writeDiff(from: parent, to: child, touched: touched, into: output)
            }
            output.closeQuietly()
        }
    }
}
