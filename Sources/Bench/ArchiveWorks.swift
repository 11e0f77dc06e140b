import Glibc
import LayerStore
import LinuxSystem
import StorageDriver
import SystemPackage

/// The tar of a root, as a committed layer.
struct ImportWork: Work {
    let title = "import of a root tar"
    let measurement = "import"
    let bench: Bench
    let tar: String

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        try bench.checkpoint()
        let input = try FileDescriptor.opening(tar)
        defer { input.closeQuietly() }
        try recorder.time("import") {
            _ = try contender.store.importLayer(LayerName("import-\(number)"), from: input, named: tar)
        }
        try contender.remove("import-\(number)", timedAs: "remove.import", by: &recorder)
    }
}

/// What a layer changed: one file of many written, one removed, one made.
struct ChangesWork: Work {
    let measurement = "changes"
    let bench: Bench
    let files: UInt64
    /// A tar of that many files.
    let tar: String
    var title: String { "changes in \(Quantity.grouped(files)) files" }

    func prepare(_ contender: Contender) throws {
        let input = try FileDescriptor.opening(tar)
        defer { input.closeQuietly() }
        _ = try contender.store.importLayer(LayerName("base"), from: input, named: tar)
        try contender.make("child", parent: "base") { root in
            let directory = try root.openEntry(EntryName("directory-3"), flags: directoryFlag)
            defer { directory.closeQuietly() }
            try bench.write(100, to: "file-305", in: directory)
            try check(unlinkat(directory.rawValue, "file-306", 0), "unlink", "file-306")
            try bench.write(100, to: "new", in: directory)
        }
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let changes = try recorder.time("changes", at: files) {
            try contender.store.changes(LayerName("child")).changes
        }
        // The directory, and the three.
        guard changes.count == 4 else {
            throw StorageError(.dataLoss, "changes", "child", "\(changes.count) changes were found, and not 4")
        }
    }
}
