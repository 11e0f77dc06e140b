import CLinux
import Fixtures
import Foundation
import Glibc
import Lamina
import LinuxSystem
import OverlayDriver
import SystemPackage
import Testing

/// What is overlayfs's own: tall stacks, one overlay for all users of a layer, marks in upper directories.
@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct OverlayDriverTests {
    private let base = LayerNumber(1)
    private let top = LayerNumber(2)

    private func withDriver(
        _ ground: Ground = .overlayExt4, _ body: (OverlayDriver, RootLocation) throws -> Void
    ) throws {
        try ground.withRoot { driver, root in try body(#require(driver as? OverlayDriver), root) }
    }

    /// A committed layer that `fill` has filled, and an active one on it.
    private func makeTwo(_ driver: OverlayDriver, _ fill: (FileDescriptor) throws -> Void) throws {
        try driver.create(base, from: nil, limit: nil)
        try driver.withTree(base, fill)
        try driver.commit(base)
        try driver.create(top, from: base, limit: nil)
    }

    /// What the driver's hints give for `top` and its parent, and what the walk does.
    private func changes(_ driver: OverlayDriver) throws -> (told: [String]?, walked: [String]) {
        try driver.withTree(base, readOnly: true) { old in
            try driver.withTree(top, readOnly: true) { new in
                func text(_ changes: [Change]) -> [String] {
                    changes.map { "\($0.kind.rawValue) \(TreePicture.escaped($0.path))" }
                }
                let touched = try driver.touched(LayerTree(top, new), since: LayerTree(base, old))
                let told = try touched.map { try LayerArchive.changes(from: old, to: new, touched: $0) }
                return (told.map(text), text(try LayerArchive.changes(from: old, to: new)))
            }
        }
    }

    /// In the emulated guest once, for the other way to mount.
    @Test(arguments: TestHost.isGuest ? [.overlayExt4] : Ground.here.filter { $0.rawValue.hasPrefix("overlay2") })
    func fiveHundredLayersAreMounted(_ ground: Ground) throws {
        try withDriver(ground) { driver, root in
            let height = UInt64(OverlayDriver.deepestChain)
            #expect(height == 500)
            // Numbers as a root has them after two thousand million layers.
            let first: UInt64 = 2_000_000_000
            for number in first..<first + height {
                let layer = LayerNumber(number)
                try driver.create(layer, from: number == first ? nil : LayerNumber(number - 1), limit: nil)
                if number % 100 == 0 {
                    try driver.withTree(layer) { try write("\(number)", to: "file-\(number)", in: $0) }
                }
                if number < first + height - 1 { try driver.commit(layer) }
            }
            let highest = LayerNumber(first + height - 1)
            try driver.withTree(highest) { tree throws in
                #expect(try tree.entries().count == 5)
                #expect(try read("file-\(first)", in: tree) == "\(first)")
                try tree.removeEntry(EntryName("file-\(first)"))
            }
            try driver.commit(highest)
            // All of them as lower directories.
            try driver.withTree(highest, readOnly: true) { root throws in #expect(try root.entries().count == 4) }
            let error = #expect(throws: StorageError.self) {
                try driver.create(LayerNumber(first + height), from: highest, limit: nil)
            }
            #expect(error?.kind == .failedPrecondition)
            #expect(error?.message.contains("500") == true)
            #expect(try driver.objects().count == Int(height))
        }
    }

    @Test func allUsersOfALayerHaveOneOverlay() throws {
        try withDriver { driver, root in
            try makeTwo(driver) { try write("below", to: "file", in: $0) }
            let places = ["reader", "writer", "another"].map { root.path + "/" + $0 }
            for place in places { try makeDirectory(place) }
            let readOnly = try driver.mounts(top, readOnly: true)
            #expect(readOnly.count == 1 && readOnly[0].type == "bind" && readOnly[0].isReadOnly)
            try DetachedMount(readOnly[0]).attach(to: places[0])
            #expect(throws: SystemError.self) { try writeText("", to: places[0] + "/new") }
            for place in places[1...] {
                try DetachedMount(try driver.mounts(top, readOnly: false)[0]).attach(to: place)
            }
            try writeText("above", to: places[1] + "/file")
            #expect(readText(places[0] + "/file") == "above")
            #expect(readText(places[2] + "/file") == "above")
            #expect(throws: SystemError.self) { try writeText("", to: places[0] + "/new") }
            // What is mounted below one of them is its own.
            try makeDirectory(places[1] + "/below")
            try DetachedMount(Mount(type: "tmpfs", source: "none", options: [])).attach(to: places[1] + "/below")
            #expect(MountTable.current().entries.filter { $0.target.hasSuffix("/below") }.count == 1)
            try unmount(places[1] + "/below")

            // Released, it stays with those who have it, and nobody takes it away from them; who comes later has the same.
            try driver.release(top)
            #expect(readText(places[2] + "/file") == "above")
            try unmount(places[1])
            try unmount(places[2])
            for place in places[1...] {
                try DetachedMount(try driver.mounts(top, readOnly: false)[0]).attach(to: place)
            }
            try writeText("later", to: places[1] + "/file")
            #expect(readText(places[0] + "/file") == "later")
            let error = #expect(throws: StorageError.self) { try driver.commit(top) }
            #expect(error?.errno == .resourceBusy)
            for place in places {
                try unmount(place)
                rmdir(place)
            }
            try driver.commit(top)
        }
    }

    /// A container that is still running when its mounts are gone here.
    @Test func useInAnotherMountNamespaceIsSeen() throws {
        try withDriver { driver, root in
            try makeTwo(driver) { _ in }
            _ = try driver.mounts(top, readOnly: false)
            let ready = root.path + "/ready"
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
            process.arguments = ["-m", "--propagation", "private", "sh", "-c", "touch \(ready); exec sleep 60"]
            process.standardInput = FileHandle.nullDevice
            try process.run()
            defer { process.waitUntilExit() }
            do {
                defer { kill(process.processIdentifier, SIGKILL) }
                #expect(eventually { exists(ready) })
                try driver.release(top)
                let mount: (LayerNumber) throws -> Void = { _ = try driver.mounts($0, readOnly: true) }
                for refused in [driver.commit, driver.remove, driver.deactivate, mount] {
                    let error = #expect(throws: StorageError.self) { try refused(top) }
                    #expect(error?.errno == .resourceBusy && error?.kind == .failedPrecondition)
                    #expect(error?.hint?.contains("mountinfo") == true)
                }
            }
            process.waitUntilExit()
            unlink(ready)
            try driver.commit(top)
            try driver.withTree(top, readOnly: true) { root throws in #expect(try root.entries() == []) }
        }
    }

    @Test func aCommittedLayerIsNeverWritable() throws {
        try withDriver { driver, root in
            try makeTwo(driver) { try write("before", to: "file", in: $0) }
            let mounts = try driver.mounts(base, readOnly: false)
            #expect(mounts[0].isReadOnly)
            let merged = mounts[0].source
            #expect(throws: SystemError.self) { try writeText("after", to: merged + "/file") }
            #expect(throws: SystemError.self) { try reconfigureFilesystem(merged, "rw") }
            let entry = try #require(MountTable.current().entry(at: merged))
            #expect(!entry.superOptions.contains { $0.hasPrefix("upperdir") })
            #expect(entry.source == "lamina-\(root.id)-1")
            try driver.release(base)
            // What a commit cut short has left can be written again.
            try driver.commit(top)
            try driver.reopen(top)
            try driver.withTree(top) { try write("again", to: "file", in: $0) }
        }
    }

    @Test func aCopyOfAnActiveLayerStandsAlone() throws {
        try withDriver { driver, _ in
            try makeTwo(driver) { root throws in
                for name in ["gone", "kept"] { try write(name, to: name, in: root) }
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                try write("old", to: "d/old", in: root)
            }
            try driver.withTree(top) { root throws in
                try root.setPermissions(0o700, of: .itself)
                try root.removeEntry(EntryName("gone"))
                try root.removeEntry(EntryName("d"))
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                try write("new", to: "d/new", in: root)
            }
            let copy = LayerNumber(3)
            try driver.create(copy, from: top, limit: nil)
            let picture = try driver.withTree(top, readOnly: true) { try TreePicture($0) }
            try driver.withTree(copy, readOnly: true) { root throws in
                #expect(try TreePicture(root).differences(from: picture) == [])
            }
            try driver.withTree(copy) { try write("changed", to: "d/new", in: $0) }
            try driver.withTree(top) { root throws in #expect(try read("d/new", in: root) == "new") }
            // While it is mounted, a copy would have a part of what is being written.
            _ = try driver.mounts(top, readOnly: false)
            let error = #expect(throws: StorageError.self) {
                try driver.create(LayerNumber(4), from: top, limit: nil)
            }
            #expect(error?.errno == .resourceBusy)
            try driver.remove(top)
            try driver.withTree(copy) { root throws in #expect(try read("d/new", in: root) == "changed") }
        }
    }

    @Test func namesOfBrokenHardLinksAreTold() throws {
        try withDriver { driver, _ in
            try makeTwo(driver) { root throws in
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                try write("one", to: "one", in: root)
                for name in ["two", "d/three"] { try root.makeLink(EntryName(name), to: EntryName("one"), in: root) }
                try write("other", to: "d/other", in: root)
                try root.makeLink(EntryName("another"), to: EntryName("d/other"), in: root)
            }
            try driver.withTree(top) { root throws in
                try root.removeEntry(EntryName("two"))
                // The kernel goes on to say that there are three names.
                #expect(try root.status(of: EntryName("one")).linkCount == 3)
            }
            var found = try changes(driver)
            #expect(found.walked == ["modified /d/three", "modified /one", "deleted /two"])
            #expect(found.told == found.walked)
            try driver.withTree(top) { try $0.removeEntry(EntryName("d")) }
            found = try changes(driver)
            #expect(found.walked == ["modified /another", "deleted /d", "modified /one", "deleted /two"])
            #expect(found.told == found.walked)
        }
    }

    @Test func onlyWhatChangedIsNamed() throws {
        try withDriver { driver, _ in
            try makeTwo(driver) { root throws in
                for directory in ["a", "b"] {
                    try root.makeDirectory(EntryName(directory), permissions: 0o755)
                    for number in 0..<50 { try write("x", to: "\(directory)/\(number)", in: root) }
                }
            }
            try driver.withTree(top) { try write("y", to: "a/7", in: $0) }
            try driver.withTree(base, readOnly: true) { old in
                try driver.withTree(top, readOnly: true) { new in
                    let touched = try #require(try driver.touched(LayerTree(top, new), since: LayerTree(base, old)))
                    #expect(touched.paths == [Array("a".utf8), Array("a/7".utf8)])
                    #expect(touched.sameDirectories == [Array("a".utf8)])
                }
            }
        }
    }

    @Test func withoutProofTheTreesAreWalked() throws {
        try withDriver { driver, root in
            try makeTwo(driver) { try write("x", to: "file", in: $0) }
            try driver.withTree(top) { try write("y", to: "file", in: $0) }
            #expect(try driver.status().health == .ok)
            let verdict = root.path + "/overlay2/native-diff"
            #expect(readText(verdict)?.hasSuffix(" yes\n") == true)
            try writeText("\(currentBootID()) no\n", to: verdict)
            let found = try changes(driver)
            #expect(found.told == nil)
            #expect(found.walked == ["modified /file"])
            #expect(try driver.status().health == .degraded)
            // Of an earlier boot, it is not believed; what a killed trial has left does not matter.
            try writeText("another no\n", to: verdict)
            try makeDirectories(root.path + "/overlay2/trial/upper/changed")
            #expect(try changes(driver).told == ["modified /file"])
            #expect(readText(verdict) == "\(currentBootID()) yes\n")
        }
    }

    @Test func marksThatTheDriverDoesNotMakeAreNotTrusted() throws {
        try withDriver { driver, root in
            try makeTwo(driver) { root throws in
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                try root.makeDirectory(EntryName("secret"), permissions: 0o700)
                try write("x", to: "secret/file", in: root)
            }
            try driver.withTree(top) { try write("y", to: "d/file", in: $0) }
            // As written past the mount: a directory that claims to be another's.
            let upper = try FileDescriptor.openingDirectory(root.path + "/overlay2/layers/2/diff")
            defer { upper.closeQuietly() }
            try upper.setExtendedAttribute("trusted.overlay.redirect", Array("/secret".utf8), of: EntryName("d"))
            try driver.withTree(top, readOnly: true) { root throws in
                let shown = try? root.openDirectory(beneath: Array("d".utf8)).closing { try $0.entries() }
                #expect(shown?.contains(EntryName("file")) != true || shown?.count == 1)
                try driver.withTree(base, readOnly: true) { old throws in
                    #expect(try driver.touched(LayerTree(top, root), since: LayerTree(base, old)) == nil)
                }
            }
        }
    }

    @Test func notesOfOverlayfsAreNoPartOfLayers() throws {
        try withDriver { driver, _ in
            try makeTwo(driver) { root throws in
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                // Some kernels refuse it, others keep it under another name: no reader of a layer gets it.
                try? root.setExtendedAttribute("trusted.overlay.opaque", Array("y".utf8), of: EntryName("d"))
                try write("x", to: "d/file", in: root)
            }
            try driver.withTree(top) { root throws in
                #expect(try read("d/file", in: root) == "x")
                try write("y", to: "d/file", in: root)
            }
            let found = try changes(driver)
            #expect(found.walked == ["modified /d/file"])
            #expect(found.told == found.walked)
        }
    }

    @Test func aWhiteoutsDeviceIsRefusedWithAReason() throws {
        try withDriver { driver, root in
            try driver.create(base, from: nil, limit: nil)
            let file = root.path + "/tar"
            // Device numbers of a member that names none are 0 and 0.
            try Data(tar([Member(name: "null", type: "3")])).write(to: URL(fileURLWithPath: file))
            let error = try driver.withTree(base) { root in
                #expect(throws: StorageError.self) { try applyTar(file, onto: root) }
            }
            #expect(error?.kind == .unimplemented)
            #expect(error?.message.contains("0:0") == true)
            unlink(file)
        }
    }

    @Test(
        .enabled(if: TestHost.hasExt4Quota && TestHost.hasXFSQuota, "the kernel has no ext4 and xfs with quotas"),
        arguments: [Ground.overlayExt4, .overlayXFS])
    func aLimitCountsWhatIsBelow(_ ground: Ground) throws {
        try withDriver(ground) { driver, root in
            try makeTwo(driver) { root throws in
                try write(String(repeating: "x", count: 1 << 20), to: "file", in: root)
                try root.makeDirectory(EntryName("d"), permissions: 0o755)
                for name in ["d/changed", "d/gone"] { try write("below", to: name, in: root) }
            }
            let child = LayerNumber(3)
            let error = #expect(throws: StorageError.self) { try driver.create(child, from: base, limit: 1 << 20) }
            #expect(error?.kind == .invalidArgument)
            #expect(try driver.objects().count == 2)
            try driver.create(child, from: base, limit: 2 << 20)
            try driver.withTree(child) { root throws in
                // What overlayfs copies and marks is made in its work directory: under the same limit.
                try root.setPermissions(0o600, of: EntryName("d/changed"))
                try root.removeEntry(EntryName("d/gone"))
                try write(String(repeating: "y", count: 1 << 19), to: "new", in: root)
                let error = #expect(throws: SystemError.self) {
                    try write(String(repeating: "z", count: 1 << 20), to: "too much", in: root)
                }
                #expect(error?.errno == (ground == .overlayXFS ? .noSpace : .diskQuotaExceeded))
                // What is full can be made emptier.
                try root.removeEntry(EntryName("too much"))
                try root.removeEntry(EntryName("new"))
                try write(String(repeating: "y", count: 1 << 19), to: "another", in: root)
            }
            // The limit goes with the layer.
            let directory = try FileDescriptor.openingDirectory(root.path + "/overlay2/layers/3")
            let project = try #require(directory.closing { ProjectQuota(of: $0) })
            try driver.remove(child)
            let other = root.path + "/other"
            try makeDirectory(other)
            try FileDescriptor.openingDirectory(other).closing { other in
                try check(lam_set_project(other.rawValue, project.id), "set project", "other")
                try write(String(repeating: "z", count: 4 << 20), to: "file", in: other)
            }
            removeTree(other)
        }
    }

    @Test func whereItCannotWorkNothingIsMade() throws {
        func refused(at path: String, _ options: DriverOptions = DriverOptions()) -> StorageError? {
            #expect(throws: StorageError.self) {
                try Root.initialize(
                    path: path, driver: OverlayDriver.self, options: options, drivers: DriverRegistry.drivers)
            }
        }
        try withTemporaryDirectory { directory in
            let path = directory + "/root"
            for backing in [
                DriverOptions.Backing.loop(bytes: 1 << 30), .pool("pool"), .devices(data: "/", metadata: nil),
            ] {
                #expect(refused(at: path, DriverOptions(backing: backing))?.kind == .invalidArgument)
            }
            #expect(refused(at: path, DriverOptions(filesystem: "xfs"))?.kind == .invalidArgument)
            #expect(!exists(path))
        }
        try withFilesystem("ext4", size: 32 << 20, makeArguments: ["-O", "^filetype"]) { mounted in
            let error = refused(at: mounted + "/root")
            #expect(error?.kind == .failedPrecondition && error?.message.contains("d_type") == true)
            #expect(directoryNames(mounted) == ["lost+found"])
            #expect(HostReader.facts(for: mounted + "/root").filesystem.hasEntryTypes == false)
        }
        try withDriver { driver, root in
            try driver.create(base, from: nil, limit: nil)
            let target = root.path + "/target"
            try makeDirectory(target)
            try DetachedMount(try driver.mounts(base, readOnly: false)[0]).attach(to: target)
            let error = refused(at: target + "/root")
            #expect(error?.kind == .failedPrecondition && error?.message.contains("overlay") == true)
            #expect(directoryNames(target) == [])
            try unmount(target)
            rmdir(target)
        }
    }

    @Test func aRootWithAMountedLayerStays() throws {
        try withDriver { driver, root in
            try driver.create(base, from: nil, limit: nil)
            let target = root.path + "/target"
            try makeDirectory(target)
            try DetachedMount(try driver.mounts(base, readOnly: false)[0]).attach(to: target)
            let error = #expect(throws: StorageError.self) { try OverlayDriver.destroy(root, [:]) }
            #expect(error?.kind == .failedPrecondition)
            #expect(try driver.objects() == [base])
            try unmount(target)
            rmdir(target)
        }
    }

    /// Nothing more can be written, but what is there can be looked at and removed.
    @Test(arguments: [Ground.overlayExt4, .overlayXFS]) func aFullDiskIsNoTrap(_ ground: Ground) throws {
        try withDriver(ground) { driver, root in
            try makeTwo(driver) { try write("kept", to: "file", in: $0) }
            let piece = [UInt8](repeating: 7, count: 1 << 20)
            func fill(_ name: String, in directory: FileDescriptor) throws {
                var size = piece.count
                while size > 0 {
                    do {
                        let file = try directory.openBeneath(
                            name, .writeOnly, flags: O_CREAT | O_APPEND, permissions: 0o600)
                        defer { file.closeQuietly() }
                        while true { try piece[..<size].withUnsafeBytes { try file.writeFully($0, to: name) } }
                    } catch let error as SystemError {
                        guard error.errno == .noSpace else { throw error }
                    }
                    size /= 2
                }
            }
            try driver.withTree(top) { try fill("large", in: $0) }
            // overlayfs leaves the superuser's reserve alone.
            try FileDescriptor.openingDirectory(root.path).closing { try fill("rest", in: $0) }
            for number in 10..<UInt64(1000) {
                do throws(StorageError) {
                    try driver.create(LayerNumber(number), from: base, limit: nil)
                } catch {
                    #expect(error.kind == .resourceExhausted && error.errno == .noSpace)
                    break
                }
            }
            let made = try driver.objects()
            #expect(made.count < 900)
            try driver.withTree(base, readOnly: true) { root throws in #expect(try read("file", in: root) == "kept") }
            try driver.withTree(top, readOnly: true) { root throws in
                #expect(try root.status(of: EntryName("large")).size > 1 << 20)
            }
            for layer in made where layer != base { try driver.remove(layer) }
            // xfs frees the space of what is removed a moment later.
            #expect(eventually { (try? driver.create(top, from: base, limit: nil)) != nil })
            unlink(root.path + "/rest")
        }
    }

    /// Kills commands that have a layer mounted for their own use: the next command unmounts it.
    @Test func killedReadersLeaveNoMounts() throws {
        try CommandGround.overlay2.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "base").status == 0)
            #expect(try lamina("layer", "commit", "base").status == 0)
            #expect(try lamina("layer", "create", "top", "--parent", "base").status == 0)
            func mounts() -> [String] {
                MountTable.current().entries.map(\.target).filter { $0.hasPrefix(lamina.root) }
            }
            var seen = 0
            for round in 0..<(TestHost.isGuest ? 6 : 60) {
                let mounting = round % 2 == 0
                let process = try lamina.start(["layer", mounting ? "mount" : "changes", "top"])
                usleep(UInt32.random(in: 0...UInt32(TestHost.isGuest ? 1_500_000 : 60_000)))
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                seen += mounts().isEmpty ? 0 : 1
                #expect(try lamina("layer", "ls").status == 0)
                // One that was done before it was killed.
                if try lamina("layer", "inspect", "top", "--json").output.contains("\"target\"") {
                    #expect(try lamina("layer", "umount", "top").status == 0)
                }
                #expect(mounts() == [])
            }
            print("of the killed commands, \(seen) had mounts")
        }
    }
}
