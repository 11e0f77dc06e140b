import GRDB
import StorageDriver

/// Reading and writing the rows of layers, inside a transaction of the caller.
///
/// Statements that a single layer needs are kept by the connection, for compiling them costs more than running them.
enum LayerRecords {
    /// In the order in which `layer` reads them: by place, for names are looked up in every row.
    private static let columns = """
        SELECT layer.number, layer.name, layer.kind, layer.parent, parent.name, layer.createdAt, layer.updatedAt,
            layer.sizeLimit, layer.diffID
        FROM layer LEFT JOIN layer AS parent ON parent.number = layer.parent
        """

    static func find(_ name: LayerName, in db: Database) throws -> Layer? {
        try find("layer.name = ?", [name.text], in: db)
    }

    static func find(_ number: LayerNumber, in db: Database) throws -> Layer? {
        try find("layer.number = ?", [Int64(number.rawValue)], in: db)
    }

    private static func find(_ condition: String, _ arguments: StatementArguments, in db: Database) throws -> Layer? {
        let statement = try db.cachedStatement(sql: columns + " WHERE " + condition)
        guard let row = try Row.fetchOne(statement, arguments: arguments) else { return nil }
        return try layer(row, labels: labels(of: row[0], in: db))
    }

    /// All layers, oldest first.
    static func all(in db: Database) throws -> [Layer] {
        var labels: [Int64: [String: String]] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT layer, key, value FROM label") {
            labels[row[0], default: [:]][row[1]] = row[2]
        }
        let rows = try Row.fetchCursor(db, sql: columns + " ORDER BY layer.createdAt, layer.number")
        var layers: [Layer] = []
        while let row = try rows.next() { layers.append(try layer(row, labels: labels[row[0]] ?? [:])) }
        return layers
    }

    static func children(of number: LayerNumber, in db: Database) throws -> [String] {
        let statement = try db.cachedStatement(sql: "SELECT name FROM layer WHERE parent = ? ORDER BY number")
        return try String.fetchAll(statement, arguments: [Int64(number.rawValue)])
    }

    static func insert(_ layer: Layer, in db: Database) throws {
        try run(
            "INSERT INTO layer VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                Int64(layer.number.rawValue), layer.name.text, layer.kind.rawValue,
                layer.parentNumber.map { Int64($0.rawValue) }, layer.createdAt.nanoseconds,
                layer.updatedAt.nanoseconds, layer.sizeLimit.map { Int64($0) }, layer.diffID,
            ], in: db)
        for (key, value) in layer.labels {
            try run("INSERT INTO label VALUES (?, ?, ?)", [Int64(layer.number.rawValue), key, value], in: db)
        }
        try markUsed(layer.number, in: db)
    }

    /// Notes that the number has been used, so that it never is again.
    static func markUsed(_ number: LayerNumber, in db: Database) throws {
        try run("UPDATE root SET nextNumber = max(nextNumber, ?)", [Int64(number.rawValue) + 1], in: db)
    }

    static func setCommitted(_ number: LayerNumber, name: LayerName, in db: Database) throws {
        try run(
            "UPDATE layer SET kind = 'committed', name = ?, updatedAt = ? WHERE number = ?",
            [name.text, Instant.now.nanoseconds, Int64(number.rawValue)], in: db)
    }

    static func delete(_ number: LayerNumber, in db: Database) throws {
        try run("DELETE FROM layer WHERE number = ?", [Int64(number.rawValue)], in: db)
    }

    private static func run(_ sql: String, _ arguments: StatementArguments, in db: Database) throws {
        try db.cachedStatement(sql: sql).execute(arguments: arguments)
    }

    /// The layer that a new one is to be made on.
    static func committed(
        _ parent: LayerName, asParentOf name: LayerName, for operation: String, in db: Database
    ) throws -> Layer {
        guard let layer = try find(parent, in: db) else {
            throw StorageError(
                .notFound, operation, name.text, "there is no layer \(parent) to be its parent", hint: "lamina layer ls"
            )
        }
        guard layer.kind == .committed else {
            throw StorageError(
                .failedPrecondition, operation, name.text,
                "\(parent) is \(layer.kind == .view ? "a view" : "active"); a parent must be committed",
                hint: layer.kind == .active ? "lamina layer commit \(parent)" : nil)
        }
        return layer
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
        let statement = try db.cachedStatement(sql: "SELECT key, value FROM label WHERE layer = ?")
        for row in try Row.fetchAll(statement, arguments: [number]) { labels[row[0]] = row[1] }
        return labels
    }

    private static func layer(_ row: Row, labels: [String: String]) throws -> Layer {
        let parent: Int64? = row[3]
        let parentName: String? = row[4]
        let limit: Int64? = row[7]
        return Layer(
            number: LayerNumber(UInt64(row[0] as Int64)),
            name: try LayerName(row[1]),
            kind: LayerKind(rawValue: row[2]) ?? .active,
            parent: try parentName.map { try LayerName($0) },
            parentNumber: parent.map { LayerNumber(UInt64($0)) },
            createdAt: Instant(nanoseconds: row[5]),
            updatedAt: Instant(nanoseconds: row[6]),
            labels: labels,
            sizeLimit: limit.map { UInt64($0) },
            diffID: row[8])
    }
}
