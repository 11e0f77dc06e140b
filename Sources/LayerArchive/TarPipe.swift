import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// A tar that a thread of its own writes while the caller reads it, with nothing but a pipe in between.
public enum TarPipe {
    /// - Parameters:
    ///   - name: the layer's, for errors.
    ///   - write: runs on the thread, and is over when this returns.
    ///   - read: reads to the end, or throws.
    public static func run<Written, Result>(
        named name: String, _ write: @escaping (FileDescriptor) throws(StorageError) -> Written,
        _ read: (FileDescriptor) throws(StorageError) -> Result
    ) throws(StorageError) -> (Written, Result) {
        let pipe = try attempt("copy", name) { try makePipe() }
        let writer = Writer(pipe.write, write)
        let thread: pthread_t
        do throws(Errno) {
            thread = try startThread { writer.run() }
        } catch {
            pipe.read.closeQuietly()
            pipe.write.closeQuietly()
            throw StorageError(SystemError("start thread", name, error), "copy", name)
        }
        let result = Swift.Result { () throws(StorageError) in try read(pipe.read) }
        // A writer that is not done yet ends with EPIPE.
        pipe.read.closeQuietly()
        pthread_join(thread, nil)
        do throws(StorageError) {
            return (try writer.result!.get(), try result.get())
        } catch {
            // What ended first made the other fail.
            if error.errno == .brokenPipe { _ = try result.get() }
            throw error
        }
    }

    /// What the thread is given, and what it gives back: the caller looks at it when the thread has ended.
    private final class Writer<Written>: @unchecked Sendable {
        private let output: FileDescriptor
        private let write: (FileDescriptor) throws(StorageError) -> Written
        private(set) var result: Result<Written, StorageError>?

        init(_ output: FileDescriptor, _ write: @escaping (FileDescriptor) throws(StorageError) -> Written) {
            self.output = output
            self.write = write
        }

        func run() {
            // A pipe that nobody reads is an error here, not the end of the process.
            var signals = sigset_t()
            sigemptyset(&signals)
            sigaddset(&signals, SIGPIPE)
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            result = Result { () throws(StorageError) in try write(output) }
            output.closeQuietly()
        }
    }
}
