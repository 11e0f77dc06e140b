import Foundation
import Glibc
import LinuxSystem

/// The command of this build, run as a user would.
public struct LaminaTool: Sendable {
    /// Beside the test bundle, as the package manager builds both.
    public static let path =
        CommandLine.arguments[0].split(separator: "/", omittingEmptySubsequences: false)
        .dropLast().joined(separator: "/") + "/lamina"

    public let root: String

    public init(root: String) { self.root = root }

    public struct Result: Sendable {
        public let status: Int32
        public let output: String
        public let error: String

        /// The value of a key of a flat JSON object, as text.
        public func value(_ key: String) -> String? {
            let object = try? JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
            return object?[key].map { "\($0)" }
        }
    }

    /// Starts it; the caller waits. As from a shell, signals reach it: threads that run tests may block them, which what
    /// they start would take over.
    public func start(_ arguments: [String]) throws -> Process {
        var (none, own) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &own)
        defer { pthread_sigmask(SIG_SETMASK, &own, nil) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.path)
        process.arguments = arguments + ["--root", root]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// Runs it to its end.
    @discardableResult
    public func callAsFunction(_ arguments: String...) throws -> Result {
        try run(arguments)
    }

    /// - Parameters:
    ///   - wrapper: a program and its arguments that run the command.
    ///   - environment: in place of this process's own.
    public func run(
        _ arguments: [String], through wrapper: [String] = [], environment: [String: String]? = nil
    ) throws -> Result {
        // Before a `--`, behind which there are only names.
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        return try Self.run(
            wrapper + [Self.path] + arguments[..<end] + ["--root", root] + arguments[end...], environment: environment)
    }

    /// Runs any program, by its path.
    public static func run(_ words: [String], environment: [String: String]? = nil) throws -> Result {
        try withTemporaryDirectory { directory in
            // Files, for a pipe that nobody empties fills up.
            let (out, err) = (directory + "/out", directory + "/err")
            for file in [out, err] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
            let process = Process()
            process.executableURL = URL(fileURLWithPath: words[0])
            process.arguments = Array(words.dropFirst())
            if let environment { process.environment = environment }
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = FileHandle(forWritingAtPath: out)
            process.standardError = FileHandle(forWritingAtPath: err)
            try process.run()
            process.waitUntilExit()
            return Result(
                status: process.terminationStatus, output: readText(out) ?? "", error: readText(err) ?? "")
        }
    }
}
