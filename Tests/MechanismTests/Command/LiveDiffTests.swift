import Fixtures
import Foundation
import Glibc
import Lamina
import LinuxSystem
import SystemPackage
import Testing

/// `layer changes` and `layer diff` of a layer that is mounted and written.
@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct LiveDiffTests {
    private static let grounds = CommandGround.here.filter(\.takesLiveSnapshots)

    /// How many objects the driver has, whatever the records say.
    private func objects(of lamina: LaminaTool) throws -> Int {
        try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers).driver.objects().count
    }

    /// Runs `body` with the place where the layer `top`, whose parent is `base`, is mounted.
    private func withMountedLayer(
        _ ground: CommandGround, _ body: (LaminaTool, _ target: String, _ directory: String) throws -> Void
    ) throws {
        try ground.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                let base = directory + "/base.tar"
                try Data(tar([Member(name: "file", data: "one"), Member(name: "gone", data: "two")]))
                    .write(to: URL(fileURLWithPath: base))
                #expect(try lamina("layer", "import", "base", base).status == 0)
                #expect(try lamina("layer", "create", "top", "--parent", "base").status == 0)
                try body(lamina, String(try lamina("layer", "mount", "top").output.dropLast()), directory)
            }
        }
    }

    @Test(arguments: grounds) func itIsTheStateOfOneMoment(_ ground: CommandGround) throws {
        try withMountedLayer(ground) { lamina, target, directory in
            unlink(target + "/gone")
            let failures = try StepWriter().writing(to: target) { _ in
                for _ in 0..<(TestHost.isGuest ? 2 : 10) {
                    let changes = try lamina("layer", "changes", "top")
                    guard changes.output.hasPrefix("A /a\nA "), changes.output.hasSuffix("D /gone\n") else {
                        throw Failure("\(changes)")
                    }
                    let diff = try lamina("layer", "diff", "top", "-o", directory + "/tar")
                    for result in [changes, diff] where !result.error.contains("snapshot") {
                        throw Failure("\(result)")
                    }
                    let again = try lamina("layer", "import", "again", directory + "/tar", "--parent", "base")
                    guard again.status == 0 else { throw Failure(again.error) }
                    let mounted = String(try lamina("layer", "mount", "again").output.dropLast())
                    try FileDescriptor.openingDirectory(mounted).closing { try StepWriter.requireInStep($0) }
                    for step in ["umount", "rm"] where try lamina("layer", step, "again").status != 0 {
                        throw Failure(step)
                    }
                }
            }
            #expect(failures == [])
            #expect(try objects(of: lamina) == 2)
            #expect(directoryNames(lamina.root + "/in-flight") == [])

            // Both ways of comparing give the same, to the byte.
            let told = try lamina("layer", "changes", "top")
            let walked = try lamina("layer", "changes", "top", "--walk")
            #expect(told.output == walked.output)
            let diff = ["layer", "diff", "top", "-o", directory + "/tar", "--json"]
            let (written, byWalk) = (try lamina.run(diff), try lamina.run(diff + ["--walk"]))
            #expect(written.value("diffID") != nil && written.value("diffID") == byWalk.value("diffID"))
            #expect(try lamina("layer", "umount", "top").status == 0)
            let still = try lamina("layer", "changes", "top")
            #expect(still.output == told.output && still.error == "")
        }
    }

    @Test(arguments: grounds) func aKilledOneLeavesNothing(_ ground: CommandGround) throws {
        let rounds = TestHost.isGuest ? 5 : 40
        let longest = TestHost.isGuest ? 1_500_000 : 80_000
        try withMountedLayer(ground) { lamina, target, _ in
            let failures = try StepWriter().writing(to: target) { _ in
                for round in 0..<rounds {
                    let process = try lamina.start(["layer", "changes", "top"])
                    usleep(UInt32.random(in: 0...UInt32(longest)))
                    kill(process.processIdentifier, SIGKILL)
                    process.waitUntilExit()
                    let layers = try lamina("layer", "ls", "--json")
                    guard layers.status == 0 else { throw Failure(layers.error) }
                    let objects = try objects(of: lamina)
                    guard objects == 2 else { throw Failure("round \(round): \(objects) objects are left") }
                    guard directoryNames(lamina.root + "/in-flight") == [] else { throw Failure("a mark is left") }
                }
            }
            #expect(failures == [])
            // Whatever was set for the time of a snapshot is as it was.
            if ground == .btrfs {
                let mount = MountTable.current().entry(at: lamina.root + "/btrfs")
                #expect(mount?.superOptions.contains("flushoncommit") == false)
            }
            #expect(try lamina("layer", "changes", "top").status == 0)
        }
    }
}
