import LayerArchive
import LinuxSystem
import StorageDriver
import SystemPackage

/// The layers that Docker's aufs driver has left: `layers/ID` names the parents of a layer, nearest first, one a line,
/// and `diff/ID` is the branch that holds what it changed. All of it is looked at before anything is made of it.
public struct AUFSRoot {
    struct Layer: Equatable {
        let name: LayerName
        let parent: LayerName?
    }

    /// Parents before their children.
    let layers: [Layer]
    /// What is passed over.
    let warnings: [String]
    private let branches: DirectoryHandle
    private let path: String

    /// - Throws: `.notFound` and `.invalidArgument` for what is no such directory; `.dataLoss` for one that lacks a
    ///   layer or contradicts itself; `.failedPrecondition` while a layer is mounted.
    public init(_ path: String) throws(StorageError) {
        self.path = path
        func refuse(_ kind: StorageError.Kind, _ reason: String, hint: String? = nil) -> StorageError {
            StorageError(kind, "import root", path, reason, hint: hint)
        }
        guard exists(path) else { throw refuse(.notFound, "there is no such directory") }
        guard let names = directoryNames(path + "/layers"), exists(path + "/diff") else {
            throw refuse(
                .invalidArgument, "it has no directories layers and diff, as Docker's aufs driver makes them",
                hint: "mostly /var/lib/docker/aufs")
        }
        if let mount = MountTable.current().entries.first(where: { $0.target.hasPrefix(path + "/") }) {
            throw refuse(.failedPrecondition, "\(mount.target) is mounted", hint: "stop Docker, and unmount it")
        }
        branches = try attempt("import root", path) {
            let root = try FileDescriptor.openingDirectory(path)
            defer { root.closeQuietly() }
            return DirectoryHandle(try root.openEntry(EntryName("diff"), flags: directoryFlag))
        }
        var warnings: [String] = []
        var parents: [String: [String]] = [:]
        for name in names {
            if name.hasSuffix("-removing") {
                warnings.append("layers/\(name): Docker was removing it, not taken")
            } else {
                parents[name] = try Self.parents(path + "/layers/" + name)
            }
        }
        for name in directoryNames(path + "/diff") ?? [] where parents[name] == nil && !name.hasSuffix("-removing") {
            warnings.append("diff/\(name): no file in layers tells of it, not taken")
        }
        self.warnings = warnings.sorted()
        layers = try Self.inOrder(parents, refuse)
        for layer in layers { try attempt("import root", path) { try branch(of: layer).closeQuietly() } }
    }

    /// Opens the branch of a layer: a directory itself, not what a symlink leads to.
    func branch(of layer: Layer) throws(StorageError) -> FileDescriptor {
        try attempt("import root", "\(path)/diff/\(layer.name)") {
            try branches.descriptor.openEntry(EntryName(layer.name.text), flags: directoryFlag)
        }
    }

    private static func parents(_ file: String) throws(StorageError) -> [String] {
        guard let status = try? FileStatus(path: file, followLinks: false), status.kind == .regular,
            let text = readText(file)
        else { throw StorageError(.invalidArgument, "import root", file, "it is no file that can be read") }
        let lines = text.split(separator: "\n")
        // Ids of Docker have 64 characters.
        if lines.contains(where: { $0.utf8.count > 255 }) {
            throw StorageError(.invalidArgument, "import root", file, "a line of it is longer than names of layers are")
        }
        return lines.map(String.init)
    }

    /// Every list must be the parent, and then the parent's own list.
    private static func inOrder(
        _ parents: [String: [String]], _ refuse: (StorageError.Kind, String, String?) -> StorageError
    ) throws(StorageError) -> [Layer] {
        var layers: [Layer] = []
        // The longer the list, the younger the layer.
        for (name, list) in parents.sorted(by: { ($0.value.count, $0.key) < ($1.value.count, $1.key) }) {
            if list.contains(name) { throw refuse(.dataLoss, "layers/\(name) names itself among its parents", nil) }
            if let parent = list.first {
                guard let own = parents[parent] else {
                    throw refuse(.dataLoss, "layers/\(name) names \(parent), and there is no layers/\(parent)", nil)
                }
                guard own == Array(list.dropFirst()) else {
                    throw refuse(.dataLoss, "layers/\(name) and layers/\(parent) name different parents", nil)
                }
            }
            layers.append(
                Layer(
                    name: try LayerName(commandLine: name),
                    parent: try list.first.map { name throws(StorageError) in try LayerName(commandLine: name) }))
        }
        return layers
    }
}

/// What `importAUFS` did.
public struct ImportedRoot: Sendable {
    /// Layers that were made, parents first.
    public var imported: [LayerName] = []
    /// Layers that an earlier call had made.
    public var skipped: [LayerName] = []
    /// What was passed over or could not be kept, a line each.
    public var warnings: [String] = []
}

extension LayerStore {
    /// What says of a layer, in a label, where it came from.
    private static let origin = (key: "imported-from", value: "aufs")

    /// Makes committed layers of a directory that Docker's aufs driver has left, with their ids as names. Nothing of it
    /// is changed. What an earlier call has made is not made again.
    /// - Parameter progress: called with the layer, how many are done, and how many there are.
    /// - Throws: `.alreadyExists` for names that other layers have, before anything is made; what `importLayer` throws:
    ///   what was made until then stays.
    public func importAUFS(
        from source: AUFSRoot, progress: (LayerName, _ done: Int, _ of: Int) -> Void = { _, _, _ in }
    ) throws(StorageError) -> ImportedRoot {
        var result = ImportedRoot(warnings: source.warnings)
        let there = Dictionary(try layers().map { ($0.name, $0) }) { first, _ in first }
        for layer in source.layers {
            guard let own = there[layer.name] else { continue }
            guard own.kind == .committed, own.parent == layer.parent, own.labels[Self.origin.key] == Self.origin.value
            else {
                throw StorageError(
                    .alreadyExists, "import root", layer.name.text, "there is another layer of this name",
                    hint: "rename or remove it, or import into another --root")
            }
            result.skipped.append(layer.name)
        }
        for layer in source.layers where there[layer.name] == nil {
            progress(layer.name, result.imported.count, source.layers.count - result.skipped.count)
            let branch = try source.branch(of: layer)
            defer { branch.closeQuietly() }
            let (written, applied) = try TarPipe.run(named: layer.name.text) { output throws(StorageError) in
                try LayerArchive.writeAUFSBranch(branch, into: output)
            } _: { input throws(StorageError) in
                try self.importLayer(
                    layer.name, parent: layer.parent, from: input, named: layer.name.text,
                    labels: [Self.origin.key: Self.origin.value], limits: .none)
            }
            result.imported.append(layer.name)
            result.warnings += (written.warnings + applied.warnings).map { "\(layer.name): \($0)" }
        }
        return result
    }
}
