import ArgumentParser
import Glibc
import Lamina
import Logging

/// What every subcommand takes.
struct GlobalOptions: ParsableArguments {
    @Option(help: "The state root (environment LAMINA_ROOT).", completion: .directory)
    var root: String?

    @Option(
        help: "The storage driver (environment LAMINA_DRIVER).",
        completion: .list(DriverRegistry.drivers.map { $0.name }))
    var driver: String?

    @Flag(help: "Print one JSON value.")
    var json = false

    @Option(
        help: "trace, debug, info, notice, warning, error or critical.",
        transform: { text in
            guard let level = Logger.Level(rawValue: text) else {
                throw ValidationError("there is no log level \(text)")
            }
            return level
        })
    var logLevel: Logger.Level = .warning

    /// Options that may be given more than once.
    private static let repeatable: Set<String> = ["--label"]

    /// The parser takes the last one of an option that is given twice, and an empty value for one.
    /// - Throws: for such options, and for words that are not text: they would stand for something else.
    static func refuseNonsense(_ arguments: [String]) throws {
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let word = CommandLine.unsafeArgv[index], String(validatingCString: word) == nil else { continue }
            throw ValidationError("argument \(index) is not UTF-8")
        }
        for name in ["LAMINA_ROOT", "LAMINA_DRIVER"] {
            guard let word = getenv(name), String(validatingCString: word) == nil else { continue }
            throw ValidationError("\(name) is not UTF-8")
        }
        var seen: Set<Substring> = []
        for (index, argument) in arguments.enumerated() {
            if argument == "--" { return }
            guard argument.hasPrefix("-"), argument.count > 1 else { continue }
            let name = argument.prefix { $0 != "=" }
            if !seen.insert(name).inserted, !repeatable.contains(String(name)) {
                throw ValidationError("\(name) is given twice")
            }
            if argument.dropFirst(name.count) == "=" || arguments.dropFirst(index + 1).first == "" {
                throw ValidationError("\(name) has an empty value")
            }
        }
    }

    /// The parser knows options only of the subcommand that is run: those before its name are moved behind it, before
    /// a `--` that ends options.
    static func moveToEnd(_ arguments: [String]) -> [String] {
        var moved: [String] = []
        var rest = arguments[...]
        while let first = rest.first {
            if first == "--json" {
                moved.append(first)
                rest = rest.dropFirst()
            } else if ["--root", "--driver", "--log-level"].contains(first), rest.count > 1 {
                moved += rest.prefix(2)
                rest = rest.dropFirst(2)
            } else if ["--root=", "--driver=", "--log-level="].contains(where: { first.hasPrefix($0) }) {
                moved.append(first)
                rest = rest.dropFirst()
            } else if ["layer", "bench"].contains(first), rest.count > 1 {
                // A group: its own subcommand may come after more of them.
                return [first] + moveToEnd(moved + rest.dropFirst())
            } else {
                break
            }
        }
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return rest[..<end] + moved + rest[end...]
    }

    /// Absolute, links resolved as far as there is something.
    var rootPath: String {
        let (base, rest) = Self.parts(namedRoot)
        if rest.isEmpty { return base }
        return (base == "/" ? "/" : base + "/") + rest.joined(separator: "/")
    }

    private var namedRoot: String { root ?? environment("LAMINA_ROOT") ?? "/var/lib/lamina" }

    func validate() throws { try Self.requirePlace(namedRoot) }

    /// - Throws: for a path of which nobody could say where it will be.
    static func requirePlace(_ path: String) throws {
        let (base, rest) = parts(path)
        guard let first = rest.first else { return }
        var end: CChar = 0
        if readlink(base + "/" + first, &end, 1) >= 0 {
            throw ValidationError("\(path): \(first) is a symbolic link that leads nowhere")
        }
        if rest.contains("..") {
            throw ValidationError("\(path): there is no \(first), and so nothing that .. is above of")
        }
        if let long = rest.first(where: { $0.utf8.count > 255 }) {
            throw ValidationError("\(path): a name of \(long.utf8.count) bytes is longer than filesystems take (255)")
        }
    }

    /// What is there of a path, links resolved, and the names behind it.
    private static func parts(_ path: String) -> (base: String, rest: [String]) {
        let absolute = absolutePath(path)
        let there = nearestDirectory(absolute)
        let rest = absolute.dropFirst(there.count).split(separator: "/").map(String.init)
        return (resolvedPath(there) ?? there, rest)
    }

    /// Whether a root is named, rather than the customary one meant.
    var namesRoot: Bool { root != nil || environment("LAMINA_ROOT") != nil }

    var driverName: String? { driver ?? environment("LAMINA_DRIVER") }

    /// What names the driver, where one is named.
    var driverSource: String { driver != nil ? "--driver" : "LAMINA_DRIVER" }

    /// What a driver is selected by.
    func request(_ options: DriverOptions = DriverOptions()) -> DriverSelection.Request {
        let path = rootPath
        return DriverSelection.Request(
            path: path, named: driverName, namedBy: driverSource,
            state: Root.state(at: path, drivers: DriverRegistry.drivers), options: options)
    }

    var logger: Logger {
        var logger = Logger(label: "lamina") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        return logger
    }

    /// - Throws: `.permissionDenied` for anybody but the superuser.
    func requireRoot(for operation: String) throws(StorageError) {
        if geteuid() != 0 {
            throw StorageError(
                .permissionDenied, operation, rootPath, "this needs the superuser", errno: .notPermitted,
                hint: "run it with sudo")
        }
    }

    /// The store of the root.
    /// - Parameter making: make a root with automatic selection where there is none, as commands that write do.
    func openStore(for operation: String, making: Bool = false) throws(StorageError) -> LayerStore {
        try requireRoot(for: operation)
        if let name = driverName { _ = try DriverRegistry.driver(named: name, by: driverSource) }
        do throws(StorageError) {
            return try open()
        } catch {
            guard making, error.kind == .notFound, request().state.recorded == nil else { throw error }
            let selection = try RootMaker(global: self).make(DriverOptions())
            note(
                "there was no root at \(rootPath): made one with the driver \(selection.driver) "
                    + "(\(selection.explanation))")
            return try open()
        }
    }

    private func open() throws(StorageError) -> LayerStore {
        let store = try LayerStore(
            path: rootPath, driver: driverName, drivers: DriverRegistry.drivers, logger: logger)
        for recovery in store.recovered { note("recovered layer \(recovery.number): \(recovery)") }
        return store
    }

    private func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }
}
