import CSQLite
import GRDB
import LinuxSystem
import StorageDriver

/// `lamina.db`: what is recorded of a root and its layers. SQLite in WAL mode, every transaction on the disk before
/// it returns; several processes share it under SQLite's own locks.
///
/// A transaction is one flush, of the write-ahead log. By itself SQLite writes the log back and removes it whenever the
/// last connection closes, which costs a command that makes one change three flushes more: here the log stays, and is
/// written back when it has grown.
struct Records: Sendable {
    private let database: DatabaseQueue
    private let commits = GroupCommit()

    /// Pages (4 KiB) of the log at which it is written back. A creation adds four; who opens the records first reads it
    /// through.
    private static let logPages = 128

    /// Opens the file, or makes it; brings its schema up to date.
    init(file: String) throws(StorageError) {
        database = try Self.storing("open", file) {
            var configuration = Configuration()
            configuration.busyMode = .timeout(60)
            configuration.prepareDatabase { db in
                lam_sqlite_keep_log_on_close(db.sqliteConnection)
                // GRDB's own setting of the mode writes and flushes at every open.
                try db.execute(
                    sql: """
                        PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                        PRAGMA wal_autocheckpoint = \(Self.logPages)
                        """)
            }
            let database = try DatabaseQueue(path: file, configuration: configuration)
            try Schema.migrator.migrate(database)
            return database
        }
    }

    /// Runs `body` on the records of one moment.
    func read<Result>(
        _ operation: String, _ object: String, _ body: (Database) throws -> Result
    ) throws(StorageError) -> Result {
        // GRDB's own read also forbids writing, by a pragma that makes SQLite compile every statement anew.
        try Self.storing(operation, object) {
            try database.inDatabase { db in try db.within(.deferred) { try body(db) } }
        }
    }

    /// One transaction; on the disk when this returns. Those of several threads may go there together, with one flush.
    func write<Result>(
        _ operation: String, _ object: String, _ body: (Database) throws -> Result
    ) throws(StorageError) -> Result {
        try Self.storing(operation, object) { try commits.run(body, in: database) }
    }

    /// A failure of SQLite seen as a failure of `operation` on `object`.
    private static func storing<Result>(
        _ operation: String, _ object: String, _ body: () throws -> Result
    ) throws(StorageError) -> Result {
        do {
            return try body()
        } catch let error as StorageError {
            throw error
        } catch let error as DatabaseError {
            let kind: StorageError.Kind
            switch error.resultCode {
            case .SQLITE_FULL: kind = .resourceExhausted
            case .SQLITE_BUSY, .SQLITE_LOCKED: kind = .unavailable
            case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_IOERR: kind = .dataLoss
            case .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM: kind = .permissionDenied
            default: kind = .internal
            }
            throw StorageError(kind, operation, object, "records: \(error.message ?? "\(error.resultCode)")")
        } catch {
            throw StorageError(.internal, operation, object, "records: \(error)")
        }
    }
}

/// The tables. A migration that has been released is never changed.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(
                sql: """
                    CREATE TABLE root (
                        id TEXT NOT NULL,
                        driver TEXT NOT NULL,
                        configuration TEXT NOT NULL,
                        -- 0 while the driver's part is being built, 1 when it is there
                        built INTEGER NOT NULL,
                        -- whether Lamina made the directory
                        ownsDirectory INTEGER NOT NULL,
                        bootID TEXT NOT NULL,
                        -- numbers below this one have been used
                        nextNumber INTEGER NOT NULL,
                        -- numbers below this one may have an object that no record names
                        leasedBelow INTEGER NOT NULL
                    ) STRICT;
                    CREATE TABLE layer (
                        number INTEGER PRIMARY KEY,
                        name TEXT NOT NULL UNIQUE,
                        kind TEXT NOT NULL CHECK (kind IN ('active', 'committed', 'view')),
                        parent INTEGER REFERENCES layer (number),
                        createdAt INTEGER NOT NULL,
                        updatedAt INTEGER NOT NULL,
                        sizeLimit INTEGER,
                        diffID TEXT
                    ) STRICT;
                    CREATE INDEX layerByParent ON layer (parent);
                    CREATE TABLE label (
                        layer INTEGER NOT NULL REFERENCES layer (number) ON DELETE CASCADE,
                        key TEXT NOT NULL,
                        value TEXT NOT NULL,
                        PRIMARY KEY (layer, key)
                    ) STRICT, WITHOUT ROWID;
                    CREATE TABLE mount (
                        id INTEGER PRIMARY KEY,
                        layer INTEGER NOT NULL REFERENCES layer (number) ON DELETE CASCADE,
                        -- the number under which the driver has the tree
                        object INTEGER NOT NULL,
                        -- null: activated only
                        target TEXT,
                        readOnly INTEGER NOT NULL
                    ) STRICT;
                    CREATE INDEX mountByObject ON mount (object);
                    CREATE INDEX mountByLayer ON mount (layer);
                    """)
        }
        migrator.registerMigration("migration between drivers") { db in
            try db.execute(
                sql: """
                    -- one row while the root has the state of a second driver
                    CREATE TABLE migration (
                        id INTEGER PRIMARY KEY CHECK (id = 1),
                        driver TEXT NOT NULL,
                        configuration TEXT NOT NULL,
                        -- what the user asked for, as text, to know the same wish again
                        options TEXT NOT NULL,
                        state TEXT NOT NULL CHECK (state IN ('building', 'copying', 'done'))
                    ) STRICT;
                    -- committed layers that the second driver has, on the disk and compared
                    CREATE TABLE copied (number INTEGER PRIMARY KEY) STRICT;
                    """)
        }
        return migrator
    }
}
