import ArgumentParser
import Lamina

struct Migrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Move all layers of a root to another driver.",
        discussion: """
            The layers are copied and compared; then the root belongs to the new driver, and the state of the old one is \
            kept until --remove-old. What is cut short goes on at the next call, or is dropped with --cancel.
            """)
    @OptionGroup var global: GlobalOptions
    @Option(
        help: "The driver to move to; the options of init say what it is to use.",
        completion: .list(DriverRegistry.drivers.map { $0.name }))
    var to: String?
    @Flag(help: "Remove the state of the old driver, once the migration is done.") var removeOld = false
    @Flag(help: "Give up a migration that is not done, and remove what it has copied.") var cancel = false
    @OptionGroup(title: "The new driver") var backing: BackingOptions

    func validate() throws {
        if [to != nil, removeOld, cancel].filter({ $0 }).count != 1 {
            throw ValidationError("one of --to DRIVER, --remove-old and --cancel is needed")
        }
        if to == nil, backing.driverOptions != DriverOptions() {
            throw ValidationError("the options of a driver belong to --to")
        }
    }

    func run() throws {
        try global.requireRoot(for: "migrate")
        if let name = global.driverName { _ = try DriverRegistry.driver(named: name, by: global.driverSource) }
        let migration = Migration(
            path: global.rootPath, driver: global.driverName, drivers: DriverRegistry.drivers, logger: global.logger)
        if let to { return try move(migration, to: try DriverRegistry.driver(named: to)) }
        let driver = try removeOld ? migration.removeOld() : migration.cancel()
        if global.json {
            try printJSON(["root": global.rootPath, "removed": driver])
        } else {
            print("removed what \(global.rootPath) had of the driver \(driver)")
        }
    }

    private func move(_ migration: Migration, to type: any StorageDriver.Type) throws {
        var progress = Progress("migrate", total: nil)
        let report = try migration.run(to: type, options: backing.driverOptions) { step in
            switch step {
            case .layer(let name, let done, let count):
                progress.finish()
                progress = Progress("\(name) (\(done + 1) of \(count))", total: nil)
            case .bytes(let bytes): progress.update(bytes)
            case .waiting: note("waiting for other commands to end: the last part needs the root alone")
            case .warning(let text):
                progress.finish()
                note("warning: \(text)")
            }
        }
        progress.finish()
        if global.json {
            struct Moved: Encodable {
                let root, from, to: String
                let layers: Int
            }
            try printJSON(Moved(root: global.rootPath, from: report.from, to: report.to, layers: report.layers))
        } else {
            print(
                "moved \(report.layers) layers of \(global.rootPath) from \(report.from) to \(report.to); the old state "
                    + "is kept until lamina migrate --remove-old")
        }
    }
}
