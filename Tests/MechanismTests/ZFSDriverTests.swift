import Fixtures
import Foundation
import Glibc
import Lamina
import SystemPackage
import Testing

/// What is particular to zfs: what others have made is left alone, and copies of active layers take their place.
@Suite(.serialized, .enabled(if: TestHost.hasZFS, "the kernel has no zfs")) struct ZFSDriverTests {
    @Test func othersDatasetsAreLeftAlone() throws {
        try withZFSPool { pool, directory in
            let type = Ground.zfsDataset.type
            let root = RootLocation(path: directory + "/root", id: "7e57a11e")
            let taken = "\(pool)/lamina-7e57a11e"
            try runZFS("create", "-o", "mountpoint=legacy", taken)
            try runZFS("snapshot", "\(taken)@theirs")
            let configuration = try type.plan(root, DriverOptions(backing: .pool(pool)))
            let built = #expect(throws: StorageError.self) { try type.build(root, configuration) }
            let destroyed = #expect(throws: StorageError.self) { try type.destroy(root, configuration) }
            #expect(built?.kind == .failedPrecondition && destroyed?.kind == .failedPrecondition)
            #expect(try zfsDatasets(below: pool) == [pool, taken, "\(taken)@theirs"])
            try runZFS("create", "-V", "16M", "\(pool)/volume")
            for (name, kind) in [
                ("\(pool)/volume", StorageError.Kind.invalidArgument), ("\(pool)/nothing", .notFound),
                ("\(taken)@theirs", .invalidArgument), ("-r", .invalidArgument),
            ] {
                let error = #expect(throws: StorageError.self) {
                    _ = try type.plan(root, DriverOptions(backing: .pool(name)))
                }
                #expect(error?.kind == kind, "\(name): \(String(describing: error))")
            }
        }
    }

    @Test func whatUsersPutIntoLayersIsInTheWay() throws {
        try withDriver { driver, pool, container in
            let (parent, child) = (LayerNumber(1), LayerNumber(2))
            try driver.create(parent, from: nil, limit: nil)
            try driver.commit(parent)
            try driver.create(child, from: parent, limit: nil)
            // Snapshots of the host's own tools go with the layer.
            try runZFS("snapshot", "\(container)/2@nightly")
            // A clone or a dataset of somebody else keeps it.
            try runZFS("clone", "\(container)/1@layer", "\(pool)/clone")
            try runZFS("create", "\(container)/2/inside")
            for layer in [child, parent] {
                let error = #expect(throws: StorageError.self) { try driver.remove(layer) }
                #expect(error?.kind == .failedPrecondition, "\(String(describing: error))")
            }
            #expect(try driver.objects().sorted() == [parent, child])
            try runZFS("destroy", "\(container)/2/inside")
            try runZFS("destroy", "\(pool)/clone")
            try driver.remove(child)
            try driver.remove(parent)
            #expect(try driver.objects() == [])
        }
    }

    /// A copy of an active layer outlives it, its parents' snapshots being its own then.
    @Test func copiesTakeThePlaceOfWhatTheyWereMadeOf() throws {
        try withDriver { driver, _, container in
            let (parent, first, second, third) = (LayerNumber(1), LayerNumber(2), LayerNumber(3), LayerNumber(4))
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { try write("parent", to: "file", in: $0) }
            try driver.commit(parent)
            try driver.create(first, from: parent, limit: 64 << 20)
            try driver.withTree(first) { try write("first", to: "first", in: $0) }
            try driver.create(second, from: first, limit: 64 << 20)
            try driver.remove(first)
            try driver.withTree(second) { try write("second", to: "second", in: $0) }
            try driver.create(third, from: second, limit: nil)
            try driver.remove(third)
            try driver.create(third, from: second, limit: nil)
            try driver.remove(second)
            try driver.withTree(third) { root throws in
                #expect(try root.entries().map(\.text) == ["file", "first", "second"])
            }
            try driver.commit(third)
            #expect(
                try zfsDatasets(below: container)
                    == [container, "\(container)/1", "\(container)/1@layer", "\(container)/4", "\(container)/4@layer"])
            #expect(throws: StorageError.self) { try driver.remove(parent) }
            try driver.remove(third)
            try driver.remove(parent)
        }
    }

    /// A power cut came when a copy had taken the place of what it was made of, which was not gone yet.
    @Test func aCopyThatHasTakenThePlaceGoesFirst() throws {
        try withDriver { driver, _, container in
            let (layer, copy) = (LayerNumber(1), LayerNumber(2))
            try driver.create(layer, from: nil, limit: nil)
            try driver.create(copy, from: layer, limit: nil)
            try runZFS("promote", "\(container)/2")
            try driver.remove(copy)
            try driver.remove(layer)
            #expect(try zfsDatasets(below: container) == [container])
        }
    }

    /// Killed after the snapshot of an active layer, before the clone of it.
    @Test func halfACopyIsRemoved() throws {
        try withDriver { driver, _, container in
            let (active, copy) = (LayerNumber(1), LayerNumber(2))
            try driver.create(active, from: nil, limit: nil)
            try runZFS("snapshot", "\(container)/1@copy-2")
            try driver.remove(copy)
            #expect(try zfsDatasets(below: container) == [container, "\(container)/1"])
            try runZFS("snapshot", "\(container)/1@copy-2")
            try runZFS("clone", "\(container)/1@copy-2", "\(container)/2")
            try driver.remove(copy)
            #expect(try zfsDatasets(below: container) == [container, "\(container)/1"])
        }
    }

    @Test func aSnapshotHasWhatIsWritten() throws {
        try withDriver { driver, _, container in
            let (layer, copy) = (LayerNumber(1), LayerNumber(2))
            try driver.create(layer, from: nil, limit: nil)
            try withTemporaryDirectory { target in
                let mounts = try driver.mounts(layer, readOnly: false)
                try DetachedMount(mounts[0]).attach(to: target)
                try writeText("before", to: target + "/file")
                let snapshots = try #require(driver as? any LiveSnapshots)
                try snapshots.snapshot(layer, as: copy)
                try writeText("after", to: target + "/file")
                try driver.withTree(copy, readOnly: true) { root throws in
                    #expect(try read("file", in: root) == "before")
                }
                #expect(try driver.mounts(copy, readOnly: false)[0].isReadOnly)
                try driver.remove(copy)
                try unmount(target)
            }
            #expect(try zfsDatasets(below: container) == [container, "\(container)/1"])
        }
    }

    /// Nobody writes to a committed layer, not even who mounts its dataset by hand.
    @Test func committedDatasetsAreReadOnly() throws {
        try withDriver { driver, _, container in
            let layer = LayerNumber(1)
            try driver.create(layer, from: nil, limit: nil)
            try driver.commit(layer)
            #expect(try driver.mounts(layer, readOnly: false)[0].source == "\(container)/1@layer")
            let tree = try DetachedMount(Mount(type: "zfs", source: "\(container)/1", options: []))
            let root = try tree.openRoot()
            defer { root.closeQuietly() }
            let error = #expect(throws: SystemError.self) { try write("x", to: "file", in: root) }
            #expect(error?.errno == .readOnlyFileSystem)
        }
    }

    @Test func aFullPoolRefusesLayersAndRemovesThem() throws {
        try CommandGround.zfs.withRoot(["--loop", "256M"]) { lamina in
            for name in ["full", "other"] { #expect(try lamina("layer", "create", name).status == 0) }
            let target = String(try lamina("layer", "mount", "full").output.dropLast())
            let piece = Data((0..<4 << 20).map { _ in UInt8.random(in: .min ... .max) })
            var written = 0
            while written < 100, (try? piece.write(to: URL(fileURLWithPath: "\(target)/\(written)"))) != nil {
                written += 1
            }
            #expect(written < 100, "writes end when the pool is full")
            let refused = try lamina("layer", "create", "more", "--json")
            #expect(refused.status == 1 && refused.error.contains("\"resourceExhausted\""), "\(refused.error)")
            #expect(try lamina("info", "--json").output.contains("nearly full"))
            #expect(try lamina("layer", "umount", "full").status == 0)
            for name in ["other", "full"] {
                let removed = try lamina("layer", "rm", name)
                #expect(removed.status == 0, "\(removed.error)")
            }
            #expect(try eventually { try lamina("layer", "create", "more").status == 0 })
        }
    }

    /// As after a reboot: the pool in the file is not imported.
    @Test func thePoolInTheFileIsFound() throws {
        try CommandGround.zfs.withRoot { lamina in
            #expect(try lamina("layer", "create", "base").status == 0)
            let id = try #require(try lamina("info", "--json").value("id"))
            try #require(Program("zpool")).run(["export", "lamina-\(id)"], on: id)
            #expect(try lamina("layer", "mount", "base").status == 0)
            #expect(try lamina("layer", "umount", "base").status == 0)
            try #require(Program("zpool")).run(["export", "lamina-\(id)"], on: id)
        }
    }

    /// Runs `body` with a driver on a pool of the test's own, the pool's name, and that of the layers' dataset.
    private func withDriver(_ body: (any StorageDriver, String, String) throws -> Void) throws {
        try withZFSPool { pool, directory in
            let type = Ground.zfsDataset.type
            let root = RootLocation(path: directory + "/root", id: "7e57beef")
            let configuration = try type.plan(root, DriverOptions(backing: .pool(pool)))
            do {
                defer { #expect(throws: Never.self) { try type.destroy(root, configuration) } }
                try type.build(root, configuration)
                try body(try type.init(root, configuration), pool, "\(pool)/lamina-7e57beef")
            }
            #expect(try zfsDatasets(below: pool) == [pool])
        }
    }
}
