import GRDB
import LayerArchive
import LinuxSystem
import Logging
import StorageDriver
import SystemPackage

/// Moves the layers of a root to another driver.
///
/// A layer keeps its number: the new driver has it under the same, and no record of a layer is touched. Each is copied
/// by its changes against its parent, and the changes of the copy against the copied parent must give the same tar.
/// Committed layers come first, while others use the root; then, with the root for itself alone, the migration copies
/// the rest, and one transaction gives the root to the new driver. Until then a kill at any moment leaves the root as
/// it was, and what is copied is kept for the next time.
public struct Migration: Sendable {
    /// What is being done, for people who wait.
    public enum Step: Sendable {
        /// The layer, how many are done, how many there are.
        case layer(LayerName, done: Int, of: Int)
        /// Bytes of the layer's tar so far.
        case bytes(UInt64)
        /// Others use the root; the end needs it alone.
        case waiting
        /// What could not be kept, or tidied up.
        case warning(String)
    }

    public struct Report: Sendable {
        public let from: String
        public let to: String
        /// All that have a tree: active and committed ones.
        public let layers: Int
    }

    private let path: String
    private let named: String?
    private let drivers: [any StorageDriver.Type]
    private let logger: Logger
    private let layout: RootLayout

    /// - Parameters:
    ///   - path: of the root.
    ///   - named: the driver that the user says the root has now; nil takes the root's word.
    public init(
        path: String, driver named: String? = nil, drivers: [any StorageDriver.Type],
        logger: Logger = Logger(label: "lamina")
    ) {
        self.path = path
        self.named = named
        self.drivers = drivers
        self.logger = logger
        layout = RootLayout(path: path)
    }

    // MARK: What users do

    /// Copies all layers to the driver and gives it the root; goes on where an earlier call was cut short.
    /// - Parameter options: as for the making of a root; empty ones go on with those of the earlier call.
    /// - Throws: `.failedPrecondition` while layers are mounted, while another migration is under way, and while the
    ///   state of an earlier one is kept; what drivers throw, `.resourceExhausted` without room among it; `.dataLoss`
    ///   when a copy is not what the layer is. The root is as it was then.
    public func run(
        to type: any StorageDriver.Type, options: DriverOptions, _ step: @escaping (Step) -> Void = { _ in }
    ) throws(StorageError) -> Report {
        let lock = try takeLock()
        defer { extendLifetime(lock) }
        try copyCommitted(to: type, options, step)
        let store = try exclusiveStore(step)
        try requireUnmounted(store)
        let count = try LayerTransfer(store, to: type, step).run(all: true)
        let from = store.driver.name
        try store.records.write("migrate", path) { db in
            guard let root = try RootRecord.fetch(db), let record = try MigrationRecord.fetch(db) else {
                throw Root.missing(path)
            }
            try record.exchange(with: root, db)
        }
        try layout.nameDriver(type.name, beside: from)
        return Report(from: from, to: type.name, layers: count)
    }

    /// Removes the state of the driver that the layers were copied from.
    /// - Returns: the driver's name.
    /// - Throws: `.failedPrecondition` when there is none, and what the driver throws.
    public func removeOld() throws(StorageError) -> String {
        try dropSecond("remove old state of") { record throws(StorageError) in
            if record.state == .done { return }
            throw StorageError(
                .failedPrecondition, "remove old state of", path, "the migration to \(record.driver) is not done",
                hint: "lamina migrate --to \(record.driver) goes on with it, lamina migrate --cancel drops it")
        }
    }

    /// Gives up a migration that is not done, and removes what it has copied.
    /// - Returns: the name of the driver that it was to.
    /// - Throws: `.failedPrecondition` when there is none, and what the driver throws.
    public func cancel() throws(StorageError) -> String {
        try dropSecond("cancel migration of") { record throws(StorageError) in
            if record.state != .done { return }
            throw StorageError(
                .failedPrecondition, "cancel migration of", path,
                "it is done: the root belongs to its new driver, and the state of \(record.driver) is kept beside it",
                hint: "lamina migrate --remove-old")
        }
    }

    // MARK: Parts

    private func takeLock() throws(StorageError) -> FileLock {
        let lock = try attempt("migrate", path) {
            guard exists(layout.database) else { throw Root.missing(path) }
            return try FileLock.take(layout.locks, byte: RootLayout.migrationByte, .exclusive, wait: false)
        }
        guard let lock else {
            throw StorageError(.unavailable, "migrate", path, "another process is at it", errno: .resourceBusy)
        }
        return lock
    }

    /// While others use the root.
    private func copyCommitted(
        to type: any StorageDriver.Type, _ options: DriverOptions, _ step: @escaping (Step) -> Void
    ) throws(StorageError) {
        let store = try LayerStore(path: path, .shared, driver: named, drivers: drivers, logger: logger)
        try begin(store, type, options)
        try LayerTransfer(store, to: type, step).run(all: false)
    }

    private func exclusiveStore(_ step: (Step) -> Void) throws(StorageError) -> LayerStore {
        if try attempt("migrate", path, { try FileLock.take(layout.locks, byte: 0, .exclusive, wait: false) }) == nil {
            step(.waiting)
        }
        return try LayerStore(path: path, .exclusive, driver: named, drivers: drivers, logger: logger)
    }

    /// Records what is about to be made, and has the driver make it; goes on with what there is.
    private func begin(
        _ store: LayerStore, _ type: any StorageDriver.Type, _ options: DriverOptions
    ) throws(StorageError) {
        func refuse(_ reason: String, hint: String? = nil) -> StorageError {
            StorageError(.failedPrecondition, "migrate", path, reason, hint: hint)
        }
        if store.driver.name == type.name { throw refuse("the root belongs to the driver \(type.name) already") }
        let earlier = try store.records.read("migrate", path) { db in try MigrationRecord.fetch(db) }
        if let earlier {
            if earlier.state == .done {
                throw refuse(
                    "the state of \(earlier.driver) is still kept from the last migration",
                    hint: "lamina migrate --remove-old")
            }
            guard earlier.driver == type.name, options.words.isEmpty || options.words == earlier.options else {
                let words = earlier.options.sorted { $0.key < $1.key }.map { " \($0.key) \($0.value)" }.joined()
                throw refuse(
                    "a migration to \(earlier.driver)\(words) is under way",
                    hint: "lamina migrate --to \(earlier.driver) goes on with it, lamina migrate --cancel drops it")
            }
        }
        try requireUnmounted(store)
        let configuration: DriverConfiguration
        if let earlier {
            if earlier.state == .copying { return }
            configuration = earlier.configuration
            try type.destroy(store.root, configuration)
        } else {
            if type.hasState(in: path) {
                throw refuse(
                    "the driver \(type.name) has state here that no record explains",
                    hint: "move \(path)/\(type.name) away: a migration would take it for its own")
            }
            configuration = try type.plan(store.root, options)
            let record = MigrationRecord(
                driver: type.name, configuration: configuration, options: options.words, state: .building)
            try store.records.write("migrate", path) { db in try record.insert(db) }
            try layout.nameDriver(store.driver.name, beside: type.name)
        }
        do throws(StorageError) {
            try type.build(store.root, configuration)
            try store.records.write("migrate", path) { db in try MigrationRecord.setCopying(db) }
        } catch {
            do throws(StorageError) {
                try type.destroy(store.root, configuration)
                try store.records.write("migrate", path) { db in try MigrationRecord.delete(db) }
                try layout.nameDriver(store.driver.name)
            } catch {
                logger.warning("what was made of \(type.name) could not be removed yet: \(error)")
            }
            throw error
        }
    }

    private func requireUnmounted(_ store: LayerStore) throws(StorageError) {
        var names: [String] = []
        for layer in try store.layers() where try !store.mountsInForce(of: layer).isEmpty {
            names.append(layer.name.text)
        }
        if names.isEmpty { return }
        throw StorageError(
            .failedPrecondition, "migrate", path,
            "\(names.count == 1 ? "a layer is" : "layers are") mounted or activated: \(names.joined(separator: ", "))",
            errno: .resourceBusy, hint: "lamina layer umount NAME, or lamina layer release NAME")
    }

    /// Removes the second driver's state, and its record.
    private func dropSecond(
        _ operation: String, _ require: (MigrationRecord) throws(StorageError) -> Void
    ) throws(StorageError) -> String {
        let lock = try takeLock()
        defer { extendLifetime(lock) }
        let rootLock = try layout.lockRoot(.shared)
        defer { extendLifetime(rootLock) }
        guard exists(layout.database) else { throw Root.missing(path) }
        let records = try Records(file: layout.database)
        let (root, second) = try records.read(operation, path) { db in
            (try RootRecord.fetch(db), try MigrationRecord.fetch(db))
        }
        guard let root, root.isBuilt else { throw Root.missing(path) }
        _ = try Root.driver(of: root, at: path, named: named, among: drivers)
        guard let second else {
            throw StorageError(.failedPrecondition, operation, path, "the root has the state of one driver only")
        }
        try require(second)
        try Root.driver(named: second.driver, at: path, among: drivers)
            .destroy(RootLocation(path: path, id: root.id), second.configuration)
        try records.write(operation, path) { db in try MigrationRecord.delete(db) }
        try layout.nameDriver(root.driver)
        return second.driver
    }
}

/// What a root has besides the state of its own driver.
public enum MigrationState: Sendable, Equatable {
    /// A migration to this driver is not done; so many committed layers are copied.
    case underWay(to: String, copied: Int)
    /// The state of this driver, from which the layers were copied, is kept.
    case oldKept(String)
}

extension LayerStore {
    /// Nil where the root has the state of its own driver only.
    public func migration() throws(StorageError) -> MigrationState? {
        try records.read("read migration of", root.path) { db in
            guard let record = try MigrationRecord.fetch(db) else { return nil }
            if record.state == .done { return .oldKept(record.driver) }
            return .underWay(to: record.driver, copied: try MigrationRecord.copied(db).count)
        }
    }
}
