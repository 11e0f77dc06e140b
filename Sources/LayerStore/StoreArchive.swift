import LayerArchive
import LinuxSystem
import StorageDriver
import SystemPackage

/// What a layer's changes were read from.
public enum DiffBasis: String, Sendable {
    /// A tree that nobody could write meanwhile.
    case still
    /// A snapshot of a layer that is mounted: its state at one moment.
    case snapshot
    /// A layer that is mounted, of a driver that has no snapshots: what was written meanwhile may be there in part.
    case live
}

extension LayerStore {
    /// Makes a committed layer of a tar: all of it, or nothing.
    /// - Parameter input: a tar, plain or compressed with gzip or zstd; `inputName` is what errors call it.
    public func importLayer(
        _ name: LayerName, parent: LayerName? = nil, from input: FileDescriptor, named inputName: String,
        labels: [String: String] = [:], limits: ArchiveLimits = ArchiveLimits(), progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> AppliedArchive {
        var applied: AppliedArchive?
        _ = try make(name, parent: parent, limit: nil, labels: labels, "import") { layer throws(StorageError) in
            let result = try withTree(of: layer, readOnly: false, "import") { root throws(StorageError) in
                try LayerArchive.apply(input, named: inputName, onto: root, limits: limits, progress: progress)
            }
            try named(name) { () throws(StorageError) in try driver.commit(layer.number) }
            applied = result
            return layer.committed(diffID: result.diffID)
        }
        return applied!
    }

    /// Applies a tar to an active layer: all of it, or nothing. The layer has another number after it.
    /// - Throws: `.failedPrecondition` when the layer is mounted or not active.
    public func apply(
        _ name: LayerName, from input: FileDescriptor, named inputName: String,
        limits: ArchiveLimits = ArchiveLimits(), progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> AppliedArchive {
        try withLayer(name, "apply") { layer throws(StorageError) in
            guard layer.kind == .active else {
                throw StorageError(
                    .failedPrecondition, "apply", name.text,
                    "it is \(layer.kind == .view ? "a view" : "committed"); only an active layer can be written")
            }
            try requireUnmounted(layer, "apply")
            // What programs see is the layer as it was, until one transaction puts the copy in its place.
            let make: (LayerNumber) throws(StorageError) -> Void = { copy throws(StorageError) in
                try self.driver.create(copy, from: layer.number, limit: layer.sizeLimit)
            }
            return try withCopy(of: layer, "apply", make) { copy, keep throws(StorageError) in
                let applied = try withTree(of: copy, readOnly: false, "apply") { root throws(StorageError) in
                    try LayerArchive.apply(input, named: inputName, onto: root, limits: limits, progress: progress)
                }
                let mark = try InFlight(layer.number, in: layout)
                do throws(StorageError) {
                    try records.write("apply", name.text) { db in
                        try LayerRecords.delete(layer.number, in: db)
                        try LayerRecords.insert(copy, in: db)
                    }
                } catch {
                    mark.done()
                    throw error
                }
                keep()
                sweeper.remove(layer.number, mark)
                return applied
            }
        }
    }

    /// What the layer added, modified and deleted against its parent, sorted by the bytes of the paths.
    /// - Parameter walking: compare all of both trees, by one thread, also where the driver could say what may differ:
    ///   the same comes of it, at the cost of their size.
    public func changes(
        _ name: LayerName, walking: Bool = false
    ) throws(StorageError) -> (changes: [Change], basis: DiffBasis) {
        try withTrees(of: name, walking: walking, "changes") { child, parent, touched, basis throws(StorageError) in
            let threads = walking ? 1 : LayerArchive.walkThreads
            let changes = try self.named(name) { () throws(StorageError) in
                try LayerArchive.changes(from: parent, to: child, touched: touched, threads: threads)
            }
            return (changes, basis)
        }
    }

    /// Writes the layer's changes against its parent as a tar.
    /// - Parameter walking: as for `changes`.
    public func diff(
        _ name: LayerName, to output: FileDescriptor, compression: Compression = .none, walking: Bool = false,
        progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> (written: WrittenDiff, basis: DiffBasis) {
        try withTrees(of: name, walking: walking, "diff") { child, parent, touched, basis throws(StorageError) in
            let written = try self.named(name) { () throws(StorageError) in
                try LayerArchive.writeDiff(
                    from: parent, to: child, touched: touched, threads: walking ? 1 : LayerArchive.walkThreads,
                    into: output, compression: compression, progress: progress)
            }
            return (written, basis)
        }
    }

    /// Runs `body` on the tree of a layer, or of a snapshot of an active one, and, where it has a parent, on the
    /// parent's and on what the driver says may differ between the two.
    private func withTrees<Result>(
        of name: LayerName, walking: Bool, _ operation: String,
        _ body: (FileDescriptor, FileDescriptor?, TouchedEntries?, DiffBasis) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try withLayer(name, operation) { layer throws(StorageError) in
            try withTrees(of: layer, walking: walking, operation, body)
        }
    }

    /// The same for a caller that holds the layer's lock.
    func withTrees<Result>(
        of layer: Layer, walking: Bool, _ operation: String,
        _ body: (FileDescriptor, FileDescriptor?, TouchedEntries?, DiffBasis) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        guard layer.kind == .active else { return try withTrees(of: layer, walking: walking, operation, .still, body) }
        let isMounted = try mountsInForce(of: layer).contains { !$0.isReadOnly }
        guard let snapshots = driver as? any LiveSnapshots else {
            return try withTrees(of: layer, walking: walking, operation, isMounted ? .live : .still, body)
        }
        let make: (LayerNumber) throws(StorageError) -> Void = { copy throws(StorageError) in
            // A killed snapshot may leave the layer suspended: recovery has to look at it.
            let mark = try InFlight(layer.number, in: self.layout)
            do throws(StorageError) {
                try snapshots.snapshot(layer.number, as: copy)
            } catch {
                if (try? self.driver.reopen(layer.number)) != nil { mark.done() }
                throw error
            }
            mark.done()
        }
        return try withCopy(of: layer, operation, make) { copy, _ throws(StorageError) in
            try withTrees(of: copy, walking: walking, operation, isMounted ? .snapshot : .still, body)
        }
    }

    private func withTrees<Result>(
        of layer: Layer, walking: Bool, _ operation: String, _ basis: DiffBasis,
        _ body: (FileDescriptor, FileDescriptor?, TouchedEntries?, DiffBasis) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try withTree(of: layer, readOnly: basis != .live, operation) { child throws(StorageError) in
            guard let parent = layer.parent else { return try body(child, nil, nil, basis) }
            let parentLayer = try self.layer(parent)
            return try withTree(of: parentLayer, readOnly: true, isLocked: false, operation) {
                tree throws(StorageError) in
                let touched = try walking ? nil : touched(layer, child, since: parentLayer, tree)
                return try body(child, tree, touched, basis)
            }
        }
    }

    /// What may differ between two trees, as the driver says.
    private func touched(
        _ layer: Layer, _ child: FileDescriptor, since parentLayer: Layer, _ parent: FileDescriptor
    ) throws(StorageError) -> TouchedEntries? {
        // A view shows its parent's own tree.
        if layer.object == parentLayer.object { return TouchedEntries(paths: []) { _ in [] } }
        let tracking = driver as? any ChangeTracking
        let touched = try tracking?.touched(
            LayerTree(layer.object, child), since: LayerTree(parentLayer.object, parent))
        if let touched {
            logger.debug("\(layer.name): \(touched.paths.count) paths may differ from \(parentLayer.name)")
        } else {
            logger.debug("\(layer.name): all of it and of \(parentLayer.name) is compared")
        }
        return touched
    }

    /// Runs `body` with a copy of a layer's object under a number of its own, which is removed afterwards unless
    /// `body` has recorded it and called the function that it is given.
    private func withCopy<Result>(
        of layer: Layer, _ operation: String, _ make: (LayerNumber) throws(StorageError) -> Void,
        _ body: (_ copy: Layer, _ keep: () -> Void) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try withNewNumber(operation, layer.name) { number throws(StorageError) in
            let mark = try InFlight(number, in: layout)
            var isKept = false
            defer {
                if isKept { mark.done() } else { sweeper.removeNow(number, mark) }
            }
            try named(layer.name) { () throws(StorageError) in
                try makingRoom { () throws(StorageError) in try make(number) }
            }
            return try body(layer.copied(as: number)) { isKept = true }
        }
    }
}

extension Layer {
    func committed(diffID: String) -> Layer {
        Layer(
            number: number, name: name, kind: .committed, parent: parent, parentNumber: parentNumber,
            createdAt: createdAt, updatedAt: .now, labels: labels, sizeLimit: sizeLimit, diffID: diffID)
    }

    fileprivate func copied(as number: LayerNumber) -> Layer {
        Layer(
            number: number, name: name, kind: kind, parent: parent, parentNumber: parentNumber, createdAt: createdAt,
            updatedAt: .now, labels: labels, sizeLimit: sizeLimit, diffID: diffID)
    }
}
