import LayerArchive
import LinuxSystem
import StorageDriver
import SystemPackage

/// The copying of a migration: from the driver of a store to a second one, whose record is there.
struct LayerTransfer {
    private let store: LayerStore
    private let target: any StorageDriver
    private let step: (Migration.Step) -> Void

    init(
        _ store: LayerStore, to type: any StorageDriver.Type, _ step: @escaping (Migration.Step) -> Void
    ) throws(StorageError) {
        self.store = store
        self.step = step
        let record = try store.records.read("migrate", store.root.path) { db in try MigrationRecord.fetch(db) }
        guard let record else { throw Root.missing(store.root.path) }
        target = try type.init(store.root, record.configuration)
    }

    /// Copies what is not there yet, parents first.
    /// - Parameter all: false: committed layers only, others may use the root meanwhile. True: all of them; nobody else
    ///   has the root open, and when this returns, all copies are on the disk.
    /// - Returns: how many the target has.
    @discardableResult
    func run(all: Bool) throws(StorageError) -> Int {
        let layers = try layers()
        // What was copied and is no layer any more; children are younger than their parents.
        let copies = Set(try target.objects())
        for number in copies.subtracting(layers.map(\.number)).sorted().reversed() {
            try attemptCopy(number, "\(number)") { () throws(StorageError) in try target.remove(number) }
        }
        let done = try store.records.read("migrate", store.root.path) { db in try MigrationRecord.copied(db) }
            .intersection(copies)
        var count = 0
        for layer in layers {
            // An active layer may have been written since it was copied.
            if layer.kind != .committed || !done.contains(layer.number) {
                guard all || layer.kind == .committed else { continue }
                step(.layer(layer.name, done: count, of: layers.count))
                try store.layout.withLock(layer.number, .exclusive, "migrate") { () throws(StorageError) in
                    let now = try store.records.read("migrate", layer.name.text) { db in
                        try LayerRecords.find(layer.number, in: db)
                    }
                    // It may have been removed meanwhile.
                    if let now { try copy(now) }
                }
            }
            count += 1
        }
        return count
    }

    /// All that have a tree, parents before their children: no number is used twice, and they grow.
    private func layers() throws(StorageError) -> [Layer] {
        try store.layers().filter { $0.kind != .view }.sorted { $0.number < $1.number }
    }

    /// The caller holds the layer's lock.
    private func copy(_ layer: Layer) throws(StorageError) {
        let number = layer.number
        try attemptCopy(number, layer.name.text) { () throws(StorageError) in
            try target.create(number, from: layer.parentNumber, limit: layer.sizeLimit)
            // All of both trees is compared, for what a driver did not tell would be missed in the copy too.
            let original = try store.withTrees(of: layer, walking: true, "migrate") {
                child, parent, touched, _ throws(StorageError) in
                try withTree(number, of: layer.name, readOnly: false) { copy throws(StorageError) in
                    let written = try LayerArchive.copy(
                        from: parent, to: child, touched: touched, onto: copy, named: layer.name.text
                    ) { step(.bytes($0)) }
                    try attempt("migrate", layer.name.text) { try copy.synchronizeFilesystem() }
                    return written
                }
            }
            if layer.kind == .committed { try target.commit(number) }
            if try diffID(of: layer) != original.diffID {
                throw StorageError(
                    .dataLoss, "migrate", layer.name.text, "its copy gives another diff than the layer itself",
                    hint: "lamina layer diff \(layer.name); please report it")
            }
            for warning in original.warnings { step(.warning("\(layer.name): \(warning)")) }
            if layer.kind == .committed {
                try store.records.write("migrate", layer.name.text) { db in
                    try MigrationRecord.setCopied(number, db)
                }
            }
        }
    }

    /// Of the copy's changes against its copied parent.
    private func diffID(of layer: Layer) throws(StorageError) -> String {
        func digest(
            _ child: FileDescriptor, _ parent: FileDescriptor?, _ touched: TouchedEntries?
        ) throws(StorageError) -> String {
            let null = try attempt("migrate", "/dev/null") { try FileDescriptor.opening("/dev/null", .writeOnly) }
            defer { null.closeQuietly() }
            return try LayerArchive.writeDiff(from: parent, to: child, touched: touched, into: null).diffID
        }
        return try withTree(layer.number, of: layer.name, readOnly: true) { child throws(StorageError) in
            guard let parent = layer.parentNumber else { return try digest(child, nil, nil) }
            return try withTree(parent, of: layer.name, readOnly: true) { tree throws(StorageError) in
                let tracking = target as? any ChangeTracking
                let touched = try tracking?.touched(LayerTree(layer.number, child), since: LayerTree(parent, tree))
                return try digest(child, tree, touched)
            }
        }
    }

    /// Runs `body` on a tree of the target, which nobody but this migration knows.
    private func withTree<Result>(
        _ number: LayerNumber, of name: LayerName, readOnly: Bool,
        _ body: (FileDescriptor) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        let mounts = try target.mounts(number, readOnly: readOnly)
        let result: Result
        do throws(StorageError) {
            let root = try store.openTree(mounts, "migrate", name)
            defer { root.closeQuietly() }
            result = try body(root)
        } catch {
            try? target.release(number)
            throw error
        }
        try target.release(number)
        return result
    }

    /// What a copy that failed has left is removed; the error names the layer, and says how to go on.
    private func attemptCopy(
        _ number: LayerNumber, _ name: String, _ body: () throws(StorageError) -> Void
    ) throws(StorageError) {
        do throws(StorageError) {
            try body()
        } catch {
            try? target.remove(number)
            var error = error
            error.operation = "migrate"
            error.object = name
            let way =
                "lamina migrate --to \(target.name) goes on from here, lamina migrate --cancel drops what is copied"
            error.hint = error.hint.map { "\($0); \(way)" } ?? way
            throw error
        }
    }
}
