import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Where things are below the state root. The driver has a place of its own beside these.
struct RootLayout: Sendable {
    let path: String

    var database: String { path + "/lamina.db" }
    /// SQLite's own files beside the database: its log, which holds the latest transactions, and an index of that.
    var databaseLog: [String] { [database + "-wal", database + "-shm"] }
    /// The driver's name as text, for the probe: reading the database would make files beside it. A second line
    /// names the driver that layers are being copied to or were copied from (`Migration`).
    var driverName: String { path + "/driver" }
    /// The names in `driver`. A short regular file is read and nothing else, for the probe looks into directories of
    /// anybody; what cannot be in a driver's name is shown as a question mark.
    var namedDrivers: [String] {
        guard let file = try? FileDescriptor.opening(driverName, flags: O_NOFOLLOW | O_NONBLOCK) else { return [] }
        return file.closing { file in
            var bytes = [UInt8](repeating: 0, count: 256)
            guard (try? file.status())?.kind == .regular,
                let count = try? bytes.withUnsafeMutableBytes({ try file.readPiece(at: 0, into: $0, of: driverName) })
            else { return [] }
            return bytes[..<count].split(separator: UInt8(ascii: "\n")).map { line in
                String(String.UnicodeScalarView(line.map { isOfName($0) ? Unicode.Scalar($0) : "?" }))
            }
        }
    }

    private func isOfName(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// Byte 0 is the root's lock, byte n that of layer n.
    var locks: String { path + "/locks" }
    /// One file for each operation that is under way.
    var inFlight: String { path + "/in-flight" }
    /// Mount points of layers that are mounted at a path of their own.
    var mountPoints: String { path + "/mnt" }

    /// Something in the directory that is no part of a root; nil where there is nothing.
    func stranger(drivers: [any StorageDriver.Type]) -> String? {
        let own = ([database, driverName, locks, inFlight, mountPoints] + databaseLog)
            .map { String($0.dropFirst(path.count + 1)) }
        return (directoryNames(path) ?? []).sorted().first { name in
            !own.contains(name) && name != "lost+found" && !drivers.contains { name.hasPrefix($0.name) }
        }
    }

    /// Byte of the lock file that who migrates the root holds: above all numbers.
    static let migrationByte: UInt64 = 1 << 62

    /// Writes the name of the root's driver, and that of one whose state is beside its own, where the probe reads them,
    /// unless they are there: the records come first, and a kill may come between.
    func nameDriver(_ driver: String, beside second: String? = nil) throws(StorageError) {
        let text = driver + "\n" + (second.map { $0 + "\n" } ?? "")
        if namedDrivers.map({ $0 + "\n" }).joined() == text { return }
        try attempt("name driver of", path) { try writeText(text, to: driverName) }
    }

    func mountPoint(_ layer: LayerNumber) -> String { "\(mountPoints)/\(layer)" }

    /// Runs `body` with a lock on the layer: exclusive for what changes or activates it, shared for what needs it to
    /// stay. Waits for the lock.
    /// - Parameter layer: nil where there is nothing to be locked.
    func withLock<Result>(
        _ layer: LayerNumber?, _ mode: FileLock.Mode, _ operation: String, _ body: () throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        guard let layer else { return try body() }
        let lock: FileLock
        // Nil is only for those who do not wait.
        do throws(SystemError) {
            lock = try FileLock.take(locks, byte: layer.rawValue, mode)!
        } catch {
            throw StorageError(error, operation, "layer \(layer)")
        }
        defer { extendLifetime(lock) }
        return try body()
    }

    /// Runs `body` with the exclusive lock if nobody has one.
    /// - Returns: nil when somebody has.
    func withLockIfFree<Result>(
        _ layer: LayerNumber, _ operation: String, _ body: () throws(StorageError) -> Result?
    ) throws(StorageError) -> Result? {
        let lock: FileLock?
        do throws(SystemError) {
            lock = try FileLock.take(locks, byte: layer.rawValue, .exclusive, wait: false)
        } catch {
            throw StorageError(error, operation, "layer \(layer)")
        }
        guard let lock else { return nil }
        defer { extendLifetime(lock) }
        return try body()
    }

    /// The root's own lock: shared by everything that uses the root, exclusive for making and unmaking it.
    func lockRoot(_ mode: FileLock.Mode) throws(StorageError) -> FileLock {
        do throws(SystemError) {
            return try FileLock.take(locks, byte: 0, mode)!
        } catch {
            throw StorageError(error, "lock", path)
        }
    }
}
