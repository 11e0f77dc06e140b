import GRDB
import LinuxSystem
import StorageDriver

/// One row of the mounts that were made in this boot: a mount at a target, or an activation for a caller that mounts
/// by itself. The row is written before the mount is made.
struct MountRecord: Sendable {
    let id: Int64
    let layer: LayerNumber
    let object: LayerNumber
    let target: String?
    let isReadOnly: Bool

    static func all(ofObject object: LayerNumber, in db: Database) throws -> [MountRecord] {
        try fetch(db, "WHERE object = ?", [Int64(object.rawValue)])
    }

    static func all(ofLayer layer: LayerNumber, in db: Database) throws -> [MountRecord] {
        try fetch(db, "WHERE layer = ?", [Int64(layer.rawValue)])
    }

    static func at(_ target: String, in db: Database) throws -> [MountRecord] {
        try fetch(db, "WHERE target = ?", [target])
    }

    static func insert(_ layer: Layer, target: String?, readOnly: Bool, in db: Database) throws -> MountRecord {
        try db.cachedStatement(sql: "INSERT INTO mount (layer, object, target, readOnly) VALUES (?, ?, ?, ?)")
            .execute(arguments: [Int64(layer.number.rawValue), Int64(layer.object.rawValue), target, readOnly])
        return MountRecord(
            id: db.lastInsertedRowID, layer: layer.number, object: layer.object, target: target, isReadOnly: readOnly)
    }

    func delete(_ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM mount WHERE id = ?").execute(arguments: [id])
    }

    private static func fetch(
        _ db: Database, _ condition: String, _ arguments: StatementArguments
    ) throws -> [MountRecord] {
        let statement = try db.cachedStatement(
            sql: "SELECT id, layer, object, target, readOnly FROM mount \(condition) ORDER BY id")
        return try Row.fetchAll(statement, arguments: arguments).map { row in
            MountRecord(
                id: row[0], layer: LayerNumber(UInt64(row[1] as Int64)), object: LayerNumber(UInt64(row[2] as Int64)),
                target: row[3], isReadOnly: row[4])
        }
    }
}
