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
            } else if first == "layer", rest.count > 1 {
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
        let absolute = absolutePath(root ?? environment("LAMINA_ROOT") ?? "/var/lib/lamina")
        let there = nearestDirectory(absolute)
        guard let base = resolvedPath(there) else { return absolute }
        let rest = absolute.dropFirst(there.count).split(separator: "/").joined(separator: "/")
        if rest.isEmpty { return base }
        return base == "/" ? "/" + rest : base + "/" + rest
    }

    var driverName: String? { driver ?? environment("LAMINA_DRIVER") }

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
        if let name = driverName { _ = try DriverRegistry.driver(named: name) }
        do throws(StorageError) {
            return try open()
        } catch {
            guard making, error.kind == .notFound, Root.driverName(at: rootPath) == nil else { throw error }
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
