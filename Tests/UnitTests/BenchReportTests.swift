import Lamina
import Testing

@testable import Bench

/// Reports made by hand, for the tests of what is made of them.
enum MadeReport {
    static func host(_ kernel: String = "6.1.0") -> Report.Host {
        Report.Host(
            kernel: kernel, processor: "a <fast> \"one\" & more", processors: 2, path: "/mnt", filesystem: "ext4")
    }

    static func result(_ id: String, at point: UInt64? = nil, _ median: UInt64, spread: UInt64 = 0) -> Report.Result {
        Report.Result(
            measurement: id, at: point, count: 9, median: median, p10: median - spread, p90: median + spread,
            min: median - spread, max: median + spread)
    }

    static func entry(
        _ name: String, kind: Report.Entry.Kind = .driver, losses: [String] = [], _ results: [Report.Result]
    ) -> Report.Entry {
        Report.Entry(
            kind: kind, name: name, ground: "a file", fidelity: .init(losses: losses, diffIDs: ["sha256:00"]),
            results: losses.isEmpty ? results : [])
    }

    static func run(_ entries: [Report.Entry], host: Report.Host = host()) -> Report.Run {
        Report.Run(
            startedAt: "2026-01-02T03:04:05.000000000Z", seconds: 9, lamina: "0.1.0", profile: "quick", seed: 7,
            sizes: ["treeFiles": 500], host: host, entries: entries,
            overhead: .init(harnessNanoseconds: 1, workNanoseconds: 1000), notes: ["a note"])
    }
}

/// Figures, and what is told of them.
@Suite struct BenchReportTests {
    @Test func medianAndSpreadAreThoseOfTheSamples() throws {
        var samples = Samples()
        #expect(samples.result("mount", at: nil) == nil)
        for value in (1...100).shuffled() { samples.add(UInt64(value) * 1000) }
        let result = try #require(samples.result("mount", at: 3))
        #expect(result.measurement == "mount" && result.at == 3 && result.count == 100)
        #expect(result.min == 1000 && result.max == 100_000)
        // Three significant digits.
        for (value, expected) in [(result.p10, 10_000.0), (result.median, 50_000), (result.p90, 90_000)] {
            #expect(abs(Double(value) - expected) <= expected / 1000)
        }
        var one = Samples()
        one.add(0)
        #expect(one.result("mount", at: nil)?.median == 0)
    }

    @Test func warmUpIsTimedAndNotCounted() {
        var recorder = Recorder()
        recorder.isWarmUp = true
        recorder.time("mount") {}
        recorder.isWarmUp = false
        recorder.time("mount", at: 2) {}
        recorder.rate("parallel.create", at: 8, of: 8) {}
        #expect(recorder.timings == 3)
        #expect(recorder.results().map(\.measurement) == ["mount", "parallel.create"])
        #expect(recorder.results()[0].at == 2)
    }

    @Test func theSameSeedGivesTheSameWork() {
        var (one, same, other) = (SeededGenerator(seed: 1), SeededGenerator(seed: 1), SeededGenerator(seed: 2))
        let bytes = one.bytes(1001)
        #expect(bytes.count == 1001 && bytes == same.bytes(1001) && bytes != other.bytes(1001))
        // The first number of SplitMix64 with the seed 1234567, as its author's program prints it.
        var known = SeededGenerator(seed: 1_234_567)
        #expect(known.next() == 6_457_827_717_110_365_317)
    }

    @Test func aReportSurvivesJSON() throws {
        var run = MadeReport.run([
            MadeReport.entry("btrfs", [MadeReport.result("mount", 5), MadeReport.result("chain.mount", at: 16, 7)]),
            MadeReport.entry("vfs", losses: ["/x is missing"], []),
        ])
        run.recommendation = Recommendation(run)
        run.measurements = Measurement.all
        let report = Report(runs: [run])
        #expect(try Report(json: report.json, named: "x") == report)
        #expect(report.json.contains("\"schema\" : \"lamina-bench\""))
    }

    /// What another program may write, with all left out that may be.
    @Test func aPeersFileIsRead() throws {
        let text = """
            {"schema": "lamina-bench", "schemaVersion": 1, "runs": [{
              "startedAt": "2026-01-02T03:04:05Z",
              "host": {"kernel": "6.1.0", "processor": "p", "processors": 2},
              "measurements": [{"id": "other", "group": "archive", "title": "Other", "unit": "bytes", "better": "lower"}],
              "entries": [{"kind": "peer", "name": "containerd devmapper", "results": [
                {"measurement": "other", "count": 1, "median": 4, "p10": 4, "p90": 4, "min": 4, "max": 4}]}]}]}
            """
        let run = try Report(json: text, named: "peers.json").runs[0]
        #expect(run.entries[0].kind == .peer && run.measured.map(\.title) == ["Other"])
    }

    @Test(arguments: [
        ("", "it is no report"), ("[]", "it is no report"), ("{\"schema\": \"other\"}", "it is no report"),
        ("{\"schema\": \"lamina-bench\", \"schemaVersion\": 2, \"runs\": []}", "version 2, not 1"),
        ("{\"schema\": \"lamina-bench\", \"schemaVersion\": 1, \"runs\": [{}]}", "runs.0.startedAt"),
        (
            """
            {"schema": "lamina-bench", "schemaVersion": 1, "runs": [{"startedAt": "", "host": {"kernel": "", "processor": "",
            "processors": 1}, "entries": [{"kind": "peer", "name": "x", "results": [{"measurement": "nope", "count": 1,
            "median": 1, "p10": 1, "p90": 1, "min": 1, "max": 1}]}]}]}
            """, "results of nope"
        ),
    ]) func whatIsNoReportIsRefused(_ text: String, _ words: String) {
        let error = #expect(throws: StorageError.self) { _ = try Report(json: text, named: "file") }
        #expect(error?.kind == .invalidArgument && error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test func runsOfOneMachineStandTogether() {
        let driver = MadeReport.run([MadeReport.entry("btrfs", [MadeReport.result("mount", 5)])])
        let guest = MadeReport.run(
            [MadeReport.entry("devicemapper", [MadeReport.result("mount", 9)])], host: MadeReport.host("6.12"))
        var peer = MadeReport.run([MadeReport.entry("docker btrfs", kind: .peer, [MadeReport.result("mount", 6)])])
        (peer.profile, peer.notes, peer.sizes) = (nil, ["of peers"], ["treeFiles": 5000, "rounds": 20])
        let sections = Report(runs: [peer, guest, driver]).sections
        #expect(sections.map { $0.entries.map(\.name) } == [["btrfs", "docker btrfs"], ["devicemapper"]])
        let difference = "not the same work: treeFiles is 500, and 5,000 for docker btrfs"
        #expect(sections[0].profile == "quick" && sections[0].notes == ["a note", difference, "of peers"])
    }

    /// Of peers and drivers; what the kernel's calls alone take is no match for them.
    @Test func theBestIsAnEngine() throws {
        let mount = try #require(Measurement.known("mount"))
        let rate = try #require(Measurement.known("read.sequential"))
        let entries = [
            MadeReport.entry("btrfs", [MadeReport.result("mount", 5), MadeReport.result("read.sequential", 5)]),
            MadeReport.entry(
                "docker btrfs", kind: .peer, [MadeReport.result("mount", 4), MadeReport.result("read.sequential", 4)]),
            MadeReport.entry("bare calls", kind: .floor, [MadeReport.result("mount", 1)]),
        ]
        #expect(mount.best(of: entries) == 4 && rate.best(of: entries) == 5)
        #expect(mount.best(of: [entries[0], entries[2]]) == nil, "one alone is compared with nobody")
    }

    @Test(
        arguments: [
            (0, Measurement.Unit.nanoseconds, "0 ns"), (999, .nanoseconds, "999 ns"), (1000, .nanoseconds, "1.00 µs"),
            (12_345, .nanoseconds, "12.3 µs"), (999_940, .nanoseconds, "1.00 ms"),
            (1_234_567_890, .nanoseconds, "1.23 s"),
            (123_000_000_000, .nanoseconds, "123 s"), (4096, .bytes, "4.00 KiB"), (97, .percent, "97 %"),
            (1_234_567, .perSecond, "1,234,567 /s"), (1 << 30, .bytesPerSecond, "1.00 GiB/s"),
        ] as [(UInt64, Measurement.Unit, String)])
    func figuresHaveThreeDigits(_ value: UInt64, _ unit: Measurement.Unit, _ text: String) {
        #expect(Quantity.text(value, unit) == text)
    }

    @Test func idsOfMeasurementsAreDifferent() {
        #expect(Set(Measurement.all.map(\.id)).count == Measurement.all.count)
    }
}

/// The page of a report.
@Suite struct ReportPageTests {
    private static let odd = "<script>alert('x')</script>&\"\u{1}"

    private var page: String {
        var run = MadeReport.run([
            MadeReport.entry(
                "btrfs",
                [
                    MadeReport.result("mount", 5000, spread: 900), MadeReport.result("chain.mount", at: 1, 4000),
                    MadeReport.result("chain.mount", at: 128, 90_000, spread: 50),
                ]),
            MadeReport.entry(Self.odd, kind: .peer, [MadeReport.result("mount", 9000)]),
            MadeReport.entry("vfs", losses: [Self.odd], []),
        ])
        run.notes = [Self.odd]
        run.entries[0].ground = Self.odd
        run.entries[0].failures = [.init(measurement: "import", message: Self.odd)]
        run.host.drivers = [.init(name: Self.odd, status: Self.odd, reason: Self.odd)]
        run.recommendation = Recommendation(run)
        return ReportPage(Report(runs: [run])).html
    }

    @Test func textsAreEscaped() {
        #expect(escaped(Self.odd) == "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{FFFD}")
        #expect(!page.contains("<script") && !page.contains("alert('") && !page.contains("\u{1}"))
        #expect(page.contains("a &lt;fast&gt; &quot;one&quot; &amp; more"))
    }

    @Test func nothingIsFetched() {
        for word in ["http:", "https:", "src=", "href=", "url(", "@import", "<link", "<iframe", "<img"] {
            #expect(!page.contains(word), "\(word)")
        }
    }

    /// A browser forgives what a reader of XML would not.
    @Test func elementsAreClosed() {
        var open: [Substring] = []
        for match in page.matches(of: #/<(/?)([a-z][a-z0-9]*)[^<>]*?(/?)>/#) {
            let (isEnd, name, isEmpty) = (!match.1.isEmpty, match.2, !match.3.isEmpty)
            if isEmpty || ["meta", "br"].contains(name) { continue }
            if isEnd { #expect(open.popLast() == name) } else { open.append(name) }
        }
        #expect(open == [])
        #expect(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"))
    }

    @Test func figuresAreDrawn() {
        #expect(page.contains(">5.00 µs</text>"))
        #expect(page.matches(of: #/<figure>/#).count == 2)
        #expect(page.contains("layers in the chain") && page.contains("lost data, and has no score"))
        #expect(!page.contains("nan") && !page.contains("inf,") && !page.contains("inf\""))
    }

    /// Of the bare kernel calls there is a picture beside an engine's, and all in the table.
    @Test func whatNoEngineHasIsLeftToTheTable() {
        let btrfs = MadeReport.entry("btrfs", [MadeReport.result("mount", 5000)])
        let bare = MadeReport.entry(
            "bare calls", kind: .floor, [MadeReport.result("mount", 4000), MadeReport.result("view", 3000)])
        let page = ReportPage(Report(runs: [MadeReport.run([btrfs, bare])])).html
        #expect(page.matches(of: #/<figure>/#).count == 1 && page.contains("<td>3.00 µs"))
    }

    @Test func anEmptyReportIsAPage() {
        #expect(ReportPage(Report(runs: [])).html.contains("</html>"))
        #expect(ReportPage(Report(runs: [MadeReport.run([])])).html.contains("Linux 6.1.0"))
    }

    @Test func ticksAreFewAndInside() {
        for (low, high) in [(1.0, 1.0), (3000, 4000), (1, 1e9), (900, 1100), (5e6, 5.1e6)] {
            let scale = Scale(from: low / 1.25, to: high * 1.25, 190, 10)
            #expect((1...12).contains(scale.ticks.count), "\(low) to \(high): \(scale.ticks)")
            for tick in scale.ticks { #expect((9.9...190.1).contains(scale.position(tick))) }
        }
    }
}
