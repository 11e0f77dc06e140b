import LayerArchive
import LinuxSystem
import StorageDriver
import SystemPackage

extension LayerStore {
    /// Makes a committed layer of a tar: all of it, or nothing.
    /// - Parameter input: a tar, plain or compressed with gzip or zstd; `inputName` is what errors call it.
    public func importLayer(
        _ name: LayerName, parent: LayerName? = nil, from input: FileDescriptor, named inputName: String,
        labels: [String: String] = [:], progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> AppliedArchive {
        var applied: AppliedArchive?
        _ = try make(name, parent: parent, limit: nil, labels: labels, "import") { layer throws(StorageError) in
            let result = try withTree(of: layer, readOnly: false, "import") { root throws(StorageError) in
                try LayerArchive.apply(input, named: inputName, onto: root, progress: progress)
            }
            try named(name) { () throws(StorageError) in try driver.commit(layer.number) }
            applied = result
            return layer.committed(diffID: result.diffID)
        }
        return applied!
    }

    /// Applies a tar to an active layer. A failure in the middle leaves what was applied until then.
    public func apply(
        _ name: LayerName, from input: FileDescriptor, named inputName: String, progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> AppliedArchive {
        try withLayer(name, "apply") { layer throws(StorageError) in
            guard layer.kind == .active else {
                throw StorageError(
                    .failedPrecondition, "apply", name.text,
                    "it is \(layer.kind == .view ? "a view" : "committed"); only an active layer can be written")
            }
            return try withTree(of: layer, readOnly: false, "apply") { root throws(StorageError) in
                try LayerArchive.apply(input, named: inputName, onto: root, progress: progress)
            }
        }
    }

    /// What the layer added, modified and deleted against its parent, sorted by the bytes of the paths.
    public func changes(_ name: LayerName) throws(StorageError) -> [Change] {
        try withTrees(of: name, "changes") { child, parent throws(StorageError) in
            try LayerArchive.changes(from: parent, to: child)
        }
    }

    /// Writes the layer's changes against its parent as a tar.
    public func diff(
        _ name: LayerName, to output: FileDescriptor, compression: Compression = .none,
        progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> WrittenDiff {
        try withTrees(of: name, "diff") { child, parent throws(StorageError) in
            try LayerArchive.writeDiff(
                from: parent, to: child, into: output, compression: compression, progress: progress)
        }
    }

    /// Runs `body` on the tree of a layer and, where it has a parent, on the parent's.
    private func withTrees<Result>(
        of name: LayerName, _ operation: String,
        _ body: (FileDescriptor, FileDescriptor?) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try withLayer(name, operation) { layer throws(StorageError) in
            // A view shows its parent's tree: its changes are none, and comparing the tree with itself says so.
            let isActive = layer.kind == .active
            return try withTree(of: layer, readOnly: !isActive, operation) { child throws(StorageError) in
                guard let parent = layer.parent else { return try body(child, nil) }
                let parentLayer = try self.layer(parent)
                return try withTree(of: parentLayer, readOnly: true, isLocked: false, operation) {
                    tree throws(StorageError) in
                    try body(child, tree)
                }
            }
        }
    }
}

extension Layer {
    func committed(diffID: String) -> Layer {
        Layer(
            number: number, name: name, kind: .committed, parent: parent, parentNumber: parentNumber,
            createdAt: createdAt, updatedAt: .now, labels: labels, sizeLimit: sizeLimit, diffID: diffID)
    }
}
