import Foundation
import GRDB
import StorageDriver

/// The one row that says whose root this is.
struct RootRecord: Sendable {
    var id: String
    var driver: String
    var configuration: DriverConfiguration
    /// False from the moment that the driver may have begun to make something until all of it is there.
    var isBuilt: Bool
    var ownsDirectory: Bool
    var bootID: String

    static func fetch(_ db: Database) throws -> RootRecord? {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM root") else { return nil }
        return RootRecord(
            id: row["id"], driver: row["driver"], configuration: try configuration(row["configuration"]),
            isBuilt: row["built"], ownsDirectory: row["ownsDirectory"], bootID: row["bootID"])
    }

    func insert(_ db: Database) throws {
        try db.execute(
            sql: "INSERT INTO root VALUES (?, ?, ?, ?, ?, ?, 1, 1)",
            arguments: [id, driver, try Self.text(configuration), isBuilt, ownsDirectory, bootID])
    }

    /// A configuration as it is recorded.
    static func text(_ configuration: DriverConfiguration) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(configuration), as: UTF8.self)
    }

    static func configuration(_ text: String) throws -> DriverConfiguration {
        try JSONDecoder().decode(DriverConfiguration.self, from: Data(text.utf8))
    }
}
