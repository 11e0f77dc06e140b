import Fixtures
import Foundation
import Glibc
import Lamina
import Testing
import ThinPool

@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct CrashTests {
    /// Kills create, commit and rm at random moments: at the next command nothing is lost and nothing left over.
    @Test(arguments: CommandGround.here) func killedCommandsLeaveNothing(_ ground: CommandGround) throws {
        // The guest is for devicemapper: the others are killed here, where it costs a tenth of the time.
        let rounds = ground == .devicemapper ? 30 : TestHost.isGuest ? 6 : 100
        // Longer than the slowest of them takes: some kills come too late, and that must be fine too.
        let longest = TestHost.isGuest ? 1_500_000 : 60_000
        try ground.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "base").status == 0)
            #expect(try lamina("layer", "commit", "base").status == 0)
            for round in 0..<rounds {
                let name = "layer-\(round)"
                let arguments: [String]
                switch round % 3 {
                case 0: arguments = ["layer", "create", name, "--parent", "base"]
                case 1:
                    #expect(try lamina("layer", "create", name, "--parent", "base").status == 0)
                    arguments = ["layer", "commit", name]
                default:
                    #expect(try lamina("layer", "create", name, "--parent", "base").status == 0)
                    arguments = ["layer", "rm", name]
                }
                let process = try lamina.start(arguments)
                usleep(UInt32.random(in: 0...UInt32(longest)))
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()

                let layers = try lamina("layer", "ls", "--json")
                #expect(layers.status == 0, "\(layers.error)")
                let isThere = layers.output.contains("\"\(name)\"")
                if round % 3 == 1 { #expect(isThere, "the layer of a killed commit is lost") }
                if isThere {
                    // Active or committed, it is whole: it can be mounted and removed.
                    #expect(try lamina("layer", "changes", name).status == 0)
                    #expect(try lamina("layer", "rm", name).status == 0)
                }
                let objects = try objects(of: lamina)
                #expect(objects == 1, "round \(round): \(arguments)")
            }
            // Killed before its mark had its name.
            try writeText("", to: lamina.root + "/in-flight/.77-1")
            #expect(try lamina("layer", "ls").status == 0)
            #expect(directoryNames(lamina.root + "/in-flight") == [])
        }
    }

    /// Kills `changes` of a layer that is mounted, which works from a snapshot: whoever writes to the layer goes on, and
    /// nothing is left of the snapshot.
    @Test(arguments: CommandGround.here) func killedSnapshotsLeaveTheLayerAlone(_ ground: CommandGround) throws {
        let rounds = ground == .devicemapper ? 12 : TestHost.isGuest ? 2 : 40
        let longest = TestHost.isGuest ? 1_200_000 : 40_000
        try ground.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "base").status == 0)
            #expect(try lamina("layer", "commit", "base").status == 0)
            #expect(try lamina("layer", "create", "busy", "--parent", "base").status == 0)
            let target = try #require(try lamina("layer", "mount", "busy", "--json").value("target"))
            for round in 0..<rounds {
                let process = try lamina.start(["layer", "changes", "busy"])
                usleep(UInt32.random(in: 0...UInt32(longest)))
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                #expect(try lamina("layer", "ls").status == 0)
                try writeText("\(round)", to: target + "/round")
                let objects = try objects(of: lamina)
                #expect(objects == 2, "round \(round)")
            }
            #expect(try lamina("layer", "changes", "busy").output == "A /round\n")
            #expect(try lamina("layer", "umount", "busy").status == 0)
        }
    }

    /// The same, killed at the worst moment: the device is suspended, and who writes to it waits.
    @Test(.enabled(if: TestHost.hasDeviceMapper, "the kernel has no device-mapper"))
    func aLayerLeftSuspendedGoesOn() throws {
        try CommandGround.devicemapper.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "busy").status == 0)
            let target = try #require(try lamina("layer", "mount", "busy", "--json").value("target"))
            let layer = try lamina("layer", "inspect", "busy", "--json")
            let (device, number) = (try #require(layer.value("driverObject")), try #require(layer.value("number")))
            try DeviceMapper.suspend(device)
            try writeText("", to: lamina.root + "/in-flight/\(number)-1")
            #expect(try lamina("layer", "ls").status == 0)
            try #require(try DeviceMapper.info(device)?.isSuspended == false)
            try writeText("x", to: target + "/file")
        }
    }

    /// How many objects the driver has, whatever the records say.
    private func objects(of lamina: LaminaTool) throws -> Int {
        try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers).driver.objects().count
    }

    /// Four processes make, list and remove layers of one root at the same time.
    @Test(arguments: CommandGround.here) func processesShareARoot(_ ground: CommandGround) throws {
        let rounds = TestHost.isGuest ? 3 : 15
        try ground.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "base").status == 0)
            #expect(try lamina("layer", "commit", "base").status == 0)
            let failures = concurrently(4) { index in
                for round in 0..<rounds {
                    for arguments in [
                        ["layer", "create", "p\(index)-\(round)", "--parent", "base"], ["layer", "ls"],
                        ["layer", "rm", "p\(index)-\(round)"],
                    ] {
                        let result = try lamina.run(arguments)
                        if result.status != 0 { throw StorageError(.internal, "run", "\(arguments)", result.error) }
                    }
                }
            }
            #expect(failures == [])
            #expect(try objects(of: lamina) == 1)
            // All four want the same name: one gets it.
            let winners = concurrently(4) { _ in
                if try lamina("layer", "create", "same").status != 0 {
                    throw StorageError(.alreadyExists, "create", "same", "taken")
                }
            }
            #expect(winners.count == 3)
        }
    }
}
