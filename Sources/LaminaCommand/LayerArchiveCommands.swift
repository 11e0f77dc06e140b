import ArgumentParser
@preconcurrency import Glibc
import Lamina
import SystemPackage

/// A file of the command line, or standard input for `-`.
private func withInput<Result>(
    _ file: String, _ operation: String, _ body: (FileDescriptor, Progress) throws -> Result
) throws -> Result {
    if file == "-" {
        let progress = Progress(operation, total: nil)
        defer { progress.finish() }
        return try body(.standardInput, progress)
    }
    let (input, status) = try attempt(operation, file) {
        let input = try FileDescriptor.opening(file)
        return (input, try input.status())
    }
    defer { input.closeQuietly() }
    if status.kind == .directory {
        throw StorageError(.invalidArgument, operation, file, "it is a directory, not a tar", errno: .isDirectory)
    }
    let progress = Progress(operation, total: status.kind == .regular ? status.size : nil)
    defer { progress.finish() }
    return try body(input, progress)
}

/// What a tar became.
private func printApplied(_ name: String, _ applied: AppliedArchive, _ global: GlobalOptions) throws {
    struct Report: Encodable {
        let name, diffID: String
        let bytes: UInt64
        let entries: Int
    }
    for warning in applied.warnings { note("warning: \(warning)") }
    if global.json {
        try printJSON(Report(name: name, diffID: applied.diffID, bytes: applied.bytes, entries: applied.entries))
    } else {
        print("\(name)  \(applied.diffID)  \(ByteCount(applied.bytes)) in \(applied.entries) entries")
    }
}

/// What a tar may ask for.
struct LimitOptions: ParsableArguments {
    private static let standard = ArchiveLimits()

    @Option(help: "Most members a tar may have.") var maxEntries = standard.entries
    @Option(help: "Most bytes a tar may have, uncompressed, and all its files together.")
    var maxBytes = ByteCount(standard.bytes)
    @Option(help: "Most bytes one file may have, holes included.") var maxFileBytes = ByteCount(standard.fileBytes)
    @Option(help: "Most bytes the extended attributes of one member may have.")
    var maxXattrBytes = ByteCount(standard.xattrBytes)
    @Option(help: "Most names in one path.") var maxDepth = standard.depth
    @Option(help: "Most uncompressed bytes for one compressed byte, once they are many.")
    var maxRatio = standard.ratio

    var limits: ArchiveLimits {
        ArchiveLimits(
            entries: maxEntries, bytes: maxBytes.bytes, fileBytes: maxFileBytes.bytes, xattrBytes: maxXattrBytes.bytes,
            depth: maxDepth, ratio: maxRatio)
    }
}

/// How two trees are compared.
struct ComparisonOptions: ParsableArguments {
    @Flag(help: "Compare all of both trees, by one thread, not only what the driver says may differ: the plain way.")
    var walk = false
}

/// Says when a diff is not of a tree that stood still.
func noteBasis(_ basis: DiffBasis, _ name: String) {
    switch basis {
    case .still: break
    case .snapshot: note("\(name) is mounted: this is its state at one moment, from a snapshot")
    case .live:
        note("warning: \(name) is mounted, and its driver has no snapshots: what is written meanwhile may be missing")
    }
}

struct LayerImport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Make a committed layer of a tar: all of it, or nothing.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Argument(help: "A tar, plain or packed with gzip or zstd; - for standard input.", completion: .file())
    var file: String
    @Option(help: "A committed layer to build on.") var parent: String?
    @OptionGroup(title: "Limits") var limits: LimitOptions

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let parent = try parent.map { try LayerName(commandLine: $0) }
        let applied = try withInput(file, "import") { input, progress in
            try global.openStore(for: "import", making: true)
                .importLayer(
                    layer, parent: parent, from: input, named: file, limits: limits.limits, progress: progress.update)
        }
        try printApplied(name, applied, global)
    }
}

struct LayerApply: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Apply a tar to an active layer that is not mounted: all of it, or nothing.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Argument(help: "A tar, plain or packed with gzip or zstd; - for standard input.", completion: .file())
    var file: String
    @OptionGroup(title: "Limits") var limits: LimitOptions

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let applied = try withInput(file, "apply") { input, progress in
            try global.openStore(for: "apply")
                .apply(layer, from: input, named: file, limits: limits.limits, progress: progress.update)
        }
        try printApplied(name, applied, global)
    }
}

extension Compression: ExpressibleByArgument {}

struct LayerDiff: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Write the changes against the parent as a tar.")
    @OptionGroup var global: GlobalOptions
    @Argument var name: String
    @Option(name: .shortAndLong, help: "Write to this file instead of standard output.", completion: .file())
    var output: String?
    @Option(help: "none, gzip or zstd.") var compress: Compression = .none
    @OptionGroup var comparison: ComparisonOptions

    private struct Report: Encodable {
        let name, diffID, digest: String
        let bytes: UInt64
    }

    func run() throws {
        let layer = try LayerName(commandLine: name)
        let store = try global.openStore(for: "diff")
        guard let output, output != "-" else {
            if isatty(STDOUT_FILENO) == 1 {
                throw StorageError(
                    .failedPrecondition, "diff", name, "a tar does not belong on a terminal",
                    hint: "lamina layer diff \(name) -o FILE")
            }
            _ = try write(store, layer, to: .standardOutput)
            return
        }
        let file = try attempt("write", output) { try WholeFile(output) }
        defer { file.close() }
        let written = try write(store, layer, to: file.descriptor)
        try attempt("write", output) { try file.publish() }
        if global.json {
            try printJSON(
                Report(name: name, diffID: written.diffID, digest: written.digest, bytes: written.bytes))
        } else {
            print("\(name)  \(written.diffID)  \(ByteCount(written.bytes)) in \(output)")
        }
    }

    private func write(_ store: LayerStore, _ layer: LayerName, to file: FileDescriptor) throws -> WrittenDiff {
        let progress = Progress("diff", total: nil)
        defer { progress.finish() }
        let (written, basis) = try store.diff(
            layer, to: file, compression: compress, walking: comparison.walk, progress: progress.update)
        noteBasis(basis, name)
        for warning in written.warnings { note("warning: \(warning)") }
        return written
    }
}
