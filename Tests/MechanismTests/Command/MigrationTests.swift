import Fixtures
import Foundation
import Glibc
import Lamina
import SystemPackage
import Testing

@testable import LayerStore

/// `lamina migrate`: layers go from driver to driver as they are, or stay where they are.
@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct MigrationTests {
    /// From every driver that this machine has to every other; in the guest, where all is slow, to and from those that
    /// only it has.
    static let ways: [(CommandGround, CommandGround)] = {
        if TestHost.isGuest {
            return [(.devicemapper, .vfs), (.btrfs, .devicemapper), (.devicemapper, .zfs), (.zfs, .btrfs)]
                .filter { $0.isThere && $1.isThere }
        }
        let here = CommandGround.here
        return here.flatMap { from in here.filter { $0 != from }.map { (from, $0) } }
    }()

    @Test(arguments: ways) func layersComeThrough(_ from: CommandGround, _ to: CommandGround) throws {
        try from.withRoot(forAll: true) { lamina in
            try fill(lamina.root, limited: from.holdsLimits && to.holdsLimits)
            let (layers, pictures) = (try lamina("layer", "ls", "--json").output, try pictures(of: lamina.root))
            let moved = try lamina.run(["migrate", "--to", to.rawValue, "--json"] + to.backing)
            #expect(moved.status == 0, "\(moved.error)")
            #expect(moved.value("layers") == "4" && moved.value("from") == from.rawValue, "\(moved.output)")
            #expect(moved.error == "")

            #expect(try lamina("layer", "ls", "--json").output == layers)
            let now = try self.pictures(of: lamina.root)
            for (name, picture) in pictures {
                #expect(now[name]?.differences(from: picture) == [], "\(name)")
            }
            #expect(readText(lamina.root + "/driver") == "\(to.rawValue)\n\(from.rawValue)\n")
            let info = try lamina("info", "--json")
            #expect(info.value("driver") == to.rawValue)
            #expect(info.value("migration")?.contains("--remove-old") == true)
            let again = try lamina.run(["migrate", "--to", from.rawValue] + from.backing)
            #expect(again.status == 1 && again.error.contains("--remove-old"), "\(again.error)")

            // It is a root as any other: what is committed cannot be written, and what is active can.
            let view = String(try lamina("layer", "mount", "look").output.dropLast())
            #expect(throws: SystemError.self) { try writeText("x", to: view + "/plain") }
            #expect(try lamina("layer", "umount", "look").status == 0)
            let target = String(try lamina("layer", "mount", "work").output.dropLast())
            try writeText("new", to: target + "/new")
            #expect(try lamina("layer", "umount", "work").status == 0)
            #expect(try lamina("layer", "commit", "work").status == 0)
            let next = try lamina("layer", "create", "next", "--parent", "work", "--json")
            #expect(next.status == 0, "\(next.error)")

            #expect(try lamina("migrate", "--remove-old").status == 0)
            #expect(!exists("\(lamina.root)/\(from.rawValue)"))
            #expect(try lamina("info", "--json").value("migration") == nil)
            #expect(readText(lamina.root + "/driver") == to.rawValue + "\n")
            #expect(try lamina("migrate", "--remove-old").status == 1)
            #expect(try lamina("layer", "changes", "work").output.contains("A /new\n"))
        }
    }

    /// Kills migrations at random moments, the layers changing in between; what comes out in the end is what was there.
    @Test(arguments: ways) func killedMigrationsGoOn(_ from: CommandGround, _ to: CommandGround) throws {
        // Emulated, a command takes twenty times as long.
        let (rounds, longest) = TestHost.isGuest ? (4, 6_000_000) : (10, 400_000)
        try from.withRoot(forAll: true) { lamina in
            try fill(lamina.root, limited: false)
            let arguments = ["migrate", "--to", to.rawValue] + to.backing
            var cut = 0
            for round in 0..<rounds {
                let process = try lamina.start(arguments)
                usleep(UInt32.random(in: 0...UInt32(longest)))
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                if try lamina("info", "--json").value("driver") == to.rawValue {
                    #expect(try lamina("migrate", "--remove-old").status == 0)
                    #expect(try lamina.run(["migrate", "--to", from.rawValue] + from.backing).status == 0)
                    #expect(try lamina("migrate", "--remove-old").status == 0)
                } else {
                    cut += 1
                }
                // The root goes on living.
                let name = "round-\(round)"
                #expect(try lamina("layer", "create", name, "--parent", "base").status == 0)
                let target = String(try lamina("layer", "mount", name).output.dropLast())
                try writeText("\(round)", to: target + "/round")
                #expect(try lamina("layer", "umount", name).status == 0)
                if round % 2 == 0 { #expect(try lamina("layer", "commit", name).status == 0) }
                if round % 3 == 2 { #expect(try lamina("layer", "rm", "round-\(round - 1)").status == 0) }
            }
            #expect(cut > 0)
            let (layers, pictures) = (try lamina("layer", "ls", "--json").output, try pictures(of: lamina.root))
            let moved = try lamina.run(arguments)
            #expect(moved.status == 0, "\(moved.error)")
            #expect(try lamina("layer", "ls", "--json").output == layers)
            let now = try self.pictures(of: lamina.root)
            for (name, picture) in pictures {
                #expect(now[name]?.differences(from: picture) == [], "\(name)")
            }
            // Nothing but the layers.
            let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
            let trees = try store.layers().filter { $0.kind != .view }.map(\.number)
            #expect(try Set(store.driver.objects()) == Set(trees))
        }
    }

    @Test(arguments: CommandGround.here) func mountedLayersAreRefused(_ ground: CommandGround) throws {
        let to: CommandGround = ground == .vfs ? .btrfs : .vfs
        guard CommandGround.here.contains(to) else { return }
        try ground.withRoot { lamina in
            for name in ["mounted", "activated", "idle"] {
                #expect(try lamina("layer", "create", name).status == 0)
            }
            #expect(try lamina("layer", "mount", "mounted").status == 0)
            #expect(try lamina("layer", "mounts", "activated").status == 0)
            let refused = try lamina.run(["migrate", "--to", to.rawValue] + to.backing)
            #expect(refused.status == 1)
            #expect(refused.error.contains("mounted, activated") && !refused.error.contains("idle"), "\(refused.error)")
            #expect(!exists("\(lamina.root)/\(to.rawValue)"))
            #expect(try lamina("info", "--json").value("migration") == nil)
        }
    }

    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func withoutRoomNothingIsLost() throws {
        try CommandGround.vfs.withRoot { lamina in
            try fillBeyond150Megabytes(lamina)
            let layers = try lamina("layer", "ls", "--json").output
            let full = try lamina("migrate", "--to", "btrfs", "--loop", "150M", "--json")
            #expect(full.status == 1 && full.error.contains("\"resourceExhausted\""), "\(full.error)")
            #expect(full.error.contains("large") && full.error.contains("--cancel"), "\(full.error)")
            #expect(try lamina("info", "--json").value("migration")?.contains("2 committed") == true)
            #expect(try lamina("layer", "ls", "--json").output == layers)
            // The same again fails again; another wish is not mixed with it.
            #expect(try lamina("migrate", "--to", "btrfs").status == 1)
            let other = try lamina("migrate", "--to", "btrfs", "--loop", "1G")
            #expect(other.status == 1 && other.error.contains("under way"), "\(other.error)")
            #expect(try lamina("migrate", "--remove-old").status == 1)
            #expect(try lamina("migrate", "--cancel").status == 0)
            #expect(try lamina("migrate", "--cancel").status == 1)
            #expect(!exists(lamina.root + "/btrfs.img") && !exists(lamina.root + "/btrfs"))
            #expect(try lamina("migrate", "--to", "btrfs", "--loop", "512M").status == 0)
            #expect(try lamina("layer", "changes", "large").output.contains("A /159\n"))
        }
    }

    /// What was copied and is removed before the migration goes on is gone from the new driver too.
    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func whatGoesMeanwhileDoesNotComeBack() throws {
        try CommandGround.vfs.withRoot { lamina in
            try fillBeyond150Megabytes(lamina)
            #expect(try lamina("migrate", "--to", "btrfs", "--loop", "150M").status == 1)
            #expect(directoryNames(lamina.root + "/btrfs/layers")?.count == 2)
            #expect(try lamina("layer", "rm", "large", "child").status == 0)
            #expect(try lamina("layer", "create", "other", "--parent", "small").status == 0)
            #expect(try lamina("layer", "commit", "other").status == 0)
            let moved = try lamina("migrate", "--to", "btrfs", "--json")
            #expect(moved.value("layers") == "2", "\(moved.error)")
            #expect(directoryNames(lamina.root + "/btrfs/layers")?.count == 2)
            #expect(try lamina("layer", "tree").output == "small\n└─ other\n")
        }
    }

    /// Others make and remove layers while the migration runs: it loses none, and they notice nothing of it.
    @Test(arguments: ways) func theRootIsUsedMeanwhile(_ from: CommandGround, _ to: CommandGround) throws {
        let rounds = TestHost.isGuest ? 2 : 8
        try from.withRoot(forAll: true) { lamina in
            try fill(lamina.root, limited: false)
            let tar = lamina.root + "/../one.tar"
            try writeText("one", to: lamina.root + "/../one")
            try #require(Program("tar")).run(["-C", lamina.root + "/..", "-cf", tar, "one"], on: tar)
            let migration = try lamina.start(["migrate", "--to", to.rawValue] + to.backing)
            let failures = concurrently(3) { index in
                for round in 0..<rounds {
                    var commands = [["layer", "import", "\(index)-\(round)", tar, "--parent", "base"]]
                    if round % 2 == 1 { commands.append(["layer", "rm", "\(index)-\(round - 1)"]) }
                    for arguments in commands {
                        let result = try lamina.run(arguments)
                        if result.status != 0 { throw StorageError(.internal, "run", "\(arguments)", result.error) }
                    }
                }
            }
            migration.waitUntilExit()
            #expect(failures == [])
            #expect(migration.terminationStatus == 0)
            #expect(try lamina("info", "--json").value("driver") == to.rawValue)
            for index in 0..<3 {
                for round in 0..<rounds {
                    let changes = try lamina("layer", "changes", "\(index)-\(round)")
                    let isThere = round % 2 == 1 || round == rounds - 1 && rounds % 2 == 1
                    #expect(isThere ? changes.output == "A /one\n" : changes.status == 1, "\(changes)")
                }
            }
            let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
            let trees = try store.layers().filter { $0.kind != .view }.map(\.number)
            #expect(try Set(store.driver.objects()) == Set(trees))
            unlink(tar)
            unlink(lamina.root + "/../one")
        }
    }

    /// Two small committed layers, and a large one.
    private func fillBeyond150Megabytes(_ lamina: LaminaTool) throws {
        for (name, parent) in [("small", nil), ("child", "small"), ("large", "small")] as [(String, String?)] {
            let made = try lamina.run(["layer", "create", name] + (parent.map { ["--parent", $0] } ?? []))
            try #require(made.status == 0, "\(made.error)")
            if name == "large" {
                let target = String(try lamina("layer", "mount", name).output.dropLast())
                let megabyte = Data((0..<1 << 20).map { _ in UInt8.random(in: .min ... .max) })
                for index in 0..<160 { try megabyte.write(to: URL(fileURLWithPath: "\(target)/\(index)")) }
                #expect(try lamina("layer", "umount", name).status == 0)
            }
            #expect(try lamina("layer", "commit", name).status == 0)
        }
    }

    /// `deinit` knows of both drivers, in the middle of a migration and after it.
    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func deinitTakesBothDown() throws {
        for isDone in [false, true] {
            try CommandGround.vfs.withRoot { lamina in
                try fill(lamina.root, limited: false)
                if isDone {
                    #expect(try lamina("migrate", "--to", "btrfs", "--loop", "512M").status == 0)
                    return
                }
                for delay: UInt32 in [20_000, 60_000, 100_000, 200_000] {
                    let process = try lamina.start(["migrate", "--to", "btrfs", "--loop", "512M"])
                    usleep(delay)
                    kill(process.processIdentifier, SIGKILL)
                    process.waitUntilExit()
                }
            }
        }
    }

    @Test func whatMakesNoSenseIsRefused() throws {
        try CommandGround.vfs.withRoot { lamina in
            for arguments in [
                ["migrate"], ["migrate", "--to", "btrfs", "--cancel"], ["migrate", "--cancel", "--remove-old"],
                ["migrate", "--cancel", "--loop", "1G"], ["migrate", "--to", "btrfs", "--loop", "1G", "--pool", "x"],
            ] {
                #expect(try lamina.run(arguments).status == 2, "\(arguments)")
            }
            let before = directoryNames(lamina.root)?.sorted()
            for arguments in [
                ["migrate", "--to", "vfs"], ["migrate", "--to", "nothing"], ["migrate", "--remove-old"],
                ["migrate", "--to", "btrfs", "--pool", "x"], ["migrate", "--to", "btrfs", "--loop", "1M"],
                ["migrate", "--cancel"], ["migrate", "--to", "btrfs", "--driver", "devicemapper"],
            ] {
                let result = try lamina.run(arguments)
                #expect(result.status == 1, "\(arguments)")
                #expect(result.error.hasPrefix("lamina: "), "\(arguments): \(result.error)")
                #expect(directoryNames(lamina.root)?.sorted() == before, "\(arguments)")
            }
        }
        try withTemporaryDirectory { directory in
            let result = try LaminaTool(root: directory + "/root")("migrate", "--to", "vfs")
            #expect(result.status == 1 && result.error.contains("no Lamina root"), "\(result.error)")
            #expect(!exists(directory + "/root"))
        }
    }

    /// A driver that does not keep what it is given is found out, and gets no root.
    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func aCopyThatDiffersIsNotTaken() throws {
        try CommandGround.btrfs.withRoot(forAll: true) { lamina in
            try fill(lamina.root, limited: false)
            // In the place of vfs, whose directory it has.
            let drivers = DriverRegistry.drivers.filter { $0.name != "vfs" } + [ForgetfulDriver.self]
            let pictures = try pictures(of: lamina.root)
            let migration = Migration(path: lamina.root, drivers: drivers)
            let error = #expect(throws: StorageError.self) {
                _ = try migration.run(to: ForgetfulDriver.self, options: DriverOptions())
            }
            #expect(error?.kind == .dataLoss && error?.object == "base", "\(String(describing: error))")
            #expect(try self.pictures(of: lamina.root, drivers) == pictures)
            #expect(try migration.cancel() == "forgetful")
            #expect(!exists(lamina.root + "/vfs"))
        }
    }

    /// Three committed layers and an active one with data that nobody has flushed, and a view.
    private func fill(_ root: String, limited: Bool) throws {
        let store = try LayerStore(path: root, drivers: DriverRegistry.drivers)
        func edit(_ name: String, _ body: (FileDescriptor) throws -> Void) throws {
            try store.driver.withTree(store.layer(LayerName(name)).number) { try body($0) }
        }
        let (base, middle, top) = (try LayerName("base"), try LayerName("middle, 50% größer"), try LayerName("top"))
        try store.create(base, labels: ["a": "b", "line": "one\ntwo"])
        try edit("base") { try RichTree.make(in: $0) }
        try store.commit(base)
        try store.create(middle, parent: base, limit: limited ? 2 << 30 : nil)
        try edit(middle.text) { root in
            try root.removeEntry(EntryName("fifo"))
            try root.removeEntry(EntryName("sticky"))
            try write("in place of a directory", to: "sticky", in: root)
            try root.makeLink(EntryName("another link"), to: EntryName("capable"), in: root)
            try write("changed\n", to: "plain", in: root)
        }
        try store.commit(middle)
        try store.create(top, parent: middle, labels: ["k": ""])
        try edit("top") { root in
            try root.removeEntry(EntryName("setgid"))
            try root.setExtendedAttribute("user.root", [8], of: .itself)
        }
        try store.commit(top)
        try store.create(LayerName("work"), parent: middle)
        try edit("work") { root in
            try write("not flushed", to: "late", in: root)
            try root.setModified(.init(seconds: 1, nanoseconds: 2), of: .itself)
        }
        try store.view(LayerName("look"), parent: top, labels: ["of": "top"])
    }

    /// What a reader sees of each layer that has a tree.
    private func pictures(
        of root: String, _ drivers: [any StorageDriver.Type] = DriverRegistry.drivers
    ) throws -> [String: TreePicture] {
        let store = try LayerStore(path: root, drivers: drivers)
        var pictures: [String: TreePicture] = [:]
        for layer in try store.layers() where layer.kind != .view {
            pictures[layer.name.text] = try store.driver.withTree(layer.number, readOnly: true) {
                // ext4's own, made with the filesystem.
                try TreePicture($0).without(paths: ["/lost+found"])
            }
        }
        return pictures
    }
}

/// vfs, but a file is lost at each commit.
private struct ForgetfulDriver: StorageDriver {
    static let name = "forgetful"
    private static let real = DriverRegistry.drivers.first { $0.name == "vfs" }!
    private let driver: any StorageDriver

    static func assess(_ host: HostFacts) -> DriverAssessment { real.assess(host) }
    static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration { try real.plan(root, options) }
    static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try real.build(root, configuration)
    }
    static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try real.destroy(root, configuration)
    }
    init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        driver = try Self.real.init(root, configuration)
    }
    func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        try driver.create(layer, from: parent, limit: limit)
    }
    func commit(_ layer: LayerNumber) throws(StorageError) {
        unlink(driver.objectName(layer) + "/plain")
        try driver.commit(layer)
    }
    func reopen(_ layer: LayerNumber) throws(StorageError) { try driver.reopen(layer) }
    func remove(_ layer: LayerNumber) throws(StorageError) { try driver.remove(layer) }
    func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        try driver.mounts(layer, readOnly: readOnly)
    }
    func release(_ layer: LayerNumber) throws(StorageError) { try driver.release(layer) }
    func deactivate(_ layer: LayerNumber) throws(StorageError) { try driver.deactivate(layer) }
    func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage { try driver.usage(layer) }
    func objects() throws(StorageError) -> [LayerNumber] { try driver.objects() }
    func objectName(_ layer: LayerNumber) -> String { driver.objectName(layer) }
    func status() throws(StorageError) -> DriverStatus { try driver.status() }
}
