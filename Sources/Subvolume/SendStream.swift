import CBtrfs
import Glibc
import LinuxSystem
import Synchronization
import SystemPackage

extension Subvolume {
    /// Has the kernel compare two subvolumes, both read-only, and tells the commands that would make `subvolume` out of
    /// the one with the id `parent` (BTRFS_IOC_SEND without file data). What the two share is not read: the cost is
    /// that of what differs.
    /// - Parameter body: its error ends the sending, and is thrown.
    /// - Throws: EPERM when one of them is not read-only; EINVAL for a stream that is not understood.
    static func send(
        _ subvolume: FileDescriptor, since parent: UInt64, _ body: (SendCommand) throws(SystemError) -> Void
    ) throws(SystemError) {
        let pipe = try makePipe()
        let sender = Sender(subvolume, since: parent, into: pipe.write)
        let thread: pthread_t
        do throws(Errno) {
            thread = try startThread { sender.run() }
        } catch {
            pipe.read.closeQuietly()
            pipe.write.closeQuietly()
            throw SystemError("start thread", "send", error)
        }
        let reading = Result { () throws(SystemError) in try readSendStream(pipe.read, body) }
        // A kernel that still writes gets EPIPE.
        pipe.read.closeQuietly()
        pthread_join(thread, nil)
        // Why the kernel has stopped says more than that the stream is too short.
        if let error = sender.error.withLock({ $0 }), error.errno != .brokenPipe { throw error }
        try reading.get()
    }
}

/// The side of the kernel, which writes the stream for as long as the ioctl lasts.
private final class Sender: Sendable {
    private let subvolume: FileDescriptor
    private let parent: UInt64
    private let output: FileDescriptor
    /// What the thread has to say when it has ended.
    let error = Mutex<SystemError?>(nil)

    /// Takes `output` over.
    init(_ subvolume: FileDescriptor, since parent: UInt64, into output: FileDescriptor) {
        self.subvolume = subvolume
        self.parent = parent
        self.output = output
    }

    func run() {
        defer { output.closeQuietly() }
        // A reader that has stopped would have the kernel send SIGPIPE to this thread.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, nil)
        do throws(SystemError) {
            do throws(SystemError) {
                try send(version: 1)
            } catch {
                // Before Linux 5.19 there was no other version, and no asking for one.
                guard error.errno == .invalidArgument else { throw error }
                try send(version: nil)
            }
        } catch {
            self.error.withLock { $0 = error }
        }
    }

    private func send(version: UInt32?) throws(SystemError) {
        var arguments = btrfs_ioctl_send_args()
        arguments.send_fd = Int64(output.rawValue)
        arguments.parent_root = parent
        arguments.flags = UInt64(BTRFS_SEND_FLAG_NO_FILE_DATA)
        if let version {
            arguments.flags |= UInt64(BTRFS_SEND_FLAG_VERSION)
            arguments.version = version
        }
        try check(ioctl(subvolume.rawValue, UInt(LAM_BTRFS_IOC_SEND), &arguments), "send", "subvolume")
    }
}
