import ArgumentParser
import Lamina

extension ByteCount: ExpressibleByArgument {
    public init?(argument: String) { self.init(parsing: argument) }
}

/// Makes roots: for `init`, and for commands that find none.
struct RootMaker {
    let global: GlobalOptions

    func make(_ options: DriverOptions) throws(StorageError) -> DriverSelection {
        let request = global.request(options)
        let path = request.path
        let selection = try DriverSelection.select(HostReader.facts(for: path).assess(), request)
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
    @Flag(help: "Take block devices that carry a signature, and a directory that has other files.") var force = false

    func validate() throws {
        if [loop != nil, pool != nil, data != nil].filter({ $0 }).count > 1 {
            throw ValidationError("--loop, --pool and --data exclude each other")
        }
        if metadata != nil, data == nil { throw ValidationError("--metadata needs --data") }
        if let fs, !["ext4", "xfs"].contains(fs) { throw ValidationError("--fs is ext4 or xfs, not \(fs)") }
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
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make a root, and say which driver it got and why.")
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
        commandName: "deinit", abstract: "Unmount and remove everything that Lamina made for a root.")
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
