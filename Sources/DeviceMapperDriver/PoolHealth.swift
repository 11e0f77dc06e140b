import StorageDriver
import ThinPool

/// What a pool's state allows.
enum PoolHealth {
    /// Part of a pool that creations leave free, so that what is there can go on: one twentieth of its blocks.
    private static let reserve: UInt64 = 20

    /// - Throws: what keeps the pool from being written.
    static func requireWritable(_ status: ThinPoolStatus, _ pool: String) throws(StorageError) {
        func fail(_ kind: StorageError.Kind, _ reason: String, _ hint: String) -> StorageError {
            StorageError(kind, "use pool", pool, reason, hint: hint)
        }
        switch status.mode {
        case .failed:
            throw fail(.dataLoss, "the pool has failed", "see the kernel's log (dmesg); thin_check, thin_repair")
        case .readOnly:
            throw fail(
                .failedPrecondition, "the pool is read-only\(status.needsCheck ? " and needs a check" : "")",
                "thin_check its metadata, and activate it again")
        case .outOfDataSpace:
            throw fail(.resourceExhausted, "the pool is full", "remove layers, or make the pool larger")
        case .readWrite:
            if status.needsCheck {
                throw fail(.failedPrecondition, "the pool needs a check", "thin_check its metadata")
            }
        }
    }

    /// - Throws: `.resourceExhausted` when the pool is below its reserve, naming which part is.
    static func requireRoom(_ status: ThinPoolStatus, _ pool: String) throws(StorageError) {
        try requireWritable(status, pool)
        for (part, used, total) in [
            ("data", status.usedDataBlocks, status.totalDataBlocks),
            ("metadata", status.usedMetadataBlocks, status.totalMetadataBlocks),
        ] where total - used < max(total / reserve, 1) {
            throw StorageError(
                .resourceExhausted, "create in pool", pool,
                "less than \(100 / reserve) % of its \(part) blocks are free (\(total - used) of \(total))",
                errno: .noSpace, hint: "remove layers, or make the pool larger")
        }
    }
}
