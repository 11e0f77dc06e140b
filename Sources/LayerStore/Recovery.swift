import GRDB
import LinuxSystem
import Logging
import StorageDriver

/// Brings records and objects together again after operations that were cut short. Run at every open: costs nothing
/// where nothing is left over.
struct RecoveryRun {
    let records: Records
    let layout: RootLayout
    let driver: any StorageDriver
    let logger: Logger

    /// - Parameter lastBoot: the boot in which the root was used last; in a later one, everything is compared.
    func run(lastBoot: String) throws(StorageError) -> [Recovery] {
        var done: [Recovery] = []
        let boot = currentBootID()
        if boot != lastBoot { done += try afterBoot(boot) }
        // Children, which have the higher numbers, before their parents: some drivers remove them in this order only.
        for (number, mark) in InFlight.abandoned(in: layout).sorted(by: { $0.number > $1.number }) {
            let mended = try layout.withLockIfFree(number, "recover") { () throws(StorageError) -> [Recovery]? in
                do throws(StorageError) {
                    return try mend(number)
                } catch {
                    logger.warning("\(driver.objectName(number)) could not be put right yet: \(error)")
                    return nil
                }
            }
            if let mended {
                done += mended
                InFlight.forget(mark)
            }
        }
        return done
    }

    /// The caller holds the lock of the number.
    private func mend(_ number: LayerNumber) throws(StorageError) -> [Recovery] {
        let (layer, leasedBelow, mounts) = try records.read("recover", "layer \(number)") { db in
            (
                try LayerRecords.find(number, in: db),
                try Int64.fetchOne(db, sql: "SELECT leasedBelow FROM root") ?? 0,
                try MountRecord.all(ofObject: number, in: db)
            )
        }
        guard let layer else {
            // Never leased: not ours to remove.
            guard Int64(number.rawValue) < leasedBelow else { return [] }
            try records.write("recover", "layer \(number)") { db in try LayerRecords.markUsed(number, in: db) }
            try driver.remove(number)
            return [Recovery(number: number, description: "removed what an operation cut short had left of it")]
        }
        guard layer.kind != .view else { return [] }
        var done: [Recovery] = []
        if layer.kind == .active {
            try driver.reopen(number)
            done.append(Recovery(number: number, description: "\(layer.name): an operation on it was cut short"))
        }
        // A mount that was recorded and not made.
        let table = MountTable.current()
        let stale = mounts.filter { !$0.isInForce(table) }
        if !stale.isEmpty {
            try records.write("recover", "layer \(number)") { db in for row in stale { try row.delete(db) } }
        }
        if stale.count == mounts.count { try driver.release(number) }
        return done
    }

    /// Nothing is mounted any more, and what was not on the disk may be missing: compares all records with all
    /// objects, once per boot.
    private func afterBoot(_ boot: String) throws(StorageError) -> [Recovery] {
        try records.write("recover", layout.path) { db in
            // Another process may have been here since the boot id was read, and have mounted layers.
            try db.execute(sql: "DELETE FROM mount WHERE (SELECT bootID FROM root) <> ?", arguments: [boot])
        }
        var done: [Recovery] = []
        // Records first: what another process makes meanwhile has its object before its record.
        let layers = try records.read("recover", layout.path) { db in try LayerRecords.all(in: db) }
        let objects = Set(try driver.objects())
        for number in objects.subtracting(layers.map(\.number)).sorted(by: >) {
            let mended = try layout.withLockIfFree(number, "recover") { () throws(StorageError) in try mend(number) }
            done += mended ?? []
        }
        for layer in layers where layer.kind != .view {
            if objects.contains(layer.number) {
                if layer.kind == .committed { continue }
                if try isWhole(layer.number) { continue }
            }
            if layer.kind == .active {
                try records.write("recover", layer.name.text) { db in try LayerRecords.delete(layer.number, in: db) }
                try driver.remove(layer.number)
                done.append(
                    Recovery(
                        number: layer.number,
                        description: "\(layer.name): nothing of it had reached the disk; it is no more"))
            } else {
                logger.error("layer \(layer.name): \(driver.objectName(layer.number)) is missing")
            }
        }
        try records.write("recover", layout.path) { db in
            try db.execute(sql: "UPDATE root SET bootID = ?", arguments: [boot])
        }
        return done
    }

    /// Whether an active layer is there to be written; what of it has reached the disk may be less.
    private func isWhole(_ number: LayerNumber) throws(StorageError) -> Bool {
        do throws(StorageError) {
            try driver.reopen(number)
            return true
        } catch {
            guard error.kind == .notFound else { throw error }
            return false
        }
    }
}
