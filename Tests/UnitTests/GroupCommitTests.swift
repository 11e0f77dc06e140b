import Fixtures
import GRDB
import Synchronization
import Testing

@testable import LayerStore

struct GroupCommitTests {
    private struct Refusal: Error {}

    /// While the first change is being made eight others come, which the next transaction takes along; those among them
    /// that fail are in it neither.
    @Test func changesThatWaitGoTogether() throws {
        let database = try DatabaseQueue()
        try database.write { db in try db.execute(sql: "CREATE TABLE numbers (number INTEGER PRIMARY KEY)") }
        let commits = GroupCommit()
        let counter = CommitCounter()
        database.add(transactionObserver: counter, extent: .databaseLifetime)
        let failures = concurrently(9) { index in
            if index > 0 { #expect(eventually { counter.hasBegun.withLock { $0 } }) }
            try commits.run(
                { db in
                    if index == 0 {
                        counter.hasBegun.withLock { $0 = true }
                        #expect(eventually { commits.count == 8 })
                    }
                    try db.execute(sql: "INSERT INTO numbers VALUES (?)", arguments: [index])
                    if index % 4 == 2 { throw Refusal() }
                }, in: database)
        }
        #expect(failures.count == 2)
        #expect(
            try database.read { db in try Int.fetchAll(db, sql: "SELECT number FROM numbers") } == [
                0, 1, 3, 4, 5, 7, 8,
            ])
        #expect(counter.commits.withLock { $0 } == 2)
    }

    /// What ends the transaction itself fails for everybody in it, and for nobody else.
    @Test func aTransactionThatEndsFailsForAllInIt() throws {
        let database = try DatabaseQueue()
        try database.write { db in try db.execute(sql: "CREATE TABLE numbers (number INTEGER PRIMARY KEY)") }
        let commits = GroupCommit()
        let hasBegun = Mutex(false)
        let failures = concurrently(4) { index in
            if index > 0 { #expect(eventually { hasBegun.withLock { $0 } }) }
            try commits.run(
                { db in
                    if index == 0 {
                        hasBegun.withLock { $0 = true }
                        #expect(eventually { commits.count == 3 })
                    }
                    try db.execute(sql: "INSERT INTO numbers VALUES (?)", arguments: [index])
                    if index == 2 { try db.execute(sql: "INSERT OR ROLLBACK INTO numbers VALUES (0)") }
                }, in: database)
        }
        #expect(failures.count == 3)
        try commits.run({ db in try db.execute(sql: "INSERT INTO numbers VALUES (9)") }, in: database)
        #expect(try database.read { db in try Int.fetchAll(db, sql: "SELECT number FROM numbers") } == [0, 9])
    }
}

private final class CommitCounter: TransactionObserver, Sendable {
    let hasBegun = Mutex(false)
    let commits = Mutex(0)

    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { true }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseDidCommit(_ db: Database) { commits.withLock { $0 += 1 } }
    func databaseDidRollback(_ db: Database) {}
}
