import Glibc
import LayerArchive
import LinuxSystem
import StorageDriver
import SystemPackage

/// The target of libFuzzer (LLVM, LibFuzzer.rst): applies any bytes as a tar to a tree in memory. That may fail; it must
/// not crash, hang, or touch what is outside the tree. Built and run by Tools/fuzz.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzApply(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    do {
        try Ground.shared.apply(UnsafeRawBufferPointer(start: data, count: size))
    } catch {
        fatalError("\(error)")
    }
    return 0
}

/// A layer's root with something in it, beside what must not change.
private struct Ground {
    static let shared = try! Ground()

    private let directory: String
    private let root: FileDescriptor

    init() throws {
        directory = "/dev/shm/lamina-fuzz-\(getpid())"
        try makeDirectories(directory + "/layer")
        try makeDirectory(directory + "/outside")
        try writeText("safe", to: directory + "/outside/file")
        root = try FileDescriptor.openingDirectory(directory + "/layer")
    }

    func apply(_ bytes: UnsafeRawBufferPointer) throws {
        for name in try root.entries() { try root.removeEntry(name) }
        try root.makeDirectory(EntryName("old"), permissions: 0o755)
        try root.makeSymlink(EntryName("link"), to: Array("../outside".utf8))
        let file = try FileDescriptor.opening(
            directory + "/input", .readWrite, flags: O_CREAT | O_TRUNC, permissions: 0o600)
        defer { file.closeQuietly() }
        try file.writeFully(bytes, at: 0, to: "input")
        let limits = ArchiveLimits(entries: 200, bytes: 1 << 22, fileBytes: 1 << 22, depth: 50, ratio: 1000)
        _ = try? LayerArchive.apply(file, named: "input", onto: root, limits: limits)
        guard directoryNames(directory)?.sorted() == ["input", "layer", "outside"],
            directoryNames(directory + "/outside") == ["file"], readText(directory + "/outside/file") == "safe"
        else { fatalError("something outside the layer has changed") }
    }
}
