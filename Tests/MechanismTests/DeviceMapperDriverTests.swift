import DeviceMapperDriver
import Fixtures
import Glibc
import Lamina
import SystemPackage
import Testing
import ThinPool

/// What the driver finds after a kill or a reboot, and what it leaves alone.
@Suite(.serialized, .enabled(if: TestHost.hasDeviceMapper, "the kernel has no device-mapper"))
struct DeviceMapperDriverTests {
    private let layer = LayerNumber(1)
    private let child = LayerNumber(2)

    /// A root that is planned and not built, taken down after `body`.
    private func withPlan(
        _ backing: DriverOptions.Backing = .loop(bytes: 256 << 20),
        _ body: (RootLocation, DriverConfiguration) throws -> Void
    ) throws {
        try withTemporaryDirectory { directory in
            let root = RootLocation(path: directory, id: "d317" + String(UInt16.random(in: 0x1000...0xFFFF), radix: 16))
            let configuration = try DeviceMapperDriver.plan(root, DriverOptions(backing: backing))
            defer {
                #expect(throws: Never.self) { try DeviceMapperDriver.destroy(root, configuration) }
                #expect((try? DeviceMapper.names().filter { $0.contains(root.id) }) == [])
            }
            try body(root, configuration)
        }
    }

    /// A linear device over a part of a disk, which may be made again over another part.
    private func map(_ name: String, to device: String, from start: UInt64 = 0, bytes: UInt64, uuid: String) throws {
        try DeviceMapper.create(
            name, uuid: uuid,
            [DMTarget(length: bytes / 512, type: "linear", parameters: "\(device) \(start / 512)")])
    }

    /// As a reboot does: no device of the root is there any more, its files are.
    private func takeDown(_ root: RootLocation) throws {
        let names = try DeviceMapper.names().filter { $0.hasPrefix("lamina-\(root.id)-") }
        let below = ["-pool", "-data", "-metadata"]
        for name in names where !below.contains(where: name.hasSuffix) { try DeviceMapper.remove(name) }
        // What goes by itself may have the pool for a moment.
        for end in below {
            try patiently { () throws(SystemError) in try DeviceMapper.remove("lamina-\(root.id)\(end)") }
        }
    }

    /// A committed layer with a file to be found again.
    private func commitLayer(_ driver: DeviceMapperDriver) throws {
        try driver.create(layer, from: nil, limit: nil)
        try driver.withTree(layer) { try write("kept", to: "file", in: $0) }
        try driver.commit(layer)
    }

    /// What is left to the kernel to be removed is in nobody's way: neither of what follows at once, nor of the pool's end.
    @Test func whatGoesByItselfIsInNobodysWay() throws {
        // Of a named pool nothing is discarded before it is deleted.
        try withPool(megabytes: 256) { _, pool in
            try withPlan(.pool(pool.name)) { root, configuration in
                try DeviceMapperDriver.build(root, configuration)
                let driver = try DeviceMapperDriver(root, configuration)
                for _ in 0..<10 {
                    try commitLayer(driver)
                    // From its commit on, nobody can write to it.
                    if let info = try DeviceMapper.info(driver.objectName(layer)) { #expect(info.isReadOnly) }
                    try driver.create(child, from: layer, limit: nil)
                    _ = try driver.mounts(child, readOnly: false)
                    try driver.release(child)
                    _ = try driver.mounts(child, readOnly: false)
                    try driver.release(child)
                    #expect(eventually { (try? DeviceMapper.info(driver.objectName(child))) == .some(nil) })
                    try driver.withTree(child) { try write("more", to: "another", in: $0) }
                    try driver.commit(child)
                    try driver.deactivate(child)
                    for layer in [child, layer] { try driver.remove(layer) }
                    #expect(try driver.objects() == [])
                }
                try commitLayer(driver)
            }
        }
    }

    /// The kernel removes one device after the other: until it comes to a layer's, that is there and not active.
    @Test func whatTheKernelHasYetToRemoveIsNotActive() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            let layers = (1...8).map { LayerNumber($0) }
            for layer in layers { try driver.create(layer, from: nil, limit: nil) }
            for (index, layer) in layers.enumerated() {
                let copy = LayerNumber(UInt64(100 + index))
                for layer in layers { _ = try driver.mounts(layer, readOnly: false) }
                for layer in layers { try driver.release(layer) }
                if index % 2 == 0 {
                    try driver.create(copy, from: layer, limit: nil)
                } else {
                    try driver.snapshot(layer, as: copy)
                    try driver.withTree(copy, readOnly: true) { _ in }
                }
            }
            #expect(try driver.objects().count == 16)
        }
    }

    /// What uses a layer that was released keeps it while it is copied, and lets it go then as before.
    @Test func whatIsStillUsedIsCopiedAndGoes() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.create(layer, from: nil, limit: nil)
            do {
                let tree = try DetachedMount(driver.mounts(layer, readOnly: false)[0])
                let directory = try tree.openRoot()
                defer { directory.closeQuietly() }
                try driver.release(layer)
                try write("kept", to: "file", in: directory)
                try driver.snapshot(layer, as: child)
                try write("more", to: "another", in: directory)
            }
            try driver.withTree(child, readOnly: true) { root throws in #expect(try read("file", in: root) == "kept") }
            #expect(eventually { (try? DeviceMapper.info(driver.objectName(layer))) == .some(nil) })
        }
    }

    /// A copy of a descriptor in a child that has yet to run its program keeps a device for a moment.
    @Test func whoeverActivatesWaitsForTheLastClose() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.create(layer, from: nil, limit: nil)
            _ = try driver.mounts(layer, readOnly: false)
            let device = try FileDescriptor.opening(DeviceMapper.path(driver.objectName(layer)))
            try driver.release(layer)
            let failures = concurrently(2) { index in
                if index == 1 { return try driver.withTree(layer, readOnly: true) { _ in } }
                usleep(200_000)
                device.closeQuietly()
            }
            #expect(failures == [])
        }
    }

    @Test func aBuildThatDidNotEndIsFinished() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            // As killed before the base was whole: only what it was being made of is there, and active.
            let pool = ThinPool(name: "lamina-\(root.id)-pool")
            try pool.delete(0)
            try pool.createThin(ThinPool.largestID)
            try pool.activate(ThinPool.largestID, as: "lamina-\(root.id)-base", uuid: root.id, bytes: 1 << 30)
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            // One that did end is left as it is, also after a reboot.
            try commitLayer(driver)
            try takeDown(root)
            try DeviceMapperDriver.build(root, configuration)
            #expect(try driver.objects() == [layer])
            try driver.withTree(layer, readOnly: true) { tree throws in
                #expect(try read("file", in: tree) == "kept")
            }
        }
    }

    /// As a snapshot that was killed before it had let go leaves it.
    @Test func aSuspendedLayerGoesOn() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.create(layer, from: nil, limit: nil)
            try driver.withTree(layer) { tree throws in
                try write("before", to: "file", in: tree)
                let device = driver.objectName(layer)
                try DeviceMapper.suspend(device)
                #expect(try DeviceMapper.info(device)?.isSuspended == true)
                try driver.reopen(layer)
                try driver.reopen(layer)
                #expect(try DeviceMapper.info(device)?.isSuspended == false)
                try write("after", to: "file", in: tree)
            }
        }
    }

    @Test func afterARebootSeveralMayOpenAtOnce() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            do {
                let driver = try DeviceMapperDriver(root, configuration)
                try commitLayer(driver)
            }
            for _ in 0..<3 {
                try takeDown(root)
                #expect(concurrently(6) { _ in _ = try DeviceMapperDriver(root, configuration).status() } == [])
            }
            try DeviceMapperDriver(root, configuration).withTree(layer, readOnly: true) { tree throws in
                #expect(try read("file", in: tree) == "kept")
            }
        }
    }

    @Test func afterARebootSeveralProcessesMayOpenAtOnce() throws {
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            let before = Set(try DeviceMapper.names())
            #expect(try lamina("init", "--driver", "devicemapper", "--loop", "128M").status == 0)
            #expect(try lamina("layer", "create", "a").status == 0)
            let pools = try DeviceMapper.names().filter { !before.contains($0) }
            #expect(pools.count == 1)
            for pool in pools { try DeviceMapper.remove(pool) }
            let processes = try (0..<6).map { _ in try lamina.start(["layer", "usage", "a"]) }
            for process in processes { process.waitUntilExit() }
            #expect(processes.map(\.terminationStatus) == [0, 0, 0, 0, 0, 0])
            #expect(try lamina("deinit", "--force").status == 0)
        }
    }

    @Test func devicesWithoutATableAreMadeAnew() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            try DeviceMapperDriver(root, configuration).create(layer, from: nil, limit: nil)
            try takeDown(root)
            for part in ["pool", "1"] {
                try DeviceMapper.createWithoutTable("lamina-\(root.id)-\(part)", uuid: "LAMINA-\(root.id)-\(part)")
            }
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.withTree(layer) { try write("x", to: "file", in: $0) }
        }
    }

    @Test func aLayerInUseCanBeMountedAgainAfterItsRelease() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.create(layer, from: nil, limit: nil)
            // Somebody else's mount keeps the device.
            let other = try DetachedMount(try driver.mounts(layer, readOnly: false)[0])
            try driver.release(layer)
            #expect(try DeviceMapper.info(driver.objectName(layer))?.isDeferredRemove == true)
            try driver.withTree(layer) { try write("x", to: "file", in: $0) }
            #expect(try other.openRoot().closing { try read("file", in: $0) } == "x")
        }
    }

    @Test func aDeviceThatGrewKeepsItsLayers() throws {
        try withDevices([512 << 20]) { _, devices in
            let name = "lamina-test-\(UInt32.random(in: 0...UInt32.max))"
            try map(name, to: devices[0], bytes: 128 << 20, uuid: name)
            defer { try? DeviceMapper.remove(name) }
            try withPlan(.devices(data: DeviceMapper.path(name), metadata: nil)) { root, configuration in
                try DeviceMapperDriver.build(root, configuration)
                do {
                    let driver = try DeviceMapperDriver(root, configuration)
                    try commitLayer(driver)
                }
                try takeDown(root)
                try DeviceMapper.remove(name)
                try map(name, to: devices[0], bytes: 512 << 20, uuid: name)
                let driver = try DeviceMapperDriver(root, configuration)
                try driver.withTree(layer, readOnly: true) { tree throws in
                    #expect(try read("file", in: tree) == "kept")
                }
                #expect(try driver.status().space.totalBytes > 400 << 20)
            }
        }
    }

    @Test func anotherDeviceOfTheSameNameIsLeftAlone() throws {
        try withDevices([512 << 20]) { _, devices in
            let name = "lamina-test-\(UInt32.random(in: 0...UInt32.max))"
            try map(name, to: devices[0], bytes: 128 << 20, uuid: name)
            defer { try? DeviceMapper.remove(name) }
            let foreign = [UInt8](repeating: 0x5A, count: 4096)
            for uuid in [name, name + "-other"] {
                try withPlan(.devices(data: DeviceMapper.path(name), metadata: nil)) { root, configuration in
                    try DeviceMapperDriver.build(root, configuration)
                    try takeDown(root)
                    // The disk of somebody else, which has got the name: known by its uuid, or by what is on it.
                    try DeviceMapper.remove(name)
                    try map(name, to: devices[0], from: 256 << 20, bytes: 128 << 20, uuid: uuid)
                    let disk = try BlockDevice(DeviceMapper.path(name), writable: true)
                    try foreign.withUnsafeBytes { try disk.descriptor.writeFully($0, at: 0, to: name) }
                    try disk.descriptor.synchronize()
                    let error = #expect(throws: StorageError.self) { try DeviceMapperDriver(root, configuration) }
                    #expect(error?.kind == (uuid == name ? .dataLoss : .failedPrecondition))
                    try DeviceMapperDriver.destroy(root, configuration)
                    var found = [UInt8](repeating: 0, count: 4096)
                    #expect(pread(disk.descriptor.rawValue, &found, 4096, 0) == 4096)
                    #expect(found == foreign)
                }
                try DeviceMapper.remove(name)
                // What is left of the first root's pool is of no use to the second.
                let whole = try BlockDevice(devices[0], writable: true)
                try [UInt8](repeating: 0, count: 4096).withUnsafeBytes {
                    try whole.descriptor.writeFully($0, at: 0, to: devices[0])
                }
                try whole.descriptor.synchronize()
                try map(name, to: devices[0], bytes: 128 << 20, uuid: name)
            }
        }
    }

    @Test func aPoolWithDevicesOfOthersIsNotClaimed() throws {
        try withPool(megabytes: 128) { _, pool in
            // Made and never written: the pool's counts do not show it.
            try pool.createThin(0)
            try withPlan(.pool(pool.name)) { root, configuration in
                let error = #expect(throws: StorageError.self) { try DeviceMapperDriver.build(root, configuration) }
                #expect(error?.kind == .failedPrecondition)
                try DeviceMapperDriver.destroy(root, configuration)
                #expect(try pool.status().transactionID == 0)
                #expect(throws: SystemError.self) { try pool.createThin(0) }
            }
        }
    }

    @Test func aReadOnlyPoolStillTellsItsLayers() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.create(layer, from: nil, limit: nil)
            try driver.withTree(layer) { try write(String(repeating: "x", count: 1 << 20), to: "file", in: $0) }
            let usage = try driver.usage(layer)
            let pool = "lamina-\(root.id)-pool"
            let lines = try DeviceMapper.table(pool)
            var table = try #require(ThinPoolTable(parsing: lines[0].parameters))
            table.features.insert(.readOnly)
            try withExtendedLoops(root) {
                try DeviceMapper.remove(pool)
                try DeviceMapper.create(
                    pool, uuid: pool,
                    [DMTarget(length: lines[0].length, type: "thin-pool", parameters: table.parameters)])
                #expect(try driver.objects() == [layer])
                #expect(try driver.usage(layer) == usage)
                let error = #expect(throws: StorageError.self) { try driver.create(child, from: layer, limit: nil) }
                #expect(error?.kind == .failedPrecondition)
                #expect(try driver.status().health == .failed)
                try DeviceMapper.remove(pool)
                try DeviceMapper.create(pool, uuid: pool, lines)
            }
        }
    }

    /// Keeps the loop devices of a root while its pool is taken away.
    private func withExtendedLoops(_ root: RootLocation, _ body: () throws -> Void) throws {
        let data = try LoopDevice(file: root.path + "/devicemapper/data.img")
        let metadata = try LoopDevice(file: root.path + "/devicemapper/metadata.img")
        try body()
        extendLifetime(data)
        extendLifetime(metadata)
    }

    @Test func limitsOfChildrenGrowOnly() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            let small = #expect(throws: StorageError.self) { try driver.create(layer, from: nil, limit: 1 << 20) }
            #expect(small?.kind == .invalidArgument)
            try driver.create(layer, from: nil, limit: 64 << 20)
            try driver.withTree(layer) { try write("kept", to: "file", in: $0) }
            try driver.commit(layer)
            let smaller = #expect(throws: StorageError.self) {
                try driver.create(child, from: layer, limit: 32 << 20)
            }
            #expect(smaller?.kind == .invalidArgument && smaller?.message.contains("64.0 MiB") == true)
            #expect(try driver.objects() == [layer])
            try driver.create(child, from: layer, limit: 200 << 20)
            try driver.withTree(child) { tree throws in
                #expect(try read("file", in: tree) == "kept")
                #expect(try FilesystemStatus(path: tree.procPath).totalBytes > 150 << 20)
            }
            try driver.withTree(layer, readOnly: true) { tree throws in
                #expect(try FilesystemStatus(path: tree.procPath).totalBytes < 64 << 20)
            }
        }
    }

    @Test func whatIsNotThereIsNotFound() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            let missing = LayerNumber(99)
            let calls: [(String, () throws -> Void)] = [
                ("create", { try driver.create(layer, from: missing, limit: nil) }),
                ("commit", { try driver.commit(missing) }), ("usage", { _ = try driver.usage(missing) }),
                ("mounts", { _ = try driver.mounts(missing, readOnly: true) }),
            ]
            for (name, call) in calls {
                let error = #expect(throws: StorageError.self) { try call() }
                #expect(error?.kind == .notFound, "\(name)")
            }
            let large = #expect(throws: StorageError.self) {
                try driver.create(LayerNumber(1 << 24), from: nil, limit: nil)
            }
            #expect(large?.kind == .resourceExhausted)
            #expect(try driver.objects() == [])
            #expect(try DeviceMapper.names().filter { $0.contains(root.id) } == ["lamina-\(root.id)-pool"])
        }
    }

    @Test func usageCountsWhatALayerHasWritten() throws {
        try withPlan { root, configuration in
            try DeviceMapperDriver.build(root, configuration)
            let driver = try DeviceMapperDriver(root, configuration)
            try driver.create(layer, from: nil, limit: nil)
            try driver.withTree(layer) { try write(String(repeating: "x", count: 4 << 20), to: "file", in: $0) }
            try driver.commit(layer)
            try driver.create(child, from: layer, limit: nil)
            let (parent, fresh) = (try driver.usage(layer), try driver.usage(child))
            #expect(fresh == LayerUsage(exclusiveBytes: 0, referencedBytes: parent.referencedBytes))
            // Overwritten in place: as many blocks as before, and no longer shared.
            try driver.withTree(child) { tree throws in
                let file = try tree.openBeneath("file", .writeOnly)
                defer { file.closeQuietly() }
                try [UInt8](repeating: 1, count: 2 << 20).withUnsafeBytes {
                    try file.writeFully($0, at: 0, to: "file")
                }
            }
            try driver.commit(child)
            let written = try driver.usage(child)
            #expect(written.exclusiveBytes >= 2 << 20 && written.exclusiveBytes < 4 << 20)
            #expect(written.referencedBytes < parent.referencedBytes + (1 << 20))
            #expect(try driver.usage(layer) == parent)
            // The kernel's own count.
            for (number, usage) in [(layer, parent), (child, written)] {
                _ = try driver.mounts(number, readOnly: true)
                let status = try DeviceMapper.status(driver.objectName(number))[0]
                guard case .mapped(let sectors, _)? = ThinStatus(parsing: status.parameters) else {
                    Issue.record("\(status)")
                    continue
                }
                #expect(sectors * 512 == usage.referencedBytes)
                try driver.release(number)
            }
        }
    }

    /// As in a container that sees the host's /run and has an IPC namespace of its own.
    @Test(.enabled(if: TestHost.isGuest && !exists("/run/udev"), "udev's place is taken or not ours"))
    func udevThatNeverAnswersHoldsNobodyForLong() throws {
        try makeDirectory("/run/udev")
        try writeText("", to: "/run/udev/control")
        // What this process has set for itself is not for the command.
        unsetenv("DM_DISABLE_UDEV")
        defer {
            setenv("DM_DISABLE_UDEV", "1", 1)
            unlink("/run/udev/control")
            rmdir("/run/udev")
        }
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            for arguments in [["init", "--driver", "devicemapper", "--loop", "128M"], ["deinit"]] {
                let start = ContinuousClock.now
                let process = try lamina.start(arguments)
                for _ in 0..<600 where process.isRunning { usleep(100_000) }
                #expect(!process.isRunning)
                process.terminate()
                process.waitUntilExit()
                #expect(process.terminationStatus == 0)
                #expect(ContinuousClock.now - start > .seconds(5), "it was not waited for")
            }
            #expect(!exists(lamina.root))
        }
    }

    @Test func oneDeviceUnderTwoNamesIsRefused() throws {
        try withDevices([128 << 20]) { directory, devices in
            let link = directory + "/link"
            #expect(symlink(devices[0], link) == 0)
            let root = RootLocation(path: directory, id: "d3170001")
            let options = DriverOptions(backing: .devices(data: devices[0], metadata: link))
            let error = #expect(throws: StorageError.self) { try DeviceMapperDriver.plan(root, options) }
            #expect(error?.kind == .invalidArgument)
        }
    }
}
