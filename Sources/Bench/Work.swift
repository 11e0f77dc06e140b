import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Something that all drivers do in turn, round by round.
///
/// The same values are used on every driver. Layers that a work makes are removed after it.
protocol Work: Sendable {
    /// In words, for the progress.
    var title: String { get }
    /// The first of what it measures: names the work where it failed.
    var measurement: String { get }
    /// Whether it is done once, and its first round counts.
    var isOnce: Bool { get }
    /// Makes what the rounds need. Not timed.
    func prepare(_ contender: Contender) throws
    /// Leaves the layers as it has found them.
    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws
}

extension Work {
    var isOnce: Bool { false }
    func prepare(_ contender: Contender) throws {}
}

/// What works need besides a driver.
struct Bench: Sendable {
    let plan: Plan
    let seed: UInt64
    /// Whether the user wants it to end.
    let isStopped: @Sendable () -> Bool
    /// One random MiB, of which larger files are made.
    let block: [UInt8]

    init(plan: Plan, seed: UInt64, isStopped: @escaping @Sendable () -> Bool) {
        self.plan = plan
        self.seed = seed
        self.isStopped = isStopped
        var generator = SeededGenerator(seed: seed)
        block = generator.bytes(1 << 20)
    }

    /// - Throws: `.aborted` when the user wants it to end.
    func checkpoint() throws(StorageError) {
        if isStopped() { throw StorageError(.aborted, "bench", plan.profile, "it was interrupted") }
    }

    /// Numbers of a work's own.
    func generator(_ work: UInt64) -> SeededGenerator { SeededGenerator(seed: seed &+ work &* 0x1_0000_0001) }

    // MARK: Files

    /// Writes a file of random bytes; no two pieces of a MiB are equal.
    func write(_ bytes: UInt64, to name: String, in directory: FileDescriptor) throws {
        let file = try directory.openEntry(EntryName(name), .writeOnly, flags: O_CREAT | O_TRUNC, permissions: 0o644)
        defer { file.closeQuietly() }
        try write(bytes, to: file, name)
    }

    func write(_ bytes: UInt64, to file: FileDescriptor, _ name: String) throws {
        var block = block
        var written: UInt64 = 0
        while written < bytes {
            try checkpoint()
            let count = Int(Swift.min(bytes - written, UInt64(block.count)))
            withUnsafeBytes(of: written) { stamp in for index in 0..<8 { block[index] = stamp[index] } }
            try block[..<count].withUnsafeBytes { try file.writeFully($0, to: name) }
            written += UInt64(count)
        }
    }

    /// Makes the committed layer `base`, with so many small files.
    func makeBase(of files: Int = 16, on contender: Contender) throws {
        try contender.make("base") { try writeTree(files, in: $0) }
    }

    /// Writes so many files of a few KiB into directories of a hundred each.
    func writeTree(_ files: Int, in root: FileDescriptor) throws {
        var generator = generator(1)
        for start in stride(from: 0, to: files, by: 100) {
            try checkpoint()
            let name = EntryName("directory-\(start / 100)")
            try root.makeDirectory(name, permissions: 0o755)
            let directory = try root.openEntry(name, flags: directoryFlag)
            defer { directory.closeQuietly() }
            for index in start..<Swift.min(start + 100, files) {
                let offset = Int(generator.next() % UInt64(block.count - 4096))
                let file = try directory.openEntry(
                    EntryName("file-\(index)"), .writeOnly, flags: O_CREAT, permissions: 0o644)
                defer { file.closeQuietly() }
                try block[offset..<offset + 4096].withUnsafeBytes { try file.writeFully($0, to: "file-\(index)") }
            }
        }
    }
}

extension FileDescriptor {
    /// Reads all of the file, from its beginning.
    func readAll(_ buffer: inout [UInt8]) throws {
        var offset: UInt64 = 0
        while true {
            let count = try buffer.withUnsafeMutableBytes { try readPiece(at: offset, into: $0, of: "file") }
            if count == 0 { return }
            offset += UInt64(count)
        }
    }

    /// Has the kernel forget what it has read of the file.
    func forget() { posix_fadvise(rawValue, 0, 0, POSIX_FADV_DONTNEED) }
}
