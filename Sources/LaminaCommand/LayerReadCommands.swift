import ArgumentParser
@preconcurrency import Foundation
@preconcurrency import Glibc
import Lamina

/// A layer as programs see it.
private struct LayerReport: Encodable {
    let name: String
    let number: UInt64
    let kind: LayerKind
    let parent: String?
    let createdAt, updatedAt: String
    let labels: [String: String]
    let sizeLimitBytes: UInt64?

    init(_ layer: Layer) {
        name = layer.name.text
        number = layer.number.rawValue
        kind = layer.kind
        parent = layer.parent?.text
        createdAt = layer.createdAt.rfc3339
        updatedAt = layer.updatedAt.rfc3339
        labels = layer.labels
        sizeLimitBytes = layer.sizeLimit
    }
}

struct LayerList: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "List layers.")
    @OptionGroup var global: GlobalOptions

    func run() throws {
        let layers = try global.openStore(for: "list").layers()
        if global.json { return try printJSON(layers.map(LayerReport.init)) }
        var table = Table(["NAME", "KIND", "PARENT", "CREATED", "LIMIT"], rightAligned: [4])
        for layer in layers {
            table.add([
                layer.name.text, layer.kind.rawValue, layer.parent?.text ?? "-",
                String(layer.createdAt.rfc3339.prefix(19)) + "Z",
                layer.sizeLimit.map { ByteCount($0).description } ?? "-",
            ])
        }
        table.print()
    }
}

struct LayerInspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show all about a layer.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String

    private struct Report: Encodable {
        struct Mounted: Encodable {
            let target: String?
            let readOnly: Bool
        }
        let layer: LayerReport
        let driver, driverObject: String
        let mounted: [Mounted]
        let usage: LayerUsage
        let diffID: String?
        let children: [String]

        enum CodingKeys: CodingKey { case driver, driverObject, mounted, usage, diffID, children }

        func encode(to encoder: any Encoder) throws {
            try layer.encode(to: encoder)
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(driver, forKey: .driver)
            try container.encode(driverObject, forKey: .driverObject)
            try container.encode(mounted, forKey: .mounted)
            try container.encode(usage, forKey: .usage)
            try container.encodeIfPresent(diffID, forKey: .diffID)
            try container.encode(children, forKey: .children)
        }
    }

    func run() throws {
        let layerName = try LayerName(commandLine: name)
        let store = try global.openStore(for: "inspect")
        let layer = try store.layer(layerName, for: "inspect")
        let report = Report(
            layer: LayerReport(layer), driver: store.driver.name, driverObject: store.objectName(of: layer),
            mounted: try store.mountsInForce(of: layer).map { .init(target: $0.target, readOnly: $0.isReadOnly) },
            usage: try store.usage(layerName), diffID: layer.diffID, children: try store.children(of: layer))
        if global.json { return try printJSON(report) }
        print("name       \(layer.name)")
        print("number     \(layer.number)")
        print("kind       \(layer.kind.rawValue)")
        print("parent     \(layer.parent?.text ?? "-")")
        print("children   \(report.children.isEmpty ? "-" : report.children.joined(separator: ", "))")
        print("created    \(report.layer.createdAt)")
        print("updated    \(report.layer.updatedAt)")
        for (key, value) in layer.labels.sorted(by: { $0.key < $1.key }) { print("label      \(key)=\(value)") }
        if let limit = layer.sizeLimit { print("limit      \(ByteCount(limit))") }
        if let diffID = layer.diffID { print("diffID     \(diffID)") }
        print("driver     \(report.driver): \(report.driverObject)")
        for mount in report.mounted {
            print("mounted    \(mount.target ?? "activated")\(mount.readOnly ? " (read-only)" : "")")
        }
        print(
            "space      \(ByteCount(report.usage.exclusiveBytes)) of its own, "
                + "\(ByteCount(report.usage.referencedBytes)) reached")
    }
}

struct LayerUsageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "usage", abstract: "Show the space of a layer.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let usage = try global.openStore(for: "usage").usage(layer)
        if global.json { return try printJSON(usage) }
        print(
            "\(ByteCount(usage.exclusiveBytes)) of its own, \(ByteCount(usage.referencedBytes)) reached"
                + (usage.inodes.map { ", \($0) inodes" } ?? ""))
    }
}

struct LayerChanges: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "changes", abstract: "List what a layer added (A), changed (C) and deleted (D).")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @OptionGroup var comparison: ComparisonOptions

    private struct Report: Encodable {
        let kind: String
        let path: String?
        let pathBase64: String?

        init(_ change: Change) {
            kind = change.kind.rawValue
            path = String(validating: change.path, as: UTF8.self)
            pathBase64 = path == nil ? Data(change.path).base64EncodedString() : nil
        }
    }

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let (changes, basis) = try global.openStore(for: "changes")
            .changes(layer, walking: comparison.walk)
        noteBasis(basis, name)
        if global.json { return try printJSON(changes.map(Report.init)) }
        let isForEyes = isatty(STDOUT_FILENO) == 1
        var lines: [UInt8] = []
        for change in changes {
            let letter =
                switch change.kind {
                case .added: "A"
                case .modified: "C"
                case .deleted: "D"
                }
            let path = isForEyes ? Array(printable(String(decoding: change.path, as: UTF8.self)).utf8) : change.path
            lines += Array("\(letter) ".utf8) + path + [0x0A]
        }
        fwrite(lines, 1, lines.count, stdout)
    }
}

struct LayerTree: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "tree", abstract: "Show which layer is on which.")
    @OptionGroup var global: GlobalOptions

    private struct Node: Encodable {
        let name: String
        let kind: LayerKind
        let children: [Node]
    }

    func run() throws {
        let layers = try global.openStore(for: "tree").layers()
        let below = Dictionary(grouping: layers) { $0.parent?.text }
        func nodes(_ parent: String?) -> [Node] {
            (below[parent] ?? []).map { Node(name: $0.name.text, kind: $0.kind, children: nodes($0.name.text)) }
        }
        if global.json { return try printJSON(nodes(nil)) }
        for node in nodes(nil) { show(node, "", "") }
    }

    private func show(_ node: Node, _ first: String, _ rest: String) {
        print(first + node.name + (node.kind == .committed ? "" : " (\(node.kind.rawValue))"))
        for (index, child) in node.children.enumerated() {
            let isLast = index == node.children.count - 1
            show(child, rest + (isLast ? "└─ " : "├─ "), rest + (isLast ? "   " : "│  "))
        }
    }
}
