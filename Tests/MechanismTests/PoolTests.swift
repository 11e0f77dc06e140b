import Fixtures
import Foundation
import Glibc
import Lamina
import SystemPackage
import Testing
import ThinPool

/// What is particular to devicemapper: which pools and devices it takes, and what it does when they are in a bad way.
@Suite(.serialized, .enabled(if: TestHost.hasDeviceMapper, "the kernel has no device-mapper"))
struct PoolTests {
    @Test func aPoolByNameIsClaimedAndGivenBack() throws {
        try withPool(megabytes: 256) { directory, pool in
            let (one, two) = (LaminaTool(root: directory + "/one"), LaminaTool(root: directory + "/two"))
            let made = try one("init", "--pool", pool.name)
            #expect(made.status == 0, "\(made.error)")
            #expect(try one("layer", "create", "a").status == 0)
            let refused = try two("init", "--pool", pool.name)
            #expect(refused.status == 1 && refused.error.contains("another root or program uses it"))
            #expect(!exists(two.root))
            #expect(try one("deinit", "--force").status == 0)
            #expect(try pool.status().transactionID == 0)
            #expect(try pool.status().usedDataBlocks == 0)
            #expect(try two("init", "--pool", "/dev/mapper/\(pool.name)").status == 0)
            #expect(try two("deinit").status == 0)
        }
    }

    @Test func devicesBecomeAPool() throws {
        try withDevices([256 << 20, 16 << 20]) { directory, devices in
            for options in [["--data", devices[0]], ["--data", devices[0], "--metadata", devices[1], "--fs", "ext4"]] {
                let lamina = LaminaTool(root: directory + "/root")
                let made = try lamina.run(["init"] + options)
                #expect(made.status == 0, "\(made.error)")
                #expect(try lamina("layer", "create", "a").status == 0)
                #expect(try lamina("info", "--json").value("driver") == "devicemapper")
                let other = try LaminaTool(root: directory + "/other")("init", "--data", devices[0])
                #expect(other.status == 1 && other.error.contains("in use"))
                #expect(try lamina("deinit", "--force").status == 0)
                #expect(!exists(lamina.root))
            }
        }
    }

    @Test func whatIsNoPoolIsRefused() throws {
        try withDevices([128 << 20]) { directory, devices in
            let lamina = LaminaTool(root: directory + "/root")
            let name = "lamina-test-\(UInt32.random(in: 0...UInt32.max))"
            let target = DMTarget(length: 1024, type: "linear", parameters: "\(devices[0]) 0")
            try DeviceMapper.create(name, uuid: name, [target])
            let linear = try lamina("init", "--pool", name)
            try DeviceMapper.remove(name)
            #expect(linear.status == 1 && linear.error.contains("linear"))
            #expect(try lamina("init", "--pool", name).error.contains("no device-mapper device"))

            try #require(Program("mkfs.ext4")).run(["-q", "-F", devices[0]], on: devices[0])
            let carries = try lamina("init", "--data", devices[0])
            #expect(carries.status == 1 && carries.error.contains("ext4"))
            #expect(!exists(lamina.root))
            #expect(try lamina("init", "--data", devices[0], "--force").status == 0)
            #expect(try lamina("deinit").status == 0)
        }
    }

    @Test func aFullPoolRefusesLayersAndRemovesThem() throws {
        try withPool(megabytes: 96) { directory, pool in
            let lamina = LaminaTool(root: directory + "/root")
            #expect(try lamina("init", "--pool", pool.name).status == 0)
            #expect(try lamina("layer", "create", "big", "--size", "400M").status == 0)
            let target = String(try lamina("layer", "mount", "big").output.dropLast())
            // Ends with an error, at once, when the pool is full; the filesystem itself has room.
            try? Program("dd")?.run(
                ["if=/dev/urandom", "of=\(target)/file", "bs=1M", "count=120", "conv=fsync"], on: target)
            let refused = try lamina("layer", "create", "more", "--json")
            #expect(refused.status == 1 && refused.error.contains("\"kind\":\"resourceExhausted\""), "\(refused.error)")
            #expect(try lamina("layer", "ls", "--json").output.contains("\"big\""))
            #expect(try lamina("layer", "umount", "big").status == 0)
            let removed = try lamina("layer", "rm", "big")
            #expect(removed.status == 0, "\(removed.error)")
            #expect(try lamina("layer", "create", "more").status == 0)
            #expect(try lamina("deinit", "--force").status == 0)
        }
    }

    /// What a removal is about to give back counts as room.
    @Test func whatIsBeingRemovedMakesRoom() throws {
        try withPool(megabytes: 96) { directory, pool in
            let lamina = LaminaTool(root: directory + "/root")
            #expect(try lamina("init", "--pool", pool.name).status == 0)
            do {
                let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
                let big = try LayerName("big")
                try store.create(big, limit: 400 << 20)
                let target = try store.mount(big).target
                try? Program("dd")?.run(
                    ["if=/dev/urandom", "of=\(target)/file", "bs=1M", "count=120", "conv=fsync"], on: target)
                try store.unmount(big)
                #expect(throws: StorageError.self) { try store.create(LayerName("more")) }
                try store.remove(big)
                try store.create(LayerName("more"))
            }
            #expect(try lamina("deinit", "--force").status == 0)
        }
    }

    @Test func aPoolThatIsGoneOrReadOnlyIsSaid() throws {
        try withPool(megabytes: 96) { directory, pool in
            let lamina = LaminaTool(root: directory + "/root")
            #expect(try lamina("init", "--pool", pool.name).status == 0)
            #expect(try lamina("layer", "create", "a").status == 0)
            let table = try DeviceMapper.table(pool.name)
            try DeviceMapper.remove(pool.name)
            let gone = try lamina("layer", "create", "b")
            #expect(gone.status == 1 && gone.error.contains(pool.name) && gone.error.contains("hint: "))

            var readOnly = try #require(ThinPoolTable(parsing: table[0].parameters))
            readOnly.features.insert(.readOnly)
            try DeviceMapper.create(
                pool.name, uuid: pool.name,
                [DMTarget(length: table[0].length, type: "thin-pool", parameters: readOnly.parameters)])
            let refused = try lamina("layer", "create", "b")
            #expect(refused.status == 1 && refused.error.contains("read-only"), "\(refused.error)")
            #expect(try lamina("info", "--json").output.contains("\"health\":\"failed\""))
            try DeviceMapper.remove(pool.name)
            try DeviceMapper.create(pool.name, uuid: pool.name, table)
            #expect(try lamina("layer", "ls", "--json").output.contains("\"a\""))
            #expect(try lamina("deinit", "--force").status == 0)
        }
    }
}
