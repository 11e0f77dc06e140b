import GRDB
import LinuxSystem
import Logging
import StorageDriver

/// The layers of one root: their records, their life cycle, and the driver that holds their trees.
///
/// All calls block and may come from any thread; several processes may have stores on one root. Locks are taken in
/// this order: the root's (shared, for as long as the store is open), a layer's own, its parent's. Each ends with its
/// holder. The only section in which layers wait for each other is the transaction of the database.
public final class LayerStore: Sendable {
    public let root: RootLocation
    public let driver: any StorageDriver
    /// What the driver was told when the root was made.
    public let configuration: DriverConfiguration
    /// What operations cut short had left, mended when the store was opened.
    public let recovered: [Recovery]

    let records: Records
    let layout: RootLayout
    let logger: Logger
    let sweeper: Sweeper
    private let rootLock: FileLock

    /// Opens the root at `path`, and mends what operations cut short have left.
    /// - Parameter named: the driver that the user has named; nil takes the root's own.
    /// - Throws: `.notFound` where there is no root; `.failedPrecondition` where it belongs to another driver than
    ///   the one named, and whatever the driver says when its pool or filesystem is gone.
    public convenience init(
        path: String, driver named: String? = nil, drivers: [any StorageDriver.Type],
        logger: Logger = Logger(label: "lamina")
    ) throws(StorageError) {
        try self.init(path: path, .shared, driver: named, drivers: drivers, logger: logger)
    }

    /// - Parameter mode: exclusive where nobody else is to have the root open.
    init(
        path: String, _ mode: FileLock.Mode, driver named: String?, drivers: [any StorageDriver.Type], logger: Logger
    ) throws(StorageError) {
        layout = RootLayout(path: path)
        self.logger = logger
        guard exists(layout.database) else { throw Root.missing(path) }
        try Root.requireLocal(path)
        rootLock = try layout.lockRoot(mode)
        guard exists(layout.database) else { throw Root.missing(path) }
        records = try Records(file: layout.database)
        var (found, second) = try Self.owners(in: records, path)
        guard let record = found, record.isBuilt else { throw Root.missing(path) }
        let type = try Root.driver(of: record, at: path, named: named, among: drivers)
        try layout.nameDriver(record.driver, beside: second?.driver)
        while let refusal = Root.state(at: path, drivers: drivers).refusal("open", path, named: named) {
            // A migration may have begun, or ended, since the records were read.
            let before = second?.driver
            (found, second) = try Self.owners(in: records, path)
            if second?.driver == before { throw refusal }
            try layout.nameDriver(record.driver, beside: second?.driver)
        }
        configuration = record.configuration
        root = RootLocation(path: path, id: record.id)
        driver = try type.init(root, record.configuration)
        recovered = try RecoveryRun(records: records, layout: layout, driver: driver, logger: logger)
            .run(lastBoot: record.bootID)
        sweeper = Sweeper(driver: driver, layout: layout, logger: logger)
    }

    deinit { sweeper.finish() }

    /// The record of the root, and that of a migration.
    private static func owners(
        in records: Records, _ path: String
    ) throws(StorageError) -> (RootRecord?, MigrationRecord?) {
        try records.read("open", path) { db in (try RootRecord.fetch(db), try MigrationRecord.fetch(db)) }
    }

    // MARK: Reading

    /// All layers, oldest first.
    public func layers() throws(StorageError) -> [Layer] {
        try records.read("list", root.path) { db in try LayerRecords.all(in: db) }
    }

    /// - Throws: `.notFound`.
    public func layer(_ name: LayerName, for operation: String = "find") throws(StorageError) -> Layer {
        try records.read(operation, name.text) { db in
            guard let layer = try LayerRecords.find(name, in: db) else {
                throw StorageError(
                    .notFound, operation, name.text, "there is no layer of this name", hint: "lamina layer ls")
            }
            return layer
        }
    }

    /// Names of the layers made of this one, oldest first.
    public func children(of layer: Layer) throws(StorageError) -> [String] {
        try records.read("list children of", layer.name.text) { db in
            try LayerRecords.children(of: layer.number, in: db)
        }
    }

    /// What the layer is to the kernel; for a view, its parent's object.
    public func objectName(of layer: Layer) -> String { driver.objectName(layer.object) }

    /// The space of a layer; a view has none of its own.
    public func usage(_ name: LayerName) throws(StorageError) -> LayerUsage {
        let layer = try layer(name, for: "usage")
        var usage = try named(name) { () throws(StorageError) in try driver.usage(layer.object) }
        if layer.kind == .view { usage.exclusiveBytes = 0 }
        return usage
    }

    // MARK: Life cycle

    /// Makes an active layer on a committed parent, or an empty one.
    /// - Throws: `.alreadyExists`, `.notFound` for the parent, `.failedPrecondition` when it is not committed, and
    ///   what the driver throws; nothing is left of a failed call.
    @discardableResult
    public func create(
        _ name: LayerName, parent: LayerName? = nil, limit: UInt64? = nil, labels: [String: String] = [:]
    ) throws(StorageError) -> Layer {
        try make(name, parent: parent, limit: limit, labels: labels, "create") { layer throws(StorageError) in layer }
    }

    /// Makes a read-only view of a committed layer.
    @discardableResult
    public func view(
        _ name: LayerName, parent: LayerName, labels: [String: String] = [:]
    ) throws(StorageError) -> Layer {
        try withNewLayer(name, parent: parent, "view") { number, parent throws(StorageError) in
            let view = newLayer(number, name, .view, parent: parent, limit: nil, labels: labels)
            try insert(view, "view")
            return view
        }
    }

    /// Makes an active layer read-only for ever; when this returns, it survives a power cut.
    /// - Parameter newName: the name it has from then on; nil keeps its own.
    @discardableResult
    public func commit(_ name: LayerName, as newName: LayerName? = nil) throws(StorageError) -> Layer {
        let target = newName ?? name
        return try withLayer(name, "commit") { layer throws(StorageError) in
            guard layer.kind == .active else {
                throw StorageError(
                    .failedPrecondition, "commit", name.text,
                    "it is \(layer.kind == .view ? "a view" : "committed"); only an active layer is committed")
            }
            if target != name { try requireFree(target, "commit as") }
            try requireUnmounted(layer, "commit")
            let mark = try InFlight(layer.number, in: layout)
            do throws(StorageError) {
                try named(name) { () throws(StorageError) in try driver.commit(layer.number) }
                let committed = try records.write("commit", name.text) { db in
                    if target != name { try LayerRecords.requireFree(target, for: "commit as", in: db) }
                    try LayerRecords.setCommitted(layer.number, name: target, in: db)
                    return try LayerRecords.find(layer.number, in: db)
                }
                mark.done()
                return committed!
            } catch {
                if (try? driver.reopen(layer.number)) != nil { mark.done() }
                throw error
            }
        }
    }

    /// Removes a layer that is not mounted and has no children. Its name is free when this returns; its object is removed
    /// behind the caller's back, in a time that grows with the layer: see `finishRemovals`.
    public func remove(_ name: LayerName) throws(StorageError) {
        try withLayer(name, "remove") { layer throws(StorageError) in
            let children = try children(of: layer)
            if !children.isEmpty {
                let shown = children.prefix(5).joined(separator: ", ") + (children.count > 5 ? ", ..." : "")
                throw StorageError(
                    .failedPrecondition, "remove", name.text, "it has children: \(shown)", hint: "remove them first")
            }
            try requireUnmounted(layer, "remove")
            if layer.kind == .view {
                try records.write("remove", name.text) { db in try LayerRecords.delete(layer.number, in: db) }
                return
            }
            try named(name) { () throws(StorageError) in try driver.deactivate(layer.number) }
            // The record goes first: what is left of the object after a kill is nobody's, and recovery removes it.
            let mark = try InFlight(layer.number, in: layout)
            try records.write("remove", name.text) { db in try LayerRecords.delete(layer.number, in: db) }
            sweeper.remove(layer.number, mark)
        }
    }

    /// Waits until the objects of all layers that were removed are gone, and their space with them, as far as the driver
    /// gives it back by then. Done when the store is let go, too.
    public func finishRemovals() { sweeper.finish() }

    // MARK: Parts of operations

    /// Makes an active layer, lets `body` fill it, and records the layer that `body` returns: all of it or nothing.
    func make(
        _ name: LayerName, parent: LayerName?, limit: UInt64?, labels: [String: String], _ operation: String,
        _ body: (Layer) throws(StorageError) -> Layer
    ) throws(StorageError) -> Layer {
        try withNewLayer(name, parent: parent, operation) { number, parent throws(StorageError) in
            let mark = try InFlight(number, in: layout)
            do throws(StorageError) {
                try named(name) { () throws(StorageError) in
                    try makingRoom { () throws(StorageError) in
                        try driver.create(number, from: parent?.number, limit: limit)
                    }
                }
                let active = newLayer(number, name, .active, parent: parent, limit: limit, labels: labels)
                let layer = try body(active)
                try insert(layer, operation)
                mark.done()
                return layer
            } catch {
                sweeper.removeNow(number, mark)
                throw error
            }
        }
    }

    /// Runs `body`, which makes an object; where there is no room, again once all that was removed is gone.
    func makingRoom(_ body: () throws(StorageError) -> Void) throws(StorageError) {
        do throws(StorageError) {
            try body()
        } catch {
            guard error.kind == .resourceExhausted, sweeper.finish() else { throw error }
            try body()
        }
    }

    /// Runs `body` with the layer as it is once its exclusive lock is held.
    /// - Throws: `.notFound`.
    func withLayer<Result>(
        _ name: LayerName, _ operation: String, _ body: (Layer) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        while true {
            let number = try layer(name, for: operation).number
            let result = try layout.withLock(number, .exclusive, operation) { () throws(StorageError) -> Result? in
                // While we waited it may have been removed, or its name given to another.
                let now = try layer(name, for: operation)
                return now.number == number ? try body(now) : nil
            }
            if let result { return result }
        }
    }

    private func requireFree(_ name: LayerName, _ operation: String) throws(StorageError) {
        try records.read(operation, name.text) { db in try LayerRecords.requireFree(name, for: operation, in: db) }
    }

    private func newLayer(
        _ number: LayerNumber, _ name: LayerName, _ kind: LayerKind, parent: Layer?, limit: UInt64?,
        labels: [String: String]
    ) -> Layer {
        let now = Instant.now
        return Layer(
            number: number, name: name, kind: kind, parent: parent?.name, parentNumber: parent?.number, createdAt: now,
            updatedAt: now, labels: labels, sizeLimit: limit, diffID: nil)
    }

    /// The one durable transaction of a creation.
    private func insert(_ layer: Layer, _ operation: String) throws(StorageError) {
        try records.write(operation, layer.name.text) { db in
            try LayerRecords.requireFree(layer.name, for: operation, in: db)
            try LayerRecords.insert(layer, in: db)
        }
    }

    /// A driver knows numbers; the user is told the name.
    func named<Result>(
        _ name: LayerName, _ body: () throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        do throws(StorageError) {
            return try body()
        } catch {
            var error = error
            error.object = name.text
            throw error
        }
    }
}
