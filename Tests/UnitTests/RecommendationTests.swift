import Lamina
import Testing

@testable import Bench

/// Which driver is recommended, and why.
@Suite struct RecommendationTests {
    private func advice(_ entries: Report.Entry...) -> Recommendation { Recommendation(MadeReport.run(entries)) }

    private func entry(
        _ name: String, kind: Report.Entry.Kind = .driver, losses: [String] = [], mount: UInt64,
        read: UInt64 = 1_000_000
    ) -> Report.Entry {
        MadeReport.entry(
            name, kind: kind, losses: losses,
            [MadeReport.result("mount", mount), MadeReport.result("read.sequential", read)])
    }

    @Test func theFastestIsRecommended() {
        let advice = advice(entry("btrfs", mount: 9_000_000), entry("overlay2", mount: 1_000_000))
        #expect(advice.driver == "overlay2")
        #expect(advice.reasons == ["mount: 1.00 ms, btrfs 9.00 ms"])
        #expect(advice.weaknesses == [.init(driver: "btrfs", text: "mount (9.00 ms, overlay2 1.00 ms)")])
        // Nine times in one group of two, as good in the other: the root of nine.
        #expect(advice.standings.map(\.percentOfBest) == [100, 300])
    }

    /// More is better there.
    @Test func ratesCountTheOtherWay() {
        let advice = advice(entry("btrfs", mount: 1000, read: 100), entry("overlay2", mount: 1000, read: 900))
        #expect(advice.driver == "overlay2")
    }

    @Test func oneThatLosesDataHasNoPlace() {
        let advice = advice(entry("overlay2", losses: ["/x is missing"], mount: 1), entry("btrfs", mount: 9_000_000))
        #expect(advice.driver == nil, "one alone is compared with nobody")
        #expect(advice.standings.map(\.driver) == ["btrfs"])
    }

    @Test func ofEqualsThePreferredOneIsTaken() {
        let advice = advice(entry("overlay2", mount: 1_000_000), entry("btrfs", mount: 1_100_000))
        #expect(advice.driver == "btrfs" && advice.summary.contains("as good as equal"))
        #expect(self.advice(entry("overlay2", mount: 1_000_000), entry("btrfs", mount: 1_500_000)).driver == "overlay2")
    }

    @Test func copiesAreNotRecommendedWhereOthersWork() {
        let advice = advice(entry("vfs", mount: 1_000_000), entry("overlay2", mount: 50_000_000))
        #expect(advice.driver == "overlay2" && advice.standings.first?.driver == "vfs")
    }

    @Test func peersAreNotRecommended() {
        let advice = advice(
            entry("docker btrfs", kind: .peer, mount: 1000), entry("btrfs", mount: 2_000_000),
            entry("overlay2", mount: 3_000_000))
        #expect(advice.driver == "btrfs" && advice.standings.count == 2)
    }

    /// A figure that is missing is not one that is good.
    @Test func failuresCount() {
        var broken = entry("btrfs", mount: 1_000_000)
        broken.results.removeAll { $0.measurement == "read.sequential" }
        #expect(
            advice(broken, entry("overlay2", mount: 1_500_000), entry("zfs", mount: 9_000_000)).driver == "overlay2")
    }
}

/// Two reports.
@Suite struct ComparisonTests {
    private func report(_ mount: UInt64, spread: UInt64, read: UInt64 = 1000, seed: UInt64 = 7) -> Report {
        var run = MadeReport.run([
            MadeReport.entry(
                "btrfs",
                [
                    MadeReport.result("mount", mount, spread: spread),
                    MadeReport.result("read.sequential", read, spread: 1),
                ])
        ])
        run.seed = seed
        return Report(runs: [run])
    }

    @Test func aChangeBeyondTheSpreadIsToldInItsDirection() {
        let rows = Comparison(report(1000, spread: 10), report(1300, spread: 10, read: 1500)).rows
        #expect(rows.map(\.measurement) == ["mount", "read.sequential"])
        #expect(rows.map(\.verdict) == [.worse, .better] && rows.map(\.changePerMille) == [300, 500])
    }

    @Test func aChangeWithinTheSpreadIsNone() {
        #expect(Comparison(report(1000, spread: 200), report(1300, spread: 200)).rows[0].verdict == .same)
        // Apart, and less than a twentieth.
        #expect(Comparison(report(1000, spread: 1), report(1020, spread: 1)).rows[0].verdict == .same)
    }

    @Test func otherWorkIsWarnedOf() {
        #expect(Comparison(report(1, spread: 0), report(1, spread: 0, seed: 8)).warnings == ["seed: 7, and then 8"])
        #expect(Comparison(report(1, spread: 0), Report(runs: [])).rows.isEmpty)
    }

    /// Parts of nothing are no numbers.
    @Test func nothingIsNoReasonToFail() {
        let rows = Comparison(report(0, spread: 0), report(5000, spread: 0)).rows
        #expect(rows[0].before == 0 && rows[0].verdict == .worse)
        #expect(rows[0].changePerMille == 5_000_000)
        let same = Comparison(report(0, spread: 0), report(0, spread: 0)).rows
        #expect(same[0].verdict == .same && same[0].changePerMille == 0)
    }
}

/// Who takes part.
@Suite struct DriverChoiceTests {
    private func names(
        _ host: HostFacts, _ named: [String]? = nil, _ backing: DriverOptions.Backing? = nil
    ) throws -> [String] {
        try DriverChoice.choose(host, named: named, backing: backing).map { "\($0.driver) \($0.ground)" }
    }

    @Test func onAPlainFilesystem() throws {
        #expect(try names(.with(.ext4)) == ["overlay2 place", "vfs place"])
        #expect(try names(.with(.btrfs), ["btrfs", "vfs"]) == ["btrfs place", "vfs place"])
    }

    @Test func inFilesAllStandOnFiles() throws {
        for place in [HostFacts.Filesystem.ext4, .btrfs, .tmpfs] {
            let host = HostFacts.with(place).with(filesystem: "ext4", bytes: 4 << 30)
            let names = try names(host, nil, .loop(bytes: 4 << 30))
            #expect(names.contains("btrfs ownFile") && names.contains("overlay2 filesystemInFile"))
            #expect(names.last == "vfs filesystemInFile" && !names.contains { $0.hasSuffix("place") })
        }
    }

    @Test func whatIsGivenGoesToTheDriverThatTakesIt() throws {
        let (disk, pool) = (
            DriverOptions.Backing.devices(data: "/dev/x", metadata: nil), DriverOptions.Backing.pool("x")
        )
        for given in [disk, pool] {
            #expect(try names(.with(.ext4), nil, given) == ["devicemapper given", "overlay2 place", "vfs place"])
            #expect(
                try names(.with(.btrfs), ["btrfs", "devicemapper"], given) == ["btrfs place", "devicemapper given"])
        }
        var withZFS = HostFacts.with(.ext4)
        withZFS.kernelFilesystems.insert("zfs")
        withZFS.tools["zfs"] = "/sbin/zfs"
        withZFS.tools["zpool"] = "/sbin/zpool"
        #expect(try names(withZFS, ["zfs", "vfs"], pool) == ["zfs given", "vfs place"])
        for (named, given, words) in [
            (["btrfs", "vfs"], disk, "no driver of btrfs, vfs takes it"), (["zfs"], disk, "no driver of zfs takes it"),
            (["zfs", "devicemapper"], pool, "devicemapper and zfs both take it"),
        ] {
            let error = #expect(throws: StorageError.self) { try names(withZFS, named, given) }
            #expect(error?.kind == .invalidArgument && error?.message.contains(words) == true)
        }
        var without = HostFacts.with(.ext4)
        without.deviceMapper = nil
        let error = #expect(throws: StorageError.self) { try names(without, nil, disk) }
        #expect(error?.kind == .failedPrecondition && error?.object == "devicemapper")
    }

    @Test func whatCannotTakePartIsRefused() {
        let error = #expect(throws: StorageError.self) { try names(.with(.ext4), ["btrfs"]) }
        #expect(error?.kind == .failedPrecondition && error?.hint?.contains("--loop") == true)
        #expect(throws: StorageError.self) { try names(.with(.ext4), ["nope"]) }
        let nothing = #expect(throws: StorageError.self) { try names(.with(.tmpfs)) }
        #expect(nothing?.message.contains("nothing to compare") == true)
    }
}
