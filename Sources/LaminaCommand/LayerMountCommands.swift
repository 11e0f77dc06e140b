import ArgumentParser
import Lamina

struct LayerMount: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount", abstract: "Mount a layer, and print where.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Argument(help: "An empty directory; without it, a path of the layer's own.", completion: .directory)
    var target: String?
    @Flag(help: "Nothing can be written.") var readOnly = false

    private struct Mounted: Encodable {
        let name, target: String
        let mounts: [Mount]
    }

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let store = try global.openStore(for: "mount")
        let (path, mounts) = try store.mount(layer, at: target, readOnly: readOnly)
        if global.json {
            try printJSON(Mounted(name: name, target: path, mounts: mounts))
        } else {
            print(path)
        }
    }
}

struct LayerMounts: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mounts", abstract: "Activate a layer and print how to mount it; layer release undoes it.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Flag(help: "Nothing can be written.") var readOnly = false

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let mounts = try global.openStore(for: "activate").mounts(layer, readOnly: readOnly)
        if global.json { return try printJSON(mounts) }
        for mount in mounts { print("\(mount.type) \(mount.source) \(mount.options.joined(separator: ","))") }
    }
}

struct LayerRelease: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Undo layer mounts.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String

    func run() throws {
        let layer = try LayerName(commandLine: name)
        try global.openStore(for: "release").release(layer)
        try printName(layer, global)
    }
}

struct LayerUnmount: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "umount", abstract: "Unmount a layer.")
    @OptionGroup var global: GlobalOptions
    @Argument(help: "The layer, or a path where one is mounted.", completion: .directory) var nameOrTarget: String

    func run() throws {
        let store = try global.openStore(for: "unmount")
        if nameOrTarget.contains("/") || nameOrTarget == "." || nameOrTarget == ".." {
            try store.unmount(target: nameOrTarget)
        } else {
            try store.unmount(try LayerName(commandLine: nameOrTarget))
        }
        if global.json { try printJSON(["unmounted": nameOrTarget]) } else { print(nameOrTarget) }
    }
}
