import GRDB
import Synchronization

/// Writes what several threads change in one transaction, with one flush: while one waits for the disk others come, and
/// the next one takes the changes of them all. A change that fails is taken back alone.
final class GroupCommit: Sendable {
    /// Guards the changes that no transaction has taken yet.
    private let waiting = Mutex<[PendingChange]>([])

    /// Runs `body` in a transaction, by this thread or another; it is on the disk when this returns.
    func run<Result>(_ body: (Database) throws -> Result, in database: DatabaseQueue) throws -> Result {
        try withoutActuallyEscaping(body) { body in
            var result: Result?
            let change = PendingChange { db in result = try body(db) }
            waiting.withLock { $0.append(change) }
            // The queue lets one thread in after the other: whoever was in before may have taken this one's change along.
            database.inDatabase { db in if !change.isDone { commit(in: db) } }
            if let failure = change.failure { throw failure }
            return result!
        }
    }

    /// How many changes no transaction has taken yet.
    var count: Int { waiting.withLock { $0.count } }

    private func commit(in db: Database) {
        let changes = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        do {
            try db.within(.immediate) {
                if changes.count == 1 { return try changes[0].body(db) }
                for change in changes {
                    do {
                        try db.inSavepoint {
                            try change.body(db)
                            return .commit
                        }
                    } catch {
                        // Some failures (a full disk) end the transaction, and so are everybody's.
                        guard db.isInsideTransaction else { throw error }
                        change.failure = error
                    }
                }
            }
        } catch {
            for change in changes where change.failure == nil { change.failure = error }
        }
        for change in changes { change.isDone = true }
    }
}

/// Used by one thread at a time: by those that the database's queue lets in, then by its own, which waits until then.
private final class PendingChange: @unchecked Sendable {
    let body: (Database) throws -> Void
    var failure: (any Error)?
    var isDone = false

    init(_ body: @escaping (Database) throws -> Void) { self.body = body }
}

extension Database {
    /// Runs `body` in a transaction of its own.
    func within<Result>(_ kind: TransactionKind, _ body: () throws -> Result) throws -> Result {
        var result: Result?
        try inTransaction(kind) {
            result = try body()
            return .commit
        }
        return result!
    }
}
