import Glibc
import SystemPackage

/// Runs programs that make filesystems or check pools (mkfs, thin_check): what has no library to link.
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

    /// Runs to the end, with no input and its output dropped.
    /// - Throws: `SystemError` with EIO and the program's last words in `detail` when it does not exit with 0.
    public func run(_ arguments: [String], on object: String) throws(SystemError) {
        let (reader, writer) = try makePipe()
        defer { reader.closeQuietly() }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, writer.rawValue, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, writer.rawValue, STDERR_FILENO)

        let words = Self.cStrings([path] + arguments)
        defer { for word in words { free(word) } }
        let environment = Self.cStrings(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"])
        defer { for entry in environment { free(entry) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, path, &actions, nil, words, environment)
        writer.closeQuietly()
        if failure != 0 { throw SystemError("run", path, Errno(rawValue: failure)) }

        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(reader.rawValue, &chunk, chunk.count)
            if count == -1, Errno.current == .interrupted { continue }
            if count <= 0 { break }
            output = (output + chunk[..<count]).suffix(4096)
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) == -1, Errno.current == .interrupted {}
        if status != 0 {
            let words = String(decoding: output, as: UTF8.self)
                .split(whereSeparator: \.isNewline).suffix(3).joined(separator: "; ")
            throw SystemError(path, object, .ioError, detail: words)
        }
    }

    /// Copies that the caller frees, and the nil that ends such a list.
    private static func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var copies: [UnsafeMutablePointer<CChar>?] = []
        for text in texts { copies.append(strdup(text)) }
        return copies + [nil]
    }
}
