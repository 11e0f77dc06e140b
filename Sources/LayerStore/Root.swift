import GRDB
import Glibc
import LinuxSystem
import Logging
import StorageDriver

/// Making and unmaking roots.
public enum Root {
    /// Makes the directory, its records, and what the driver needs. What a killed `initialize` has left is taken down
    /// first.
    /// - Throws: `.alreadyExists` where there is a root already, of the same driver or none named;
    ///   `.failedPrecondition` where it belongs to another driver than `type`, where the directory is another user's, and
    ///   where it has files of others and `options` do not force it: it becomes its owner's alone. Nothing is left of a
    ///   failed call.
    public static func initialize(
        path: String, driver type: any StorageDriver.Type, options: DriverOptions,
        drivers: [any StorageDriver.Type], logger: Logger = Logger(label: "lamina")
    ) throws(StorageError) {
        let layout = RootLayout(path: path)
        let madeDirectory = !exists(path)
        if !madeDirectory {
            let owner = try attempt("init", path) { try FileStatus(path: path).uid }
            if owner != geteuid() {
                throw StorageError(
                    .failedPrecondition, "init", path, "the directory belongs to the user \(owner)",
                    hint: "its owner can take a root away: chown \(geteuid()) \(path), or take a new directory")
            }
        }
        if exists(layout.database) {
            let lock = try layout.lockRoot(.exclusive)
            defer { extendLifetime(lock) }
            try refuseOrClear(layout, wanted: type.name, drivers: drivers)
        } else if !options.force, let stranger = layout.stranger(drivers: drivers) {
            throw StorageError(
                .failedPrecondition, "init", path, "the directory has other files in it (\(stranger))",
                hint: "a root is for its owner alone: take a new directory, or --force")
        }
        let root = RootLocation(path: path, id: newID())
        let configuration = try type.plan(root, options)
        do throws(StorageError) {
            try attempt("make root", path) {
                try makeDirectories(path)
                // Trees of other users' files lie below: nobody else is to walk in (setuid programs among them).
                try check(chmod(path, 0o700), "chmod", path)
            }
            let lock = try layout.lockRoot(.exclusive)
            defer { extendLifetime(lock) }
            if exists(layout.database) { try refuseOrClear(layout, wanted: type.name, drivers: drivers) }
            let records = try Records(file: layout.database)
            try records.write("make root", path) { db in
                try RootRecord(
                    id: root.id, driver: type.name, configuration: configuration, isBuilt: false,
                    ownsDirectory: madeDirectory, bootID: currentBootID()
                ).insert(db)
            }
            do throws(StorageError) {
                try attempt("make root", path) { try makeDirectory(layout.inFlight) }
                try type.build(root, configuration)
                try layout.nameDriver(type.name)
                try records.write("make root", path) { db in try db.execute(sql: "UPDATE root SET built = 1") }
            } catch {
                do throws(StorageError) {
                    try type.destroy(root, configuration)
                    removeFiles(layout)
                } catch {
                    logger.warning("what was made of \(path) could not be removed yet: \(error)")
                }
                throw error
            }
        } catch {
            if madeDirectory { rmdir(path) }
            throw error
        }
    }

    /// Takes down all that Lamina made for a root: layers' objects, devices, files.
    /// - Parameter force: also while there are layers, unmounting them.
    public static func deinitialize(
        path: String, force: Bool, driver named: String?, drivers: [any StorageDriver.Type]
    ) throws(StorageError) {
        let layout = RootLayout(path: path)
        guard exists(layout.database) else { throw missing(path) }
        let lock = try layout.lockRoot(.exclusive)
        defer { extendLifetime(lock) }
        guard exists(layout.database) else { throw missing(path) }
        let records = try Records(file: layout.database)
        let (record, layers) = try records.read("deinit", path) { db in
            (try RootRecord.fetch(db), try Int.fetchOne(db, sql: "SELECT count(*) FROM layer") ?? 0)
        }
        if let record {
            _ = try driver(of: record, at: path, named: named, among: drivers)
            if layers > 0, !force {
                throw StorageError(
                    .failedPrecondition, "deinit", path, "it has \(layers) layer\(layers == 1 ? "" : "s")",
                    hint: "remove them, or lamina deinit --force")
            }
            try unmountAll(records, layout)
            try records.write("deinit", path) { db in try db.execute(sql: "UPDATE root SET built = 0") }
            try destroyDrivers(record, records, at: path, among: drivers)
        }
        removeFiles(layout)
        if record?.ownsDirectory ?? false { rmdir(path) }
    }

    /// What drivers have at a path, without opening a root. What an `initialize` that did not end has left does not
    /// count: the next one takes it down.
    public static func state(at path: String, drivers: [any StorageDriver.Type]) -> RootState {
        let layout = RootLayout(path: path)
        let names = layout.namedDrivers
        if names.isEmpty, exists(layout.database) { return RootState() }
        return RootState(
            recorded: names.first, kept: Array(names.dropFirst()),
            found: drivers.filter { $0.hasState(in: path) }.map { $0.name })
    }

    /// Locks and attributes of other machines' filesystems, and of processes', do not hold, whatever made the root.
    static func requireLocal(_ path: String) throws(StorageError) {
        let place = try attempt("open", path) { try FilesystemStatus(path: path) }
        if let refusal = HostFacts.refusal(of: place.kind?.family, place.typeName, at: path) {
            throw StorageError(.failedPrecondition, "open", path, refusal.reason.message, hint: refusal.remedy)
        }
    }

    static func missing(_ path: String) -> StorageError {
        StorageError(.notFound, "open", path, "there is no Lamina root here", hint: "lamina init --root \(path)")
    }

    static func driver(
        of record: RootRecord, at path: String, named: String?, among drivers: [any StorageDriver.Type]
    ) throws(StorageError) -> any StorageDriver.Type {
        if let named, let refusal = RootState(recorded: record.driver).refusal("open", path, named: named) {
            throw refusal
        }
        return try driver(named: record.driver, at: path, among: drivers)
    }

    /// A driver that has state in a root.
    static func driver(
        named name: String, at path: String, among drivers: [any StorageDriver.Type]
    ) throws(StorageError) -> any StorageDriver.Type {
        guard let type = drivers.first(where: { $0.name == name }) else {
            throw StorageError(
                .unimplemented, "open", path, "the root belongs to the driver \(name), which is not known here")
        }
        return type
    }

    /// Removes a root whose making did not end; refuses for one that is there. The caller holds the root's lock.
    private static func refuseOrClear(
        _ layout: RootLayout, wanted: String, drivers: [any StorageDriver.Type]
    ) throws(StorageError) {
        let records = try Records(file: layout.database)
        let record = try records.read("init", layout.path) { db in try RootRecord.fetch(db) }
        guard let record else { return removeFiles(layout) }
        if record.isBuilt {
            _ = try driver(of: record, at: layout.path, named: wanted, among: drivers)
            throw StorageError(
                .alreadyExists, "init", layout.path, "there is a Lamina root already (driver \(record.driver))",
                hint: "lamina info --root \(layout.path)")
        }
        try destroyDrivers(record, records, at: layout.path, among: drivers)
        removeFiles(layout)
    }

    /// Has the root's driver, and the second one where there is one, remove all that they made.
    private static func destroyDrivers(
        _ record: RootRecord, _ records: Records, at path: String, among drivers: [any StorageDriver.Type]
    ) throws(StorageError) {
        let second = try records.read("destroy", path) { db in try MigrationRecord.fetch(db) }
        let root = RootLocation(path: path, id: record.id)
        for (name, configuration) in [(record.driver, record.configuration)]
            + (second.map { [($0.driver, $0.configuration)] } ?? [])
        {
            try driver(named: name, at: path, among: drivers).destroy(root, configuration)
        }
    }

    private static func unmountAll(_ records: Records, _ layout: RootLayout) throws(StorageError) {
        let targets = try records.read("deinit", layout.path) { db in
            try String.fetchAll(db, sql: "SELECT target FROM mount WHERE target IS NOT NULL ORDER BY id DESC")
        }
        let table = MountTable.current()
        for target in targets where table.entry(at: target) != nil {
            try attempt("unmount", target, hint: "end what uses it (fuser -vm \(target))") {
                try LinuxSystem.unmount(target)
            }
        }
    }

    private static func removeFiles(_ layout: RootLayout) {
        for point in directoryNames(layout.mountPoints) ?? [] { rmdir("\(layout.mountPoints)/\(point)") }
        rmdir(layout.mountPoints)
        for mark in directoryNames(layout.inFlight) ?? [] { unlink("\(layout.inFlight)/\(mark)") }
        rmdir(layout.inFlight)
        for file in [layout.database] + layout.databaseLog { unlink(file) }
        unlink(layout.driverName)
        unlink(layout.locks)
    }

    private static func newID() -> String {
        let digits = String(UInt32.random(in: 1...UInt32.max), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
