import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The first write to a file of the parent: some drivers copy all of it up, others the blocks that are written.
struct FirstWriteWork: Work {
    let title = "first writes to inherited files"
    let measurement = "write.first"
    let bench: Bench

    func prepare(_ contender: Contender) throws {
        try contender.make("base") { root in
            for bytes in bench.plan.firstWriteBytes { try bench.write(bytes, to: "file-\(bytes)", in: root) }
        }
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let child = "child-\(number)"
        try contender.create(child, parent: "base")
        try contender.withMounted(child) { root in
            for bytes in bench.plan.firstWriteBytes {
                try recorder.time("write.first", at: bytes) {
                    let file = try root.openEntry(EntryName("file-\(bytes)"), .writeOnly)
                    defer { file.closeQuietly() }
                    try bench.block[..<4096].withUnsafeBytes {
                        try file.writeFully($0, at: bytes / 2 & ~4095, to: "file-\(bytes)")
                    }
                }
            }
        }
        try contender.remove(child)
    }
}

/// Reads and writes of one file in a layer, in order and at random, and small writes that must be on the disk.
struct DataWork: Work {
    let title = "reads and writes in a layer"
    let measurement = "write.sequential"
    let bench: Bench

    func prepare(_ contender: Contender) throws {
        try bench.makeBase(on: contender)
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let (layer, bytes, count) = ("layer-\(number)", bench.plan.sequentialBytes, UInt64(bench.plan.randomCount))
        try contender.create(layer, parent: "base")
        try contender.withMounted(layer) { root in
            let file = try root.openEntry(EntryName("data"), .readWrite, flags: O_CREAT, permissions: 0o644)
            defer { file.closeQuietly() }
            try recorder.rate("write.sequential", of: bytes) {
                try bench.write(bytes, to: file, "data")
                try file.synchronize()
            }
            file.forget()
            contender.forgetFiles()
            var piece = [UInt8](repeating: 0, count: 1 << 20)
            try recorder.rate("read.sequential", of: bytes) { try file.readAll(&piece) }
            file.forget()
            contender.forgetFiles()
            try random(file, count, recorder: &recorder)
            let log = try root.openEntry(EntryName("log"), .writeOnly, flags: O_CREAT, permissions: 0o644)
            defer { log.closeQuietly() }
            for _ in 0..<bench.plan.fsyncs {
                try recorder.time("fsync") {
                    try bench.block[..<4096].withUnsafeBytes { try log.writeFully($0, to: "log") }
                    try log.synchronize()
                }
            }
        }
        try contender.remove(layer)
    }

    /// Pieces of 4 KiB of the file, in the same order on every driver.
    private func random(_ file: FileDescriptor, _ count: UInt64, recorder: inout Recorder) throws {
        var generator = bench.generator(2)
        let pieces = bench.plan.sequentialBytes / 4096
        let offsets = (0..<count).map { _ in generator.next() % pieces * 4096 }
        var piece = [UInt8](repeating: 0, count: 4096)
        try recorder.rate("read.random", of: count) {
            for offset in offsets {
                try piece.withUnsafeMutableBytes { _ = try file.readPiece(at: offset, into: $0, of: "data") }
            }
        }
        try recorder.rate("write.random", of: count) {
            for offset in offsets {
                try bench.block[..<4096].withUnsafeBytes { try file.writeFully($0, at: offset, to: "data") }
            }
            try file.synchronize()
        }
    }
}

/// Many small files: made, looked at, removed.
struct MetadataWork: Work {
    let title = "many small files"
    let measurement = "metadata.create"
    let bench: Bench

    func prepare(_ contender: Contender) throws {
        try bench.makeBase(on: contender)
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let (layer, count) = ("layer-\(number)", bench.plan.metadataFiles)
        let names = (0..<count).map { EntryName("small-\($0)") }
        try contender.create(layer, parent: "base")
        try contender.withMounted(layer) { root in
            try recorder.time("metadata.create", each: count) {
                for name in names {
                    let file = try root.openEntry(name, .writeOnly, flags: O_CREAT, permissions: 0o644)
                    defer { file.closeQuietly() }
                    try bench.block[..<100].withUnsafeBytes { try file.writeFully($0, to: name.text) }
                }
            }
            try recorder.time("metadata.stat", each: count) { for name in names { _ = try root.status(of: name) } }
            try recorder.time("metadata.remove", each: count) {
                for name in names {
                    try check(name.withCString { unlinkat(root.rawValue, $0, 0) }, "unlink", name.text)
                }
            }
        }
        try contender.remove(layer)
    }
}

/// What layers occupy, and what comes back when they go.
struct SpaceWork: Work {
    let title = "space"
    let measurement = "space.byte"
    let isOnce = true
    let bench: Bench

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let (store, bytes) = (contender.store, bench.plan.spaceBytes)
        try contender.make("base") { try bench.write(bytes, to: "file", in: $0) }
        try contender.make("changed", parent: "base") { root in
            let file = try root.openEntry(EntryName("file"), .writeOnly)
            defer { file.closeQuietly() }
            try [UInt8(1)].withUnsafeBytes { try file.writeFully($0, at: bytes / 2, to: "file") }
        }
        recorder.note("space.byte", try store.usage(.init("changed")).exclusiveBytes)
        try contender.remove("changed")
        try contender.make("parent") { try bench.write(1 << 20, to: "file", in: $0) }
        for sibling in 0..<bench.plan.siblings {
            try bench.checkpoint()
            try contender.make("sibling-\(sibling)", parent: "parent") { _ in }
            recorder.note("space.sibling", try store.usage(.init("sibling-\(sibling)")).exclusiveBytes)
        }
        for sibling in 0..<bench.plan.siblings { try contender.remove("sibling-\(sibling)") }
        try returned(contender, bytes, &recorder)
    }

    private func returned(_ contender: Contender, _ bytes: UInt64, _ recorder: inout Recorder) throws {
        func used() throws -> UInt64 {
            try contender.settle()
            return try contender.store.driver.status().space.usedBytes
        }
        let before = try used()
        try contender.make("large") { try bench.write(bytes, to: "file", in: $0) }
        let full = try used()
        guard full > before else { return }
        let start = Clock.nanoseconds
        try contender.remove("large")
        var (now, pause) = (try used(), UInt32(1000))
        // Until all of the layer but a twentieth is there again.
        while now > before + (full - before) / 20, Clock.nanoseconds - start < bench.plan.spacePatience * 1_000_000_000
        {
            try bench.checkpoint()
            usleep(pause)
            pause = min(pause * 2, 250_000)
            now = try used()
        }
        recorder.note("space.return", Clock.nanoseconds - start)
        recorder.note("space.returned", 100 * (full - Swift.min(Swift.max(now, before), full)) / (full - before))
    }
}
