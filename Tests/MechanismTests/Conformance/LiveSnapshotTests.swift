import Fixtures
import Glibc
import Lamina
import LinuxSystem
import Synchronization
import SystemPackage
import Testing

/// What a driver must do that copies layers while they are written.
@Suite(.serialized) struct LiveSnapshotTests {
    private static let grounds = Ground.here.filter { $0.type is any LiveSnapshots.Type }

    /// A program goes on writing files and renaming them into place, without ever waiting for the disk: each copy shows
    /// what it had done at one moment, and all that was written before the copy was asked for.
    @Test(arguments: grounds) func aCopyShowsOneMoment(_ ground: Ground) throws {
        try ground.withRoot { driver, root in
            let snapshots = try #require(driver as? any LiveSnapshots)
            let (parent, layer) = (LayerNumber(1), LayerNumber(2))
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { try write("old", to: "file", in: $0) }
            try driver.commit(parent)
            try driver.create(layer, from: parent, limit: nil)
            let target = root.path + "/target"
            try makeDirectory(target)
            try DetachedMount(try driver.mounts(layer, readOnly: false)[0]).attach(to: target)
            defer { rmdir(target) }

            let writer = StepWriter()
            let failures = try writer.writing(to: target) { tree in
                for round in 0..<(TestHost.isGuest ? 5 : 50) {
                    try write("\(round)", to: "before", in: tree)
                    let copy = LayerNumber(UInt64(10 + round))
                    try snapshots.snapshot(layer, as: copy)
                    try driver.withTree(copy, readOnly: true) { root throws in
                        try StepWriter.requireInStep(root)
                        guard try read("before", in: root) == "\(round)" else {
                            throw Failure("round \(round): what was written before is not there")
                        }
                        let error = #expect(throws: SystemError.self) { try write("x", to: "file", in: root) }
                        guard error?.errno == .readOnlyFileSystem || error?.errno == .notPermitted else {
                            throw Failure("a copy can be written: \(error?.description ?? "no error")")
                        }
                        try requireSameByWalk(driver, LayerTree(copy, root), since: parent)
                    }
                    try driver.remove(copy)
                }
            }
            #expect(failures == [])
            #expect(try driver.objects().sorted() == [parent, layer])
            // The layer was not harmed: it takes writes, and is committed once it is not mounted.
            try writeText("after", to: target + "/file")
            try unmount(target)
            try driver.release(layer)
            try driver.commit(layer)
            try driver.withTree(layer, readOnly: true) { root throws in #expect(try read("file", in: root) == "after") }
        }
    }

    private func requireSameByWalk(
        _ driver: any StorageDriver, _ child: LayerTree, since parent: LayerNumber
    ) throws {
        guard let tracking = driver as? any ChangeTracking else { return }
        try driver.withTree(parent, readOnly: true) { old throws in
            let touched = try tracking.touched(child, since: LayerTree(parent, old))
            let told = try LayerArchive.changes(from: old, to: child.root, touched: touched)
            if told != (try LayerArchive.changes(from: old, to: child.root)) {
                throw Failure("told of the copy: \(told.map { TreePicture.escaped($0.path) })")
            }
        }
    }

    @Test(arguments: grounds) func aCopyThatIsThereIsMadeAnew(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let snapshots = try #require(driver as? any LiveSnapshots)
            let (layer, copy) = (LayerNumber(1), LayerNumber(2))
            try driver.create(layer, from: nil, limit: nil)
            for text in ["one", "two"] {
                try driver.withTree(layer) { try write(text, to: "file", in: $0) }
                try snapshots.snapshot(layer, as: copy)
                try driver.withTree(copy, readOnly: true) { root throws in
                    #expect(try read("file", in: root) == text)
                }
            }
            #expect(try driver.objects().sorted() == [layer, copy])
            #expect(throws: StorageError.self) { try snapshots.snapshot(LayerNumber(77), as: LayerNumber(78)) }
            #expect(try driver.objects().sorted() == [layer, copy])
        }
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A program that makes two files in step: first `a`, then `b`, each written aside and renamed into place.
final class StepWriter: Sendable {
    private let isDone = Atomic(false)
    /// More than a page, so that it is not part of the metadata anywhere.
    private static let size = 6000

    /// Runs `body` with the directory while the program writes there.
    /// - Returns: what failed on either side.
    func writing(to path: String, _ body: @Sendable (FileDescriptor) throws -> Void) throws -> [String] {
        let tree = try FileDescriptor.openingDirectory(path)
        defer { tree.closeQuietly() }
        try step(0, in: tree)
        return withoutActuallyEscaping(body) { body in
            concurrently(2) { index in
                if index == 0 {
                    var number = 1
                    while !self.isDone.load(ordering: .acquiring) {
                        try self.step(number, in: tree)
                        number += 1
                    }
                } else {
                    defer { self.isDone.store(true, ordering: .releasing) }
                    try body(tree)
                }
            }
        }
    }

    private func step(_ number: Int, in tree: FileDescriptor) throws {
        for name in ["a", "b"] {
            let text = "\(number) "
            try write(text + String(repeating: ".", count: Self.size - text.count), to: "aside", in: tree)
            try check(renameat(tree.rawValue, "aside", tree.rawValue, name), "rename", name)
        }
    }

    static func requireInStep(_ tree: FileDescriptor) throws {
        let numbers = try ["a", "b"].map { name in
            let text = try read(name, in: tree)
            guard text.count == size, let number = text.split(separator: " ").first.flatMap({ Int($0) }) else {
                throw Failure("\(name) is not whole: \(text.count) bytes")
            }
            return number
        }
        if numbers[0] != numbers[1], numbers[0] != numbers[1] + 1 { throw Failure("out of step: \(numbers)") }
    }
}
