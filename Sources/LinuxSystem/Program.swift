import Glibc
import SystemPackage

/// Runs programs that make filesystems, check pools or manage them (mkfs, thin_check, zfs): what has no library to link.
public struct Program: Sendable {
    public let path: String

    /// The program of that name in the places where the system's own tools are, without asking PATH: what runs as
    /// root is not chosen by the environment. Nil when it is not installed.
    public init?(_ name: String) {
        for directory in ["/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
            let candidate = "\(directory)/\(name)"
            if access(candidate, X_OK) == 0 {
                path = candidate
                return
            }
        }
        return nil
    }

    /// What a program did that ran to its end.
    public struct Outcome: Sendable {
        /// 0 when all went well; 128 and the signal's number when a signal ended it, as shells say it.
        public let status: Int32
        public let output: String
        /// Its last words, from standard error or, where nothing is there, from its output; for people only.
        public let complaint: String
    }

    /// Runs to the end, with no input and its output dropped.
    /// - Throws: `SystemError` with EIO and the program's last words in `detail` when it does not exit with 0.
    public func run(_ arguments: [String], on object: String) throws(SystemError) {
        let outcome = try capture(arguments)
        if outcome.status != 0 { throw SystemError(path, object, .ioError, detail: outcome.complaint) }
    }

    /// Runs to the end, with no input, and gives what it printed.
    /// - Throws: only when it could not be started: how it ended is the caller's to judge.
    public func capture(_ arguments: [String]) throws(SystemError) -> Outcome {
        let output = try makePipe()
        defer { output.read.closeQuietly() }
        let errors: (read: FileDescriptor, write: FileDescriptor)
        do throws(SystemError) {
            errors = try makePipe()
        } catch {
            output.write.closeQuietly()
            throw error
        }
        defer { errors.read.closeQuietly() }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output.write.rawValue, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, errors.write.rawValue, STDERR_FILENO)

        let words = Self.cStrings([path] + arguments)
        defer { for word in words { free(word) } }
        let environment = Self.cStrings(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"])
        defer { for entry in environment { free(entry) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, path, &actions, nil, words, environment)
        output.write.closeQuietly()
        errors.write.closeQuietly()
        if failure != 0 { throw SystemError("run", path, Errno(rawValue: failure)) }

        let (printed, complained) = Self.readBoth(output.read, errors.read)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) == -1, Errno.current == .interrupted {}
        let signal = status & 0x7F
        let lastWords = String(decoding: (complained.isEmpty ? printed : complained).suffix(4096), as: UTF8.self)
        return Outcome(
            status: signal == 0 ? (status >> 8) & 0xFF : 128 + signal,
            output: String(decoding: printed, as: UTF8.self),
            complaint: lastWords.split(whereSeparator: \.isNewline).suffix(3).joined(separator: "; "))
    }

    /// Reads two pipes to their ends: neither may fill up while the other is waited for.
    private static func readBoth(_ one: FileDescriptor, _ other: FileDescriptor) -> ([UInt8], [UInt8]) {
        var waiting = [one, other].map { pollfd(fd: $0.rawValue, events: Int16(POLLIN), revents: 0) }
        var read: [[UInt8]] = [[], []]
        var chunk = [UInt8](repeating: 0, count: 4096)
        while waiting.contains(where: { $0.fd >= 0 }) {
            if poll(&waiting, nfds_t(waiting.count), -1) == -1 { continue }
            for index in waiting.indices where waiting[index].fd >= 0 && waiting[index].revents != 0 {
                let count = Glibc.read(waiting[index].fd, &chunk, chunk.count)
                if count > 0 {
                    read[index] += chunk[..<count]
                } else if count == 0 || Errno.current != .interrupted {
                    // A negative descriptor is passed over.
                    waiting[index].fd = -1
                }
            }
        }
        return (read[0], read[1])
    }

    /// Copies that the caller frees, and the nil that ends such a list.
    private static func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var copies: [UnsafeMutablePointer<CChar>?] = []
        for text in texts { copies.append(strdup(text)) }
        return copies + [nil]
    }
}
