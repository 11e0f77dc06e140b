import ArgumentParser
import Bench
@preconcurrency import Glibc
import Lamina

struct BenchGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Compare the drivers of this host on the same work, and recommend one.",
        subcommands: [BenchMeasure.self, BenchCompare.self, BenchReport.self], defaultSubcommand: BenchMeasure.self)
}

struct BenchMeasure: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Measure (what bench does when nothing else is said).",
        discussion: """
            Every driver gets a root of its own, does the same work in turn with the others, and is taken down again. \
            The roots are made where --root (or LAMINA_ROOT) says, else below --out, else in TMPDIR. Without --loop all \
            work on the filesystem there; with it each gets a file of that size, with a filesystem of the kind of --fs \
            where it needs one, and btrfs, devicemapper and zfs take part anywhere. --pool and --data give devicemapper \
            (--pool also zfs, when --drivers names that) what they give it in lamina init, for the time of the bench; \
            all others work on the filesystem.
            quick takes two or three minutes, full about ten, and 2.75 GiB for each driver; other work on the machine \
            disturbs both.
            """)

    enum Profile: String, ExpressibleByArgument, CaseIterable {
        case quick, full

        var plan: Plan { self == .quick ? .quick : .full }
    }

    @OptionGroup var global: GlobalOptions
    @Option(help: "Drivers, separated by commas, or all: those that can work here.") var drivers = "all"
    @Option(help: "quick or full.") var profile: Profile = .quick
    @Option(help: "The same number is the same work.") var seed: UInt64 = 1
    @Option(help: "A directory for report.json and report.html.", completion: .directory) var out: String?
    @Option(help: "A root's tar to import, instead of one that is made.", completion: .file()) var real: String?
    @OptionGroup(title: "What the drivers stand on") var backing: BackingOptions

    func validate() throws {
        if backing.fs != nil, backing.driverOptions.backing == nil {
            throw ValidationError("--fs needs --loop, --pool or --data")
        }
        if backing.force, backing.data == nil { throw ValidationError("--force needs --data") }
        if drivers.split(separator: ",", omittingEmptySubsequences: false).contains("") {
            throw ValidationError("--drivers has an empty name in it")
        }
    }

    func run() throws {
        try global.requireRoot(for: "bench")
        let interruption = Interruption()
        let directory = try out.map { path throws(StorageError) in try ReportDirectory(absolutePath(path)) }
        defer { directory?.close() }
        let bench = try BenchRun(options, logger: global.logger) { interruption.isStopped }
        let progress = BenchProgress()
        defer { progress.finish() }
        let report = try bench.run { directory in
            note("comparing \(bench.drivers.joined(separator: ", ")) in \(directory)")
        } progress: {
            progress.show($0)
        }
        progress.finish()
        try directory?.write(report)
        if let out { note("report: \(out)/report.html") }
        if global.json { print(report.json) } else { BenchTable(report).print() }
    }

    private var options: BenchRun.Options {
        var names: [String]?
        if drivers != "all" {
            var seen: Set<String> = []
            names = drivers.split(separator: ",").map(String.init).filter { seen.insert($0).inserted }
        } else if let name = global.driverName {
            names = [name]
        }
        let temporary = getenv("TMPDIR").map { String(cString: $0) }.flatMap { exists($0) ? $0 : nil }
        let place = global.namesRoot ? nearestDirectory(global.rootPath) : out ?? temporary ?? "/tmp"
        return BenchRun.Options(
            plan: profile.plan, seed: seed, drivers: names, place: resolvedPath(place) ?? place,
            ground: backing.driverOptions, tar: real.map { absolutePath($0) })
    }
}

struct BenchCompare: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compare two reports, figure by figure.",
        discussion: """
            A figure is better or worse only when its median has changed by a twentieth and the spreads of the two do not \
            overlap.
            """)
    @OptionGroup var global: GlobalOptions
    @Argument(help: "A report.json.", completion: .file()) var before: String
    @Argument(help: "A later one.", completion: .file()) var after: String

    func run() throws {
        let comparison = Comparison(try Report(file: before), try Report(file: after))
        for warning in comparison.warnings { note("warning: \(warning)") }
        if comparison.rows.isEmpty {
            throw StorageError(
                .failedPrecondition, "compare", after, "the two have no figure in common",
                hint: "the same drivers and profile make them comparable")
        }
        if global.json { return try printJSON(comparison) }
        var table = Table(["driver", "figure", "before", "after", "change", ""], rightAligned: [2, 3, 4])
        for row in comparison.rows {
            let measurement = Measurement.known(row.measurement)
            let unit = measurement?.unit ?? .nanoseconds
            let point = measurement.flatMap { known in row.at.map { " " + Quantity.point($0, of: known) } } ?? ""
            table.add([
                printable(row.name), printable(measurement?.title ?? row.measurement) + point,
                Quantity.text(row.before, unit),
                Quantity.text(row.after, unit), Quantity.change(perMille: row.changePerMille), row.verdict.rawValue,
            ])
        }
        table.print()
    }
}

struct BenchReport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Put several reports, or results of other engines, into one.",
        discussion: "Those of one machine stand side by side.")
    @OptionGroup var global: GlobalOptions
    @Argument(help: "Files of the schema of report.json.", completion: .file()) var files: [String]
    @Option(help: "A directory for report.json and report.html.", completion: .directory) var out: String

    func run() throws {
        let runs = try files.flatMap { file throws(StorageError) in try Report(file: file).runs }
        let directory = try ReportDirectory(absolutePath(out))
        defer { directory.close() }
        try directory.write(Report(runs: runs))
        if global.json {
            try printJSON(["report": "\(out)/report.json", "page": "\(out)/report.html"])
        } else {
            print("\(out)/report.html")
        }
    }
}
