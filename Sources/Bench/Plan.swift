import StorageDriver

/// How much is measured. The same plan and seed are the same work on every machine; how often it is repeated depends on
/// how long it takes.
public struct Plan: Sendable, Equatable {
    /// Its name ("quick").
    public var profile: String
    /// Rounds of each work that count: as many as fit into the time, within these bounds.
    public var leastRounds = 3
    public var mostRounds = 20
    /// Seconds after which a work is not repeated any more, of all drivers together.
    public var secondsPerWork: UInt64 = 12

    /// Files in the parent whose children are made, mounted, committed and removed.
    public var treeFiles = 500
    /// Points at which a chain is looked at; the last one is its length.
    public var chain: [UInt64] = [1, 16, 64, 128]
    /// Of the tar that is made where no real one is given.
    public var importFiles = 2000
    /// Bytes of each of its files.
    public var importFileBytes = 12 << 10
    /// Files in the parent when three changes are looked for.
    public var changesFiles: [UInt64] = [1000, 10_000]
    /// Sizes of inherited files that are written to.
    public var firstWriteBytes: [UInt64] = [1 << 20, 64 << 20]
    /// Of a file that is written and read in order.
    public var sequentialBytes: UInt64 = 32 << 20
    /// Reads and writes of 4 KiB in that file.
    public var randomCount = 256
    public var fsyncs = 8
    /// Small files that are made, looked at and removed.
    public var metadataFiles = 2000
    /// Creates at once.
    public var threads: [UInt64] = [1, 2, 8, 32]
    public var siblings = 20
    /// Of the file in which one byte is changed, and of that whose space comes back.
    public var spaceBytes: UInt64 = 32 << 20
    /// Seconds that a removed layer's space is waited for: btrfs gives it back when it next cleans up, which it does
    /// every 30 seconds.
    public var spacePatience: UInt64 = 45

    public static let quick = Plan(profile: "quick")

    public static let full: Plan = {
        var plan = Plan(profile: "full")
        plan.leastRounds = 5
        plan.mostRounds = 50
        plan.secondsPerWork = 120
        plan.treeFiles = 5000
        plan.importFiles = 10_000
        plan.importFileBytes = 20 << 10
        plan.changesFiles = [1000, 10_000, 50_000]
        plan.firstWriteBytes = [1 << 20, 1 << 30]
        plan.sequentialBytes = 256 << 20
        plan.randomCount = 4096
        plan.fsyncs = 64
        plan.metadataFiles = 10_000
        plan.siblings = 100
        plan.spaceBytes = 256 << 20
        return plan
    }()

    init(profile: String) { self.profile = profile }

    /// What the report tells of it.
    var sizes: [String: UInt64] {
        [
            "leastRounds": UInt64(leastRounds), "mostRounds": UInt64(mostRounds), "secondsPerWork": secondsPerWork,
            "treeFiles": UInt64(treeFiles), "chain": chain.last ?? 0, "changesFiles": changesFiles.max() ?? 0,
            "firstWriteBytes": firstWriteBytes.max() ?? 0, "sequentialBytes": sequentialBytes,
            "randomCount": UInt64(randomCount), "fsyncs": UInt64(fsyncs), "metadataFiles": UInt64(metadataFiles),
            "threads": threads.max() ?? 0, "siblings": UInt64(siblings), "spaceBytes": spaceBytes,
        ]
    }

    /// Bytes that one driver may occupy at a time: the largest work, in a parent and in a copy of it, as vfs makes one,
    /// with room for what a filesystem itself takes.
    /// - Parameter importBytes: of the tar, unpacked.
    func neededBytes(importBytes: UInt64) -> UInt64 {
        // A small file takes a block and an inode.
        let file: UInt64 = 5 << 10
        let chain = chain.last ?? 0
        let works = [
            UInt64(treeFiles) * file * 4, chain * chain / 2 * file, importBytes * 2,
            (changesFiles.max() ?? 0) * file * 2,
            firstWriteBytes.reduce(0, +) * 2, sequentialBytes * 2, UInt64(metadataFiles) * file,
            spaceBytes * 3 + UInt64(siblings) << 21,
        ]
        return works.max()! / 4 * 5 + (256 << 20)
    }
}
