import GRDB
import StorageDriver

/// The driver beside the root's own whose state the root has: the one that layers are being copied to, or, when that
/// is done, the one that they were copied from.
struct MigrationRecord: Sendable {
    enum State: String {
        /// The new driver may have begun to make something; nothing has been copied.
        case building
        case copying
        /// The root is the new driver's; this is the old one, kept until the user has it removed.
        case done
    }

    let driver: String
    let configuration: DriverConfiguration
    /// What the user asked for, in words.
    let options: [String: String]
    let state: State

    static func fetch(_ db: Database) throws -> MigrationRecord? {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM migration") else { return nil }
        return MigrationRecord(
            driver: row["driver"], configuration: try RootRecord.configuration(row["configuration"]),
            options: try RootRecord.configuration(row["options"]), state: State(rawValue: row["state"]) ?? .building)
    }

    func insert(_ db: Database) throws {
        try db.execute(
            sql: "INSERT INTO migration VALUES (1, ?, ?, ?, ?)",
            arguments: [
                driver, try RootRecord.text(configuration), try RootRecord.text(options), state.rawValue,
            ])
    }

    static func setCopying(_ db: Database) throws { try db.execute(sql: "UPDATE migration SET state = 'copying'") }

    /// The root is this driver's from now on, and this row tells of the one that it was.
    func exchange(with root: RootRecord, _ db: Database) throws {
        try db.execute(
            sql: "UPDATE root SET driver = ?, configuration = ?",
            arguments: [driver, try RootRecord.text(configuration)])
        try Self.delete(db)
        try MigrationRecord(driver: root.driver, configuration: root.configuration, options: [:], state: .done)
            .insert(db)
    }

    static func delete(_ db: Database) throws {
        try db.execute(sql: "DELETE FROM copied")
        try db.execute(sql: "DELETE FROM migration")
    }

    // MARK: Copied layers

    static func copied(_ db: Database) throws -> Set<LayerNumber> {
        Set(try Int64.fetchAll(db, sql: "SELECT number FROM copied").map { LayerNumber(UInt64($0)) })
    }

    static func setCopied(_ number: LayerNumber, _ db: Database) throws {
        try db.execute(sql: "INSERT OR IGNORE INTO copied VALUES (?)", arguments: [Int64(number.rawValue)])
    }
}

extension DriverOptions {
    /// The options without their force, by their names on the command line: to know the same wish again.
    var words: [String: String] {
        var words: [String: String] = [:]
        words["--fs"] = filesystem
        switch backing {
        case .loop(let bytes): words["--loop"] = String(bytes)
        case .pool(let name): words["--pool"] = name
        case .devices(let data, let metadata):
            words["--data"] = data
            words["--metadata"] = metadata
        case nil: break
        }
        return words
    }
}
