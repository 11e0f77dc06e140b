/// What a tar itself has put into a layer, which an opaque whiteout of the same tar does not take away.
///
/// Hashes of paths, by a key of this process, for the paths of a million members would not fit into the memory that an
/// import may take; and no more of them than fit.
struct MadeEntries {
    private var hashes: Set<Int> = []
    /// Whether some were not noted, for there are too many.
    private(set) var isIncomplete = false
    /// As many as a set of 16 MiB holds.
    static let most = 1_500_000

    mutating func insert(_ path: EntryPath) {
        if hashes.count < Self.most { hashes.insert(path.hashValue) } else { isIncomplete = true }
    }

    func contains(_ path: EntryPath) -> Bool { hashes.contains(path.hashValue) }
}
