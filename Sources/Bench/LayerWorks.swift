import Glibc
import LayerStore
import LinuxSystem
import StorageDriver
import SystemPackage

/// The life of a layer: made, mounted, written, unmounted, committed, looked at, removed.
struct LifeCycleWork: Work {
    let title = "life of a layer"
    let measurement = "create.empty"
    let bench: Bench

    func prepare(_ contender: Contender) throws {
        try bench.makeBase(of: bench.plan.treeFiles, on: contender)
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let (empty, child, view) = ("empty-\(number)", "child-\(number)", "view-\(number)")
        try recorder.time("create.empty") { try contender.create(empty) }
        try contender.remove(empty)
        try recorder.time("create.child") { try contender.create(child, parent: "base") }
        let target = try recorder.time("mount") { try contender.mount(child) }
        do {
            let root = try FileDescriptor.openingDirectory(target)
            defer { root.closeQuietly() }
            try bench.write(1 << 20, to: "new", in: root)
        }
        try recorder.time("umount") { try contender.unmount(child) }
        try recorder.time("commit") { try contender.commit(child) }
        try recorder.time("view") { try contender.view(view, of: child) }
        try contender.remove(view)
        let start = Clock.nanoseconds
        try contender.remove(child, timedAs: "remove", by: &recorder)
        recorder.note("remove.collected", Clock.nanoseconds - start)
    }
}

/// Long chains: what a layer costs that has many below it.
struct ChainWork: Work {
    let title = "long chains"
    let measurement = "chain.create"
    let bench: Bench

    /// Each layer adds a file; the lowest one has a larger one, which is read.
    func prepare(_ contender: Contender) throws {
        let length = bench.plan.chain.last ?? 0
        for depth in 1...length {
            try bench.checkpoint()
            try contender.make("chain-\(depth)", parent: depth == 1 ? nil : "chain-\(depth - 1)") { root in
                try bench.write(4096, to: "file-\(depth)", in: root)
                if depth == 1 { try bench.write(64 << 10, to: "lowest", in: root) }
            }
        }
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        for depth in bench.plan.chain {
            let (child, view) = ("child-\(number)", "view-\(number)")
            // A view has the same files for every driver; a child's would be copies on some.
            try contender.view(view, of: "chain-\(depth)")
            let target = try recorder.time("chain.mount", at: depth) { try contender.mount(view) }
            let file = try recorder.time("chain.read", at: depth) {
                let file = try FileDescriptor.opening(target + "/lowest")
                try file.readAll(&buffer)
                return file
            }
            do {
                defer { file.closeQuietly() }
                try recorder.time("chain.create", at: depth) { try contender.create(child, parent: "chain-\(depth)") }
                try contender.remove(child)
                // The next round reads it from the disk again: last, for a copy reads it too.
                file.forget()
            }
            try contender.unmount(view)
            try contender.remove(view)
            contender.forgetFiles()
        }
    }
}

/// Layers made by several threads at once, of one parent.
struct ParallelWork: Work {
    let title = "many creates at once"
    let measurement = "parallel.create"
    let bench: Bench

    func prepare(_ contender: Contender) throws {
        try bench.makeBase(on: contender)
    }

    func round(_ number: Int, _ contender: Contender, _ recorder: inout Recorder) throws {
        let store = contender.store
        let base = try LayerName("base")
        for count in bench.plan.threads {
            try bench.checkpoint()
            let names = try (0..<count).map { try LayerName("parallel-\($0)") }
            try recorder.rate("parallel.create", at: count, of: count) {
                try inParallel(names) { name throws(StorageError) in try store.create(name, parent: base) }
            }
            for name in names { try store.remove(name) }
            store.finishRemovals()
        }
    }
}
