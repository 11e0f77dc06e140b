import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// What applying a tar did.
public struct AppliedArchive: Sendable, Equatable {
    /// sha256 of the uncompressed tar, all of it.
    public let diffID: String
    /// Of the uncompressed tar.
    public let bytes: UInt64
    public let entries: Int
    /// What could not be kept, a line each.
    public let warnings: [String]
}

/// A tar of changes that was written.
public struct WrittenDiff: Sendable, Equatable {
    /// sha256 of the uncompressed tar.
    public let diffID: String
    /// sha256 of the bytes written.
    public let digest: String
    /// Bytes written.
    public let bytes: UInt64
    /// What could not be kept, a line each.
    public let warnings: [String]
}

/// Layers as tars: in, out, and what changed. Works on descriptors of trees that the caller keeps mounted.
public enum LayerArchive {
    /// Applies a tar, plain or packed with gzip or zstd, to the tree at `root`.
    ///
    /// Nothing outside `root` is read or written, whatever the tar says. A failure in the middle leaves what was
    /// applied until then.
    /// - Parameter progress: called with the bytes of the input that have been read.
    /// - Throws: `.dataLoss` for a tar that is corrupt or ends too early, `.invalidArgument` for members that name
    ///   what is not in the tree, `.resourceExhausted` for what goes over a limit, and what the filesystem says.
    public static func apply(
        _ input: FileDescriptor, named name: String, onto root: FileDescriptor, limits: ArchiveLimits = ArchiveLimits(),
        progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> AppliedArchive {
        let stream = try ReadAhead(input, named: name, limits: limits, progress: progress)
        let reader = try TarReader(stream, named: name)
        let applier = ArchiveApplier(reader, onto: root, named: name, limits: limits)
        try applier.run()
        let (diffID, rest) = try stream.finish(after: reader.end)
        var warnings = applier.warnings
        switch rest {
        case .zeros: break
        case .nothing: warnings.add("\(name): it has no end mark, and may have been cut short")
        case .something: warnings.add("\(name): what follows its end mark was left out")
        }
        return AppliedArchive(
            diffID: diffID, bytes: stream.taken, entries: Int(applier.entries), warnings: warnings.lines)
    }

    /// Threads that compare two trees where nothing says what may differ: one for each processor, up to eight.
    public static let walkThreads = min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1), 8)

    /// What the tree `child` added, modified and deleted against its parent, sorted by the bytes of the paths; without
    /// a parent all is added. The root itself is told when more about it differs than its time.
    /// - Parameters:
    ///   - touched: what may differ, as a driver says; nil compares all of both trees.
    ///   - threads: how many compare all of both trees.
    public static func changes(
        from parent: FileDescriptor?, to child: FileDescriptor, touched: TouchedEntries? = nil,
        threads: Int = walkThreads
    ) throws(StorageError) -> [Change] {
        try attempt("changes", "layer") {
            try TreeComparison.changes(from: parent, to: child, touched: touched, threads: threads)
                .filter { try !$0.path.isRoot || differ(parent, child) }
                .map(\.change).sorted { $0.path.lexicographicallyPrecedes($1.path) }
        }
    }

    /// Whether two roots differ in more than their times.
    private static func differ(_ parent: FileDescriptor?, _ child: FileDescriptor) throws -> Bool {
        guard let parent else { return false }
        let old = TreeEntry(parent, .itself, try parent.status())
        return try !TreeEntry(child, .itself, child.status()).isEqual(to: old, comparingTime: false)
    }

    /// Writes the changes as an OCI layer. The same trees give the same bytes.
    /// - Parameters:
    ///   - touched: what may differ, as a driver says; nil compares all of both trees.
    ///   - threads: how many compare all of both trees.
    ///   - progress: called with the bytes of the uncompressed tar so far.
    /// - Throws: what reading or writing says: a tar is whole, or there is an error.
    public static func writeDiff(
        from parent: FileDescriptor?, to child: FileDescriptor, touched: TouchedEntries? = nil,
        threads: Int = walkThreads, into output: FileDescriptor, compression: Compression = .none,
        progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> WrittenDiff {
        try attempt("diff", "layer") {
            let changes = try TreeComparison.changes(from: parent, to: child, touched: touched, threads: threads)
            let stream = ArchiveOutput(output, compression: compression, progress: progress)
            let writer = DiffWriter(child, stream)
            try writer.write(changes)
            let digests = try stream.finish()
            return WrittenDiff(
                diffID: digests.plain, digest: digests.packed, bytes: stream.written, warnings: writer.warnings.lines)
        }
    }

    /// Applies what a tree changed against another one to a third.
    /// - Parameters:
    ///   - name: the layer's, for errors.
    ///   - touched: what may differ between the two, as a driver says; nil compares all of both.
    ///   - progress: called with the bytes of the tar so far.
    /// - Returns: the tar's digest, and what could not be kept.
    public static func copy(
        from parent: FileDescriptor?, to child: FileDescriptor, touched: TouchedEntries?, onto root: FileDescriptor,
        named name: String, progress: ((UInt64) -> Void)? = nil
    ) throws(StorageError) -> (diffID: String, warnings: [String]) {
        let (written, applied) = try TarPipe.run(named: name) { output throws(StorageError) in
            try writeDiff(from: parent, to: child, touched: touched, into: output)
        } _: { input throws(StorageError) in
            try apply(input, named: name, onto: root, limits: .none, progress: progress)
        }
        return (written.diffID, written.warnings + applied.warnings)
    }
}
