import GRDB
import StorageDriver

extension LayerStore {
    /// How many numbers one durable transaction leases, so that a creation mostly needs only one, its record's.
    private static let leaseSize: Int64 = 64

    /// Runs `body` with a number that nobody has used, locked exclusively.
    ///
    /// A number at or above `leasedBelow` was never used by this root, so that recovery removes only objects below
    /// it: a database brought back from a backup does not make it remove layers that it does not know.
    func withNewNumber<Result>(
        _ operation: String, _ name: LayerName, _ body: (LayerNumber) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        while true {
            let (next, leasedBelow) = try lease(operation, name)
            for candidate in next..<leasedBelow {
                let number = LayerNumber(UInt64(candidate))
                let result = try layout.withLockIfFree(number, operation) { () throws(StorageError) -> Result? in
                    // Whoever had the lock a moment ago may have used the number.
                    guard try lease(operation, name).next <= candidate else { return nil }
                    return try body(number)
                }
                if let result { return result }
            }
            try records.write(operation, name.text) { db in
                try db.execute(
                    sql: "UPDATE root SET leasedBelow = ? WHERE leasedBelow = ?",
                    arguments: [max(leasedBelow, next) + Self.leaseSize, leasedBelow])
            }
        }
    }

    private func lease(_ operation: String, _ name: LayerName) throws(StorageError) -> (next: Int64, below: Int64) {
        try records.read(operation, name.text) { db in
            let statement = try db.cachedStatement(sql: "SELECT nextNumber, leasedBelow FROM root")
            guard let row = try Row.fetchOne(statement) else { throw Root.missing(root.path) }
            return (row[0], row[1])
        }
    }
}
