import GRDB
import StorageDriver

/// Reading and writing the rows of layers, inside a transaction of the caller.
enum LayerRecords {
    private static let columns = """
        SELECT layer.*, parent.name AS parentName FROM layer LEFT JOIN layer AS parent ON parent.number = layer.parent
        """

    static func find(_ name: LayerName, in db: Database) throws -> Layer? {
        guard let row = try Row.fetchOne(db, sql: columns + " WHERE layer.name = ?", arguments: [name.text]) else {
            return nil
        }
        return try layer(row, labels: labels(of: row["number"], in: db))
    }

    static func find(_ number: LayerNumber, in db: Database) throws -> Layer? {
        let arguments: StatementArguments = [Int64(number.rawValue)]
        guard let row = try Row.fetchOne(db, sql: columns + " WHERE layer.number = ?", arguments: arguments) else {
            return nil
        }
        return try layer(row, labels: labels(of: row["number"], in: db))
    }

    /// All layers, oldest first.
    static func all(in db: Database) throws -> [Layer] {
        var labels: [Int64: [String: String]] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT * FROM label") {
            labels[row["layer"], default: [:]][row["key"]] = row["value"]
        }
        return try Row.fetchAll(db, sql: columns + " ORDER BY layer.createdAt, layer.number").map { row in
            try layer(row, labels: labels[row["number"]] ?? [:])
        }
    }

    static func children(of number: LayerNumber, in db: Database) throws -> [String] {
        try String.fetchAll(
            db, sql: "SELECT name FROM layer WHERE parent = ? ORDER BY number", arguments: [Int64(number.rawValue)])
    }

    static func insert(_ layer: Layer, in db: Database) throws {
        try db.execute(
            sql: "INSERT INTO layer VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            arguments: [
                Int64(layer.number.rawValue), layer.name.text, layer.kind.rawValue,
                layer.parentNumber.map { Int64($0.rawValue) }, layer.createdAt.nanoseconds,
                layer.updatedAt.nanoseconds, layer.sizeLimit.map { Int64($0) }, layer.diffID,
            ])
        for (key, value) in layer.labels {
            try db.execute(
                sql: "INSERT INTO label VALUES (?, ?, ?)", arguments: [Int64(layer.number.rawValue), key, value])
        }
        try markUsed(layer.number, in: db)
    }

    /// Notes that the number has been used, so that it never is again.
    static func markUsed(_ number: LayerNumber, in db: Database) throws {
        try db.execute(
            sql: "UPDATE root SET nextNumber = max(nextNumber, ?)", arguments: [Int64(number.rawValue) + 1])
    }

    static func setCommitted(_ number: LayerNumber, name: LayerName, in db: Database) throws {
        try db.execute(
            sql: "UPDATE layer SET kind = 'committed', name = ?, updatedAt = ? WHERE number = ?",
            arguments: [name.text, Instant.now.nanoseconds, Int64(number.rawValue)])
    }

    static func delete(_ number: LayerNumber, in db: Database) throws {
        try db.execute(sql: "DELETE FROM layer WHERE number = ?", arguments: [Int64(number.rawValue)])
    }

    /// Refuses a name that a layer has.
    static func requireFree(_ name: LayerName, for operation: String, in db: Database) throws {
        if let taken = try find(name, in: db) {
            throw StorageError(
                .alreadyExists, operation, name.text, "there is a layer of this name (\(taken.kind.rawValue))",
                hint: "choose another name, or remove it: lamina layer rm \(name.text)")
        }
    }

    private static func labels(of number: Int64, in db: Database) throws -> [String: String] {
        var labels: [String: String] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT key, value FROM label WHERE layer = ?", arguments: [number]) {
            labels[row["key"]] = row["value"]
        }
        return labels
    }

    private static func layer(_ row: Row, labels: [String: String]) throws -> Layer {
        let parent: Int64? = row["parent"]
        let parentName: String? = row["parentName"]
        let limit: Int64? = row["sizeLimit"]
        return Layer(
            number: LayerNumber(UInt64(row["number"] as Int64)),
            name: try LayerName(row["name"]),
            kind: LayerKind(rawValue: row["kind"]) ?? .active,
            parent: try parentName.map { try LayerName($0) },
            parentNumber: parent.map { LayerNumber(UInt64($0)) },
            createdAt: Instant(nanoseconds: row["createdAt"]),
            updatedAt: Instant(nanoseconds: row["updatedAt"]),
            labels: labels,
            sizeLimit: limit.map { UInt64($0) },
            diffID: row["diffID"])
    }
}
