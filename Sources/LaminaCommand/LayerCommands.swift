import ArgumentParser
import Lamina

struct LayerGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "layer", abstract: "Layers by hand.",
        subcommands: [
            LayerCreate.self, LayerMount.self, LayerMounts.self, LayerRelease.self, LayerUnmount.self,
            LayerCommit.self, LayerView.self, LayerRemove.self, LayerImport.self, LayerApply.self, LayerDiff.self,
            LayerChanges.self, LayerList.self, LayerInspect.self, LayerUsageCommand.self, LayerTree.self,
        ])
}

/// A result that is one name.
func printName(_ name: LayerName, _ global: GlobalOptions) throws {
    if global.json { try printJSON(["name": name.text]) } else { print(name) }
}

/// `K=V` of the command line.
struct Label: ExpressibleByArgument {
    let key: String
    let value: String

    init?(argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else { return nil }
        (key, value) = (String(parts[0]), String(parts[1]))
    }
}

struct LayerCreate: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Make an active layer.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Option(help: "A committed layer to build on.") var parent: String?
    @Option(help: "Most bytes the layer may hold, its parent's included (as 500M).") var size: ByteCount?
    @Option(help: "KEY=VALUE; may be repeated.") var label: [Label] = []

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let parent = try parent.map { try LayerName(commandLine: $0) }
        let store = try global.openStore(for: "create", making: true)
        let labels = Dictionary(label.map { ($0.key, $0.value) }) { _, last in last }
        try store.create(layer, parent: parent, limit: size?.bytes, labels: labels)
        try printName(layer, global)
    }
}

struct LayerView: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "view", abstract: "Make a read-only view of a committed layer.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Option(help: "The committed layer.") var parent: String

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let store = try global.openStore(for: "view")
        try store.view(layer, parent: try LayerName(commandLine: parent))
        try printName(layer, global)
    }
}

struct LayerCommit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "commit", abstract: "Make an active layer read-only for ever.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Argument(help: "Its name from then on.") var newName: String?

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let target = try newName.map { try LayerName(commandLine: $0) }
        try printName(try global.openStore(for: "commit").commit(layer, as: target).name, global)
    }
}

struct LayerRemove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove layers that are not mounted and have no children.")
    @OptionGroup var global: GlobalOptions
    @Argument var names: [String]

    func run() throws {
        let store = try global.openStore(for: "remove")
        var removed: [String] = []
        var failed = false
        for name in names {
            do throws(StorageError) {
                try store.remove(try LayerName(commandLine: name))
                removed.append(name)
                if !global.json { print(name) }
            } catch {
                ErrorReport(error).print(asJSON: global.json)
                failed = true
            }
        }
        if global.json { try printJSON(removed) }
        if failed { throw ExitCode(1) }
    }
}
