import GRDB
import StorageDriver

/// The numbers that a root gives to its next layers.
private struct NumberLease {
    /// How many one durable transaction leases, so that a creation mostly needs only one, its record's.
    private static let size: Int64 = 64

    /// Numbers below this one have been used.
    let next: Int64
    /// A number at or above this one was never used by this root, so that recovery removes only objects below it: a
    /// database brought back from a backup does not make it remove layers that it does not know.
    let below: Int64

    static func fetch(_ db: Database) throws -> NumberLease? {
        let statement = try db.cachedStatement(sql: "SELECT nextNumber, leasedBelow FROM root")
        return try Row.fetchOne(statement).map { row in NumberLease(next: row[0], below: row[1]) }
    }

    /// Leases more, unless somebody else has.
    func extend(_ db: Database) throws {
        try db.execute(
            sql: "UPDATE root SET leasedBelow = ? WHERE leasedBelow = ?",
            arguments: [max(below, next) + Self.size, below])
    }
}

extension LayerStore {
    /// Runs `body` for a layer that is not there yet: with its number, locked exclusively, and its parent, which cannot
    /// go meanwhile.
    /// - Throws: `.alreadyExists`; `.notFound` for the parent, `.failedPrecondition` when it is not committed.
    func withNewLayer<Result>(
        _ name: LayerName, parent: LayerName?, _ operation: String,
        _ body: (LayerNumber, _ parent: Layer?) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try withNewNumber(operation, name, body) { db in
            try LayerRecords.requireFree(name, for: operation, in: db)
            return try parent.map { try LayerRecords.committed($0, asParentOf: name, for: operation, in: db) }
        }
    }

    /// Runs `body` with a number that nobody has used, locked exclusively.
    func withNewNumber<Result>(
        _ operation: String, _ name: LayerName, _ body: (LayerNumber) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try withNewNumber(operation, name) { number, _ throws(StorageError) in
            try body(number)
        } finding: { _ in
            nil
        }
    }

    /// - Parameter find: checks what has to be so, and finds the parent; asked again once the locks are held.
    private func withNewNumber<Result>(
        _ operation: String, _ name: LayerName,
        _ body: (LayerNumber, _ parent: Layer?) throws(StorageError) -> Result,
        finding find: (Database) throws -> Layer?
    ) throws(StorageError) -> Result {
        func look() throws(StorageError) -> (parent: Layer?, lease: NumberLease) {
            try records.read(operation, name.text) { db in
                guard let lease = try NumberLease.fetch(db) else { throw Root.missing(root.path) }
                return (try find(db), lease)
            }
        }
        while true {
            var seen = try look()
            let lease = seen.lease
            for candidate in lease.next..<lease.below {
                let number = LayerNumber(UInt64(candidate))
                let result = try layout.withLockIfFree(number, operation) { () throws(StorageError) -> Result? in
                    let parent = seen.parent?.number
                    return try layout.withLock(parent, .shared, operation) { () throws(StorageError) -> Result? in
                        // Whoever had a lock a moment ago may have used the number, or removed the parent.
                        seen = try look()
                        guard seen.lease.next <= candidate, seen.parent?.number == parent else { return nil }
                        return try body(number, seen.parent)
                    }
                }
                if let result { return result }
            }
            try records.write(operation, name.text) { db in try lease.extend(db) }
        }
    }
}
