import StorageDriver

/// How much a tar may ask for. What goes over a limit is refused with an error that names it.
public struct ArchiveLimits: Sendable, Equatable {
    /// Members.
    public var entries: UInt64
    /// Bytes of the uncompressed tar, and of all files together, holes included.
    public var bytes: UInt64
    /// Bytes of one file, holes included.
    public var fileBytes: UInt64
    /// Bytes of names and values of one member's extended attributes.
    public var xattrBytes: UInt64
    /// Names in one path.
    public var depth: UInt64
    /// Uncompressed bytes for one compressed byte.
    public var ratio: UInt64

    /// Far above every image that is known, and below what harms a host: ten million members, 1 TiB in all and of one
    /// file (which may be sparse), as many extended attributes as a file can have in Linux (64 KiB of names, and values
    /// of 64 KiB: 1 MiB is what ext4, xfs and btrfs take in practice), paths of 1024 names, and 500 bytes for one,
    /// which gzip reaches only with zeros, and zstd also with what repeats itself.
    public init(
        entries: UInt64 = 10_000_000, bytes: UInt64 = 1 << 40, fileBytes: UInt64 = 1 << 40,
        xattrBytes: UInt64 = 1 << 20, depth: UInt64 = 1024, ratio: UInt64 = 500
    ) {
        self.entries = entries
        self.bytes = bytes
        self.fileBytes = fileBytes
        self.xattrBytes = xattrBytes
        self.depth = depth
        self.ratio = ratio
    }

    /// None, for what Lamina itself has written a moment ago.
    public static let none = ArchiveLimits(
        entries: .max, bytes: .max, fileBytes: .max, xattrBytes: .max, depth: .max, ratio: .max)

    /// Below so many uncompressed bytes the ratio says nothing.
    static let ratioFloor: UInt64 = 256 << 20

    /// - Parameters:
    ///   - name: of the property, as the command line spells it.
    /// - Throws: `.resourceExhausted`.
    static func check(
        _ value: UInt64, _ limit: UInt64, _ name: String, _ what: String, in archive: String
    ) throws(StorageError) {
        if value <= limit { return }
        throw StorageError(
            .resourceExhausted, "apply", archive, "\(what): \(value), and the limit is \(limit)",
            hint: "if you trust this tar, raise \(name)")
    }
}
