import CLinux
import Fixtures
import Glibc
import Lamina
import LinuxSystem
import SystemPackage
import Testing

@testable import Subvolume

/// What btrfs says may differ, where random edits seldom come: the same as a walk of both trees gives.
@Suite(.serialized, .enabled(if: TestHost.hasBtrfs, "needs root, loop devices and btrfs")) struct BtrfsChangesTests {
    private let parent = LayerNumber(1)
    private let child = LayerNumber(2)
    private let copy = LayerNumber(3)

    /// Makes a layer, edits a child of it, and requires that a snapshot of the child is told alike by all ways.
    /// - Parameter meanwhile: runs with the edited tree while the snapshot is taken.
    /// - Returns: the changes, `"added /path"`.
    @discardableResult
    private func changes(
        _ make: (FileDescriptor) throws -> Void, _ edit: (FileDescriptor) throws -> Void,
        meanwhile: (FileDescriptor, () throws -> Void) throws -> Void = { try $1() }
    ) throws -> [String] {
        var told: [String] = []
        try Ground.btrfs.withRoot { driver, _ in
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { try make($0) }
            try driver.commit(parent)
            try driver.create(child, from: parent, limit: nil)
            try driver.withTree(child) { root throws in
                try edit(root)
                try meanwhile(root) { try #require(driver as? any LiveSnapshots).snapshot(child, as: copy) }
            }
            told = try compare(driver, parent, copy)
        }
        return told
    }

    private func compare(
        _ driver: any StorageDriver, _ parent: LayerNumber, _ child: LayerNumber
    ) throws -> [String] {
        try driver.withTree(parent, readOnly: true) { old throws in
            try driver.withTree(child, readOnly: true) { new throws in
                func text(_ changes: [Change]) -> [String] {
                    changes.map { "\($0.kind.rawValue) \(TreePicture.escaped($0.path))" }.sorted()
                }
                let walked = text(try LayerArchive.changes(from: old, to: new))
                #expect(try TreePicture(new).changes(from: TreePicture(old)) == walked)
                let tracking = try #require(driver as? any ChangeTracking)
                let touched = try #require(
                    try tracking.touched(LayerTree(child, new), since: LayerTree(parent, old)))
                let told = text(try LayerArchive.changes(from: old, to: new, touched: touched))
                #expect(told == walked)
                return told
            }
        }
    }

    @Test func nodesOfAllKinds() throws {
        let kinds: [(String, FileStatus.Kind)] = [
            ("char", .characterDevice), ("block", .blockDevice), ("fifo", .fifo), ("socket", .socket),
        ]
        func make(_ names: String, in directory: FileDescriptor) throws {
            for (name, kind) in kinds {
                try directory.makeNode(EntryName(names + name), kind, DeviceNumber(major: 1, minor: 3))
            }
        }
        let told = try changes { root in
            try root.makeDirectory(EntryName("d"), permissions: 0o755)
            for names in ["gone-", "mode-", "moved-", "remade-", "stays-"] { try make(names, in: root) }
        } _: { root in
            try make("new-", in: root)
            try root.openEntry(EntryName("d"), flags: directoryFlag).closing { try make("new-", in: $0) }
            for (name, kind) in kinds {
                try root.removeEntry(EntryName("gone-" + name))
                try root.setPermissions(0o604, of: EntryName("mode-" + name))
                try rename("moved-" + name, to: "d/moved-" + name, in: root)
                try root.removeEntry(EntryName("remade-" + name))
                try root.makeNode(EntryName("remade-" + name), kind, DeviceNumber(major: 1, minor: 5))
            }
        }
        #expect(told.count == 4 * 7 + 1)
    }

    /// So many and so long names that they do not fit into one reference item.
    @Test func eachNameOfAFileWithManyLinks() throws {
        let names = (0..<150).map { "\($0)-" + String(repeating: "x", count: 200) }
        let told = try changes { root in
            try write("one", to: "file", in: root)
            for directory in ["d", "e"] {
                try root.makeDirectory(EntryName(directory), permissions: 0o755)
                let fd = try root.openEntry(EntryName(directory), flags: directoryFlag)
                defer { fd.closeQuietly() }
                for name in names { try fd.makeLink(EntryName(name), to: EntryName("file"), in: root) }
            }
        } _: { root in
            try write("two", to: "e/" + names[77], in: root)
        }
        #expect(told.count == 301)
    }

    @Test func linksIntoDirectoriesThatMove() throws {
        let told = try changes { root in
            for directory in ["d", "d/sub"] { try root.makeDirectory(EntryName(directory), permissions: 0o755) }
            try write("one", to: "d/sub/file", in: root)
            try root.makeLink(EntryName("outside"), to: EntryName("d/sub/file"), in: root)
            try root.makeLink(EntryName("gone"), to: EntryName("d/sub/file"), in: root)
        } _: { root in
            try rename("d", to: "e", in: root)
            try root.removeEntry(EntryName("gone"))
        }
        #expect(
            told == [
                "added /e", "added /e/sub", "added /e/sub/file", "deleted /d", "deleted /gone", "modified /outside",
            ])
    }

    @Test func directoriesInsideOut() throws {
        try changes { root in
            for path in ["a", "a/b", "a/b/c", "a/b/c/d", "x", "x/y"] {
                try root.makeDirectory(EntryName(path), permissions: 0o755)
                try write(path, to: path + "/file", in: root)
            }
        } _: { root in
            // d/c/b/a, and x in the place of a.
            for (from, to) in [
                ("a/b/c/d", "d"), ("a/b/c", "d/c"), ("a/b", "d/c/b"), ("a", "d/c/b/a"), ("x", "a"), ("a/y", "x"),
                ("d/c/b/a/file", "a/y"), ("x/file", "d/c/file"),
            ] { try rename(from, to: to, in: root) }
            try root.makeDirectory(EntryName("o257-7-0"), permissions: 0o755)
            try rename("d", to: "o257-7-0/d", in: root)
        }
    }

    /// A file that is gone but open is in the subvolume, without a name.
    @Test func openFilesWithoutAName() throws {
        let told = try changes { root in
            try write("old", to: "old", in: root)
            try root.makeDirectory(EntryName("d"), permissions: 0o755)
            try write("stays", to: "stays", in: root)
        } _: { root in
            try write("new", to: "new", in: root)
        } meanwhile: { root, snapshot in
            let open = try ["old", "new", "d"].map { try root.openEntry(EntryName($0)) }
            defer { for file in open { file.closeQuietly() } }
            for name in ["old", "new", "d"] { try root.removeEntry(EntryName(name)) }
            try snapshot()
        }
        #expect(told == ["deleted /d", "deleted /old"])
    }

    /// Contents that change without the size and with the old time: in a file that btrfs overwrites in place, through
    /// a mapping, by a clone, by a hole.
    @Test func contentsAlone() throws {
        let names = ["in-place", "mapped", "cloned", "punched"]
        let text = String(repeating: "0123456789abcdef", count: 2048)
        let told = try changes { root in
            try write("", to: "in-place", in: root)
            let path = "/proc/\(getpid())/fd/\(root.rawValue)/in-place"
            try #require(Program("chattr")).run(["+C", path], on: path)
            for name in names + ["stays"] { try write(text, to: name, in: root) }
            try write(String(text.reversed()), to: "source", in: root)
        } _: { root in
            for name in names {
                let status = try root.status(of: EntryName(name))
                let file = try root.openEntry(EntryName(name), .readWrite)
                defer { file.closeQuietly() }
                switch name {
                case "mapped":
                    let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 4096)
                    try #require(memory != MAP_FAILED)
                    memory!.storeBytes(of: 1, as: UInt8.self)
                    msync(memory, 4096, MS_SYNC)
                    munmap(memory, 4096)
                case "cloned":
                    let source = try root.openEntry(EntryName("source"))
                    defer { source.closeQuietly() }
                    try check(ioctl(file.rawValue, UInt(LAM_FICLONE), source.rawValue), "clone", name)
                case "punched": try check(lam_fallocate(file.rawValue, LAM_PUNCH_HOLE, 4096, 4096), "punch", name)
                default: try [7].withUnsafeBytes { try file.writeFully($0, at: 5000, to: name) }
                }
                try file.synchronize()
                try root.setModified(status.modified, of: EntryName(name))
            }
        }
        #expect(told == names.sorted().map { "modified /" + $0 })
    }

    /// Longer than what a stream can name: the walk tells of it.
    @Test func pathsWithoutEnd() throws {
        try Ground.btrfs.withRoot { driver, _ in
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { root throws in
                var directory = try root.openEntry(.itself)
                for _ in 0..<20 {
                    let name = EntryName(String(repeating: "d", count: 250))
                    try directory.makeDirectory(name, permissions: 0o755)
                    let below = try directory.openEntry(name, flags: directoryFlag)
                    directory.closeQuietly()
                    directory = below
                }
                try write("deep", to: "file", in: directory)
                directory.closeQuietly()
            }
            try driver.commit(parent)
            try driver.create(child, from: nil, limit: nil)
            try driver.commit(child)
            try driver.withTree(parent, readOnly: true) { new throws in
                try driver.withTree(child, readOnly: true) { old throws in
                    let tracking = try #require(driver as? any ChangeTracking)
                    let touched = try tracking.touched(LayerTree(parent, new), since: LayerTree(child, old))
                    #expect(try LayerArchive.changes(from: old, to: new, touched: touched).count == 21)
                }
            }
        }
    }

    @Test func changesThatFillThePipe() throws {
        let told = try changes { root in
            for number in 0..<3000 { try write("\(number)", to: "old-\(number)", in: root) }
        } _: { root in
            for number in 0..<3000 {
                try write("\(number)", to: "new-\(number)", in: root)
                try root.removeEntry(EntryName("old-\(number)"))
            }
        }
        #expect(told.count == 6000)
    }

    @Test func layersThatAreNotRelated() throws {
        try Ground.btrfs.withRoot { driver, _ in
            for (layer, names) in [(parent, ["a", "b", "c"]), (child, ["b", "c", "d"])] {
                try driver.create(layer, from: nil, limit: nil)
                try driver.withTree(layer) { root throws in
                    for name in names { try write(name + "\(layer)", to: name, in: root) }
                    try RichTree.make(in: root, sockets: true)
                }
                try driver.commit(layer)
            }
            _ = try compare(driver, parent, child)
        }
    }

    @Test func whatCanBeWrittenIsNotCompared() throws {
        try Ground.btrfs.withRoot { driver, _ in
            try driver.create(parent, from: nil, limit: nil)
            try driver.commit(parent)
            try driver.create(child, from: parent, limit: nil)
            try driver.withTree(parent, readOnly: true) { old throws in
                try driver.withTree(child) { new throws in
                    let tracking = try #require(driver as? any ChangeTracking)
                    #expect(try tracking.touched(LayerTree(child, new), since: LayerTree(parent, old)) == nil)
                    let error = #expect(throws: SystemError.self) {
                        try Subvolume.send(new, since: try Subvolume.info(old).id) { _ throws(SystemError) in }
                    }
                    #expect(error?.errno == .notPermitted)
                }
            }
        }
    }

    /// However the reading ends, the kernel stops writing, and nothing stays open.
    @Test func aReaderThatStops() throws {
        try Ground.btrfs.withRoot { driver, _ in
            try driver.create(parent, from: nil, limit: nil)
            try driver.commit(parent)
            try driver.create(child, from: parent, limit: nil)
            try driver.withTree(child) { root throws in
                for number in 0..<2000 { try write("\(number)", to: "file-\(number)", in: root) }
            }
            try driver.commit(child)
            try driver.withTree(parent, readOnly: true) { old throws in
                try driver.withTree(child, readOnly: true) { new throws in
                    func threads() -> Int { directoryNames("/proc/self/task")?.count ?? 0 }
                    func open() -> Int { directoryNames("/proc/self/fd")?.count ?? 0 }
                    let before = open()
                    let tasks = threads()
                    for stop in [1, 2, 100, 5000] {
                        var told = 0
                        let error = #expect(throws: SystemError.self) {
                            try Subvolume.send(new, since: try Subvolume.info(old).id) { _ throws(SystemError) in
                                told += 1
                                if told == stop { throw SystemError("stop", "here", .interrupted) }
                            }
                        }
                        #expect(error?.errno == .interrupted && told == stop)
                    }
                    #expect(try Subvolume.touchedPaths(new, since: old).count == 2001)
                    // Other tests have descriptors and threads of their own.
                    #expect(eventually { open() <= before })
                    #expect(eventually { threads() <= tasks + 4 })
                }
            }
        }
    }

    /// A snapshot has an empty directory in the place of a subvolume: it is refused before that loses anything.
    @Test func subvolumesInsideALayer() throws {
        try Ground.btrfs.withRoot { driver, _ in
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { root throws in
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                try root.openBeneath("d", flags: directoryFlag).closing { try Subvolume.create("inner", in: $0) }
                try write("inside", to: "d/inner/file", in: root)
            }
            let snapshots = try #require(driver as? any LiveSnapshots)
            for refused in [
                { try driver.commit(parent) }, { try driver.create(child, from: parent, limit: nil) },
                { try snapshots.snapshot(parent, as: child) },
            ] {
                let error = #expect(throws: StorageError.self) { try refused() }
                #expect(error?.kind == .failedPrecondition && error?.message.contains("/d/inner") == true)
            }
            #expect(try driver.objects() == [parent])
            try driver.withTree(parent) { root throws in
                #expect(try read("d/inner/file", in: root) == "inside")
                try root.openBeneath("d", flags: directoryFlag).closing { try Subvolume.destroy("inner", in: $0) }
            }
            try snapshots.snapshot(parent, as: child)
            try driver.commit(parent)
            try driver.create(copy, from: parent, limit: nil)
        }
    }

    /// The mount option that a killed snapshot has left is taken back when the root is opened next.
    @Test func whatAKilledSnapshotHasLeftSet() throws {
        try Ground.btrfs.withRoot { _, root in
            func isSet() -> Bool {
                MountTable.current().entry(at: root.path + "/btrfs")?.superOptions.contains("flushoncommit") == true
            }
            let mount = try #require(MountTable.current().entry(at: root.path + "/btrfs"))
            try reconfigureFilesystem(mount.target, "flushoncommit")
            // An administrator's own is left alone.
            _ = try Ground.btrfs.type.init(root, ["loopBytes": "1"])
            #expect(isSet())
            try writeText("", to: root.path + "/btrfs.flush")
            _ = try Ground.btrfs.type.init(root, ["loopBytes": "1"])
            #expect(!isSet())
            #expect(!exists(root.path + "/btrfs.flush"))
        }
    }
}

private func rename(_ path: String, to newPath: String, in root: FileDescriptor) throws {
    try check(renameat(root.rawValue, path, root.rawValue, newPath), "rename", path)
}
