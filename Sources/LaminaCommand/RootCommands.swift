import ArgumentParser
import Lamina

extension ByteCount: ExpressibleByArgument {
    public init?(argument: String) { self.init(parsing: argument) }
}

/// Makes roots: for `init`, and for commands that find none.
struct RootMaker {
    let global: GlobalOptions

    func make(_ options: DriverOptions) throws(StorageError) -> DriverSelection {
        let path = global.rootPath
        let assessments = DriverSelection.assess(HostReader.facts(for: path))
        let selection = DriverSelection.select(
            assessments, named: global.driverName, prior: Root.driverName(at: path), options: options)
        guard let selection else {
            let loop = assessments.contains { $0.worksOnLoop }
            throw StorageError(
                .failedPrecondition, "init", path, "no driver can be chosen for this host without a word from you",
                hint: (loop ? "lamina init --loop SIZE to try out in a file, or " : "")
                    + "lamina init --driver vfs; lamina probe says why")
        }
        try Root.initialize(
            path: path, driver: try DriverRegistry.driver(named: selection.driver), options: options,
            drivers: DriverRegistry.drivers, logger: global.logger)
        return selection
    }
}

/// What a driver is to make its layers on.
struct BackingOptions: ParsableArguments {
    @Option(help: "Use a file of this size in the root, for trying out (as 10G).") var loop: ByteCount?
    @Option(help: "Use the thin pool of this name, or with the driver zfs this pool or dataset.") var pool: String?
    @Option(help: "Make a thin pool on this block device.", completion: .file()) var data: String?
    @Option(help: "The block device for the pool's metadata; without it, a part of --data.", completion: .file())
    var metadata: String?
    @Option(help: "The filesystem inside the layers of a thin pool: ext4 or xfs.", completion: .list(["ext4", "xfs"]))
    var fs: String?
    @Flag(help: "Take block devices that carry a signature.") var force = false

    func validate() throws {
        if [loop != nil, pool != nil, data != nil].filter({ $0 }).count > 1 {
            throw ValidationError("--loop, --pool and --data exclude each other")
        }
        if metadata != nil, data == nil { throw ValidationError("--metadata needs --data") }
    }

    var driverOptions: DriverOptions {
        var options = DriverOptions(filesystem: fs, force: force)
        if let loop { options.backing = .loop(bytes: loop.bytes) }
        if let pool { options.backing = .pool(pool) }
        if let data { options.backing = .devices(data: data, metadata: metadata) }
        return options
    }
}

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a root, and say which driver it got and why.")
    @OptionGroup var global: GlobalOptions
    @OptionGroup var backing: BackingOptions

    func run() throws {
        try global.requireRoot(for: "init")
        let selection = try RootMaker(global: global).make(backing.driverOptions)
        let store = try global.openStore(for: "init")
        if global.json {
            struct Made: Encodable {
                let root, id, driver, rule, why: String
            }
            try printJSON(
                Made(
                    root: store.root.path, id: store.root.id, driver: selection.driver,
                    rule: selection.rule.rawValue, why: selection.explanation))
        } else {
            print("made \(store.root.path) with the driver \(selection.driver): \(selection.explanation)")
        }
    }
}

struct Deinit: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Unmount and remove everything that Lamina made for a root.")
    @OptionGroup var global: GlobalOptions
    @Flag(help: "Also while there are layers: they are lost.") var force = false

    func run() throws {
        try global.requireRoot(for: "deinit")
        let path = global.rootPath
        try Root.deinitialize(
            path: path, force: force, driver: global.driverName, drivers: DriverRegistry.drivers)
        if global.json {
            try printJSON(["root": path])
        } else {
            print("removed \(path)")
        }
    }
}

struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the driver of a root, its health and its space.")
    @OptionGroup var global: GlobalOptions

    private struct Report: Encodable {
        struct Layers: Encodable { let active, committed, view: Int }
        let root, id, driver, version: String
        let status: [String: String]
        let layers: Layers
        let space: DriverSpace
        let migration: String?
    }

    func run() throws {
        let store = try global.openStore(for: "info")
        let status = try store.driver.status()
        let layers = try store.layers()
        func count(_ kind: LayerKind) -> Int { layers.filter { $0.kind == kind }.count }
        var details = ["health": status.health.rawValue]
        if let message = status.message { details["message"] = message }
        for detail in status.details { details[detail.key] = detail.value }
        let report = Report(
            root: store.root.path, id: store.root.id, driver: store.driver.name, version: laminaVersion,
            status: details, layers: .init(active: count(.active), committed: count(.committed), view: count(.view)),
            space: status.space, migration: try store.migration().map(words))
        if global.json { return try printJSON(report) }
        print("root       \(report.root) (\(report.id))")
        print("driver     \(report.driver)")
        print("health     \(status.health.rawValue)\(status.message.map { ": \($0)" } ?? "")")
        let space = status.space
        print(
            "space      \(ByteCount(space.usedBytes)) used of \(ByteCount(space.totalBytes)), "
                + "\(ByteCount(space.freeBytes)) free")
        if let used = space.metadataUsedBytes, let total = space.metadataTotalBytes {
            print("metadata   \(ByteCount(used)) used of \(ByteCount(total))")
        }
        print(
            "layers     \(report.layers.active) active, \(report.layers.committed) committed, "
                + "\(report.layers.view) view")
        for detail in status.details {
            print(detail.key + String(repeating: " ", count: max(1, 11 - detail.key.count)) + detail.value)
        }
        if let migration = report.migration { print("migration  \(migration)") }
        print("version    \(laminaVersion)")
    }

    private func words(_ migration: MigrationState) -> String {
        switch migration {
        case .underWay(let driver, let copied):
            "to \(driver), not done: \(copied) committed layers are copied (lamina migrate --to \(driver) goes on, "
                + "--cancel drops them)"
        case .oldKept(let driver):
            "done: the old state, of the driver \(driver), is kept and takes its space (lamina migrate --remove-old)"
        }
    }
}
