import Fixtures
import Glibc
import Lamina
import LinuxSystem
import Logging
import Synchronization
import SystemPackage
import Testing

@testable import Bench

extension Plan {
    /// As little work as there can be.
    static var smallest: Plan {
        var plan = Plan(profile: "smallest")
        (plan.leastRounds, plan.mostRounds, plan.treeFiles, plan.chain) = (1, 1, 10, [1, 3])
        (plan.importFiles, plan.changesFiles, plan.firstWriteBytes) = (20, [500], [1 << 20])
        (plan.sequentialBytes, plan.randomCount, plan.fsyncs) = (1 << 20, 4, 2)
        (plan.metadataFiles, plan.threads, plan.siblings, plan.spaceBytes) = (10, [1, 4], 2, 4 << 20)
        plan.spacePatience = 1
        return plan
    }
}

/// The bench from end to end.
/// Emulated it takes minutes; `Tools/report` runs it there.
@Suite(.serialized, .enabled(if: TestHost.hasBtrfs && !TestHost.isGuest, "needs root and btrfs, outside of the guest"))
struct BenchTests {
    private static func options(_ place: String, inFiles: Bool = true) -> BenchRun.Options {
        BenchRun.Options(
            plan: .smallest, seed: 3, drivers: inFiles ? ["btrfs", "overlay2", "vfs"] : ["vfs"], place: place,
            ground: DriverOptions(backing: inFiles ? .loop(bytes: 512 << 20) : nil))
    }

    private static func requireNothing(in place: String) {
        #expect(directoryNames(place) == [])
        #expect(eventually { loopFiles(below: place).isEmpty })
        #expect(MountTable.current().entries.filter { $0.target.hasPrefix(place + "/") } == [])
    }

    private static let logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }

    @Test func everythingIsMeasuredOnAllAndNothingIsLeft() throws {
        try withTemporaryDirectory { place in
            let bench = try BenchRun(Self.options(place), logger: Self.logger)
            var steps: [BenchRun.Progress] = []
            let report = try bench.run(progress: { steps.append($0) })
            Self.requireNothing(in: place)
            let run = try #require(report.runs.first)
            #expect(run.entries.map(\.name) == ["btrfs", "overlay2", "vfs"])
            for entry in run.entries {
                #expect(entry.fidelity?.losses == [] && entry.fidelity?.diffIDs.count == 2, "\(entry.name)")
                #expect(entry.failures == nil)
                let measured = Set(entry.results.map(\.measurement))
                #expect(Set(Measurement.all.map(\.id)).subtracting(measured) == [], "\(entry.name)")
                #expect(entry.results.filter { $0.measurement == "chain.mount" }.map(\.at) == [1, 3])
                #expect(entry.result("create.child")?.count == 1)
            }
            #expect(Set(run.entries.map { $0.fidelity?.diffIDs }).count == 1)
            // vfs copies what the others share.
            #expect((run.entries[2].result("space.byte")?.median ?? 0) >= 4 << 20)
            #expect((run.entries[0].result("space.byte")?.median ?? .max) < 1 << 20)
            #expect(run.recommendation?.standings.count == 3)
            #expect(steps.map(\.part) == steps.map(\.part).sorted() && steps.allSatisfy { $0.part <= 1 })
            // Nine works of twelve seconds at most, of which half is expected; in the end nothing.
            let left = steps.compactMap(\.secondsLeft)
            #expect(left.first == 54 && left.last == 0)
            #expect(try Report(json: report.json, named: "x") == report)
        }
    }

    /// btrfs gives back what was removed when it next cleans up: until then rounds that follow fast have no room.
    @Test func spaceThatComesBackLateIsWaitedFor() throws {
        try withTemporaryDirectory { place in
            var options = Self.options(place)
            options.drivers = ["btrfs"]
            (options.plan.sequentialBytes, options.plan.mostRounds, options.plan.spacePatience) = (64 << 20, 7, 45)
            let report = try BenchRun(options, logger: Self.logger).run()
            #expect(report.runs.first?.entries.first?.failures == nil)
            Self.requireNothing(in: place)
        }
    }

    /// Asked to end at one moment after another.
    @Test(arguments: [0, 1, 2, 5, 9, 20, 30, 40]) func whatIsInterruptedLeavesNothing(_ moment: Int) throws {
        try withTemporaryDirectory { place in
            let asked = Atomic(0)
            let bench = try BenchRun(Self.options(place, inFiles: moment < 10), logger: Self.logger) {
                asked.wrappingAdd(1, ordering: .relaxed).newValue > moment
            }
            let error = #expect(throws: StorageError.self) { _ = try bench.run() }
            #expect(error?.kind == .aborted)
            Self.requireNothing(in: place)
        }
    }

    @Test func aTarThatIsNoneEndsItAtOnce() throws {
        try withTemporaryDirectory { directory in
            let (place, tar) = (directory + "/place", directory + "/none.tar")
            try makeDirectory(place)
            try writeText("this is no tar", to: tar)
            var options = Self.options(place)
            options.tar = tar
            let bench = try BenchRun(options, logger: Self.logger)
            let error = #expect(throws: StorageError.self) { _ = try bench.run() }
            #expect(error?.kind == .dataLoss && error?.object == tar)
            Self.requireNothing(in: place)
        }
    }

    @Test func aSignalEndsItInGoodOrder() throws {
        try withTemporaryDirectory { place in
            let (out, tool) = (place + "/out", LaminaTool(root: place + "/root"))
            let process = try tool.start(["bench", "--loop", "2G", "--drivers", "btrfs,vfs", "--out", out])
            #expect(eventually { MountTable.current().entries.contains { $0.target.hasPrefix(place + "/") } })
            process.interrupt()
            process.waitUntilExit()
            #expect(process.terminationStatus == 1 && process.terminationReason == .exit)
            Self.requireNothing(in: place)
        }
    }

    /// What the gate would say of a driver that loses things.
    @Test func lossesAreSeen() throws {
        try withFilesystem("ext4", size: 64 << 20) { place in
            for name in ["one", "two"] { try makeDirectory("\(place)/\(name)") }
            let (one, two) = (
                try FileDescriptor.openingDirectory(place + "/one"), try FileDescriptor.openingDirectory(place + "/two")
            )
            defer { for tree in [one, two] { tree.closeQuietly() } }
            for tree in [one, two] { #expect(try FidelityTree.fill(tree).refused == []) }
            let picture = try SeenTree(one)
            #expect(try SeenTree(two).losses(against: picture) == [])
            let breakages: [(String, (FileDescriptor) throws -> Void)] = [
                ("/capable", { try $0.removeExtendedAttribute("security.capability", of: EntryName("capable")) }),
                ("/acl", { try $0.removeExtendedAttribute("system.posix_acl_access", of: EntryName("acl")) }),
                ("/plain", { try $0.setModified(.init(seconds: -5, nanoseconds: 8), of: EntryName("plain")) }),
                (
                    "/sparse",
                    { root in
                        let file = try root.openEntry(EntryName("sparse"), .writeOnly)
                        defer { file.closeQuietly() }
                        let zeros = [UInt8](repeating: 0, count: 15 << 20)
                        try zeros.withUnsafeBytes { try file.writeFully($0, at: 0, to: "sparse") }
                    }
                ),
                ("/null", { try $0.removeEntry(EntryName("null")) }),
                (
                    "/two",
                    { root in
                        try root.removeEntry(EntryName("two"))
                        try root.makeSymlink(EntryName("two"), to: Array("one".utf8))
                    }
                ),
            ]
            for (path, damage) in breakages {
                let before = try SeenTree(two)
                try damage(two)
                let losses = try SeenTree(two).losses(against: before)
                #expect(losses.contains { $0.hasPrefix(path + " ") }, "\(path): \(losses)")
            }
        }
    }

    @Test func aTarThatNobodyElseGivesIsALoss() {
        let all = [["a", "b"], ["a", "c"], ["a", "b"]].map { Report.Fidelity(losses: [], diffIDs: $0) }
        #expect(FidelityGate.compare(all).map(\.losses.count) == [0, 1, 0])
        #expect(FidelityGate.compare(Array(all[..<2])).map(\.losses.count) == [0, 1])
    }
}
