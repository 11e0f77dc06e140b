import Glibc
import HostProbe
import LayerStore
import LinuxSystem
import Logging
import StorageDriver
import SystemPackage

/// Compares the drivers of this host on the same work, side by side.
public struct BenchRun {
    /// What the user wishes.
    public struct Options: Sendable {
        public var plan: Plan
        public var seed: UInt64
        /// Nil for all that can take part.
        public var drivers: [String]?
        /// Where the drivers' roots are: an existing directory.
        public var place: String
        /// What the drivers stand on, as `lamina init` takes it: the place itself; files, one for each driver; or a pool
        /// or devices for the driver that takes them, and the place for all others. The filesystem is that in layers of
        /// a thin pool and, with files, that below directories of layers: ext4 unless it is said.
        public var ground: DriverOptions
        /// A root's tar; nil for one that is made.
        public var tar: String?

        public init(
            plan: Plan, seed: UInt64 = 1, drivers: [String]? = nil, place: String,
            ground: DriverOptions = DriverOptions(), tar: String? = nil
        ) {
            self.plan = plan
            self.seed = seed
            self.drivers = drivers
            self.place = place
            self.ground = ground
            self.tar = tar
        }

        /// Bytes of the file in which each driver works; nil where they work in none.
        var fileBytes: UInt64? { ground.backing?.loopBytes }
    }

    /// How far it is.
    public struct Progress: Sendable {
        /// What is done now: "changes in 1,000 files: btrfs".
        public let step: String
        /// Of all, from 0 to 1.
        public let part: Double
        /// Nil until it can be told.
        public let secondsLeft: UInt64?
    }

    private let options: Options
    private let facts: HostFacts
    private let choices: [DriverChoice]
    /// Bytes that one driver may occupy.
    private let needed: UInt64
    private let bench: Bench
    private let logger: Logger

    /// Looks at the host and at the wishes; makes nothing.
    /// - Parameter isStopped: asked between steps; once it is true, `run` takes down what is there and throws
    ///   `.aborted`.
    /// - Throws: `.invalidArgument` and `.failedPrecondition` for drivers, place and tar; `.resourceExhausted` where
    ///   the place or the files are too small.
    public init(
        _ options: Options, logger: Logger, isStopped: @escaping @Sendable () -> Bool = { false }
    ) throws(StorageError) {
        self.options = options
        self.logger = logger
        let facts = HostReader.facts(for: options.place)
        self.facts = facts
        if let refusal = facts.refusal {
            throw StorageError(
                .failedPrecondition, "bench", options.place, refusal.reason.message, hint: refusal.remedy)
        }
        let judged =
            options.fileBytes.map { facts.with(filesystem: options.ground.filesystem ?? "ext4", bytes: $0) } ?? facts
        choices = try DriverChoice.choose(judged, named: options.drivers, backing: options.ground.backing)
        bench = Bench(plan: options.plan, seed: options.seed, isStopped: isStopped)
        needed = options.plan.neededBytes(importBytes: try Self.importBytes(options))
        try requireRoom()
    }

    /// The drivers that take part.
    public var drivers: [String] { choices.map(\.driver) }

    /// Of what is imported, unpacked.
    private static func importBytes(_ options: Options) throws(StorageError) -> UInt64 {
        guard let tar = options.tar else { return MadeTar.imported(options.plan).bytes }
        let status = try attempt("bench", tar) {
            let file = try FileDescriptor.opening(tar)
            defer { file.closeQuietly() }
            return try file.status()
        }
        guard status.kind == .regular else {
            throw StorageError(.invalidArgument, "bench", tar, "it is no regular file, and is read several times")
        }
        // Packed ones become about three times as large.
        return status.size * 3
    }

    private func requireRoom() throws(StorageError) {
        if let bytes = options.fileBytes, bytes < needed {
            throw StorageError(
                .resourceExhausted, "bench", "--loop \(ByteCount(bytes))",
                "the profile \(options.plan.profile) needs \(ByteCount(needed)) for each driver", errno: .noSpace,
                hint: "give a larger size: files take on the disk only what is written")
        }
        let tars = options.plan.changesFiles.map { MadeTar.tree($0).bytes } + [MadeTar.imported(options.plan).bytes]
        let all = needed * UInt64(choices.count { $0.ground != .given }) + tars.reduce(0, +)
        if facts.filesystem.freeBytes < all {
            throw StorageError(
                .resourceExhausted, "bench", options.place,
                "\(ByteCount(all)) are needed, and \(ByteCount(facts.filesystem.freeBytes)) are free", errno: .noSpace,
                hint: "another --root, or fewer drivers with --drivers")
        }
    }

    /// What is given may be of any size, or have others on it.
    private func requireRoom(_ contender: Contender) throws(StorageError) {
        if contender.choice.ground != .given { return }
        let free = try contender.store.driver.status().space.freeBytes
        if free < needed {
            throw StorageError(
                .resourceExhausted, "bench", contender.ground,
                "the profile \(options.plan.profile) needs \(ByteCount(needed)), and \(ByteCount(free)) are free",
                errno: .noSpace)
        }
    }

    /// Measures.
    /// - Parameters:
    ///   - began: called with the directory in which all is, before anything is made there.
    ///   - progress: called at each step.
    /// - Throws: what making the roots throws; `.aborted` when it was stopped. All that was made is gone then too. A
    ///   driver that fails at some work is no error: the report says so.
    public func run(
        began: (String) -> Void = { _ in }, progress: @escaping (Progress) -> Void = { _ in }
    ) throws(StorageError) -> Report {
        var template = Array("\(options.place)/lamina-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw StorageError(SystemError.last("mkdtemp", options.place), "bench", options.place)
        }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        began(directory)
        var contenders: [Contender] = []
        let outcome: Result<Report, StorageError>
        do throws(StorageError) {
            for choice in choices {
                try bench.checkpoint()
                progress(Progress(step: "making a root for \(choice.driver)", part: 0, secondsLeft: nil))
                contenders.append(try Contender(choice, in: directory, options.ground, logger: logger))
                try requireRoom(contenders[contenders.count - 1])
            }
            outcome = .success(try measure(contenders, directory, progress))
        } catch {
            outcome = .failure(error)
        }
        var failure: StorageError?
        for contender in contenders {
            do throws(StorageError) { try contender.takeDown() } catch { failure = error }
        }
        for name in directoryNames(directory) ?? [] where name.hasSuffix(".tar") { unlink("\(directory)/\(name)") }
        rmdir(directory)
        if case .success = outcome, let failure { throw failure }
        return try outcome.get()
    }

    private func measure(
        _ contenders: [Contender], _ directory: String, _ progress: @escaping (Progress) -> Void
    ) throws(StorageError) -> Report {
        let (began, started) = (Instant.now, Clock.nanoseconds)
        // A tar that is none is told before all else is measured.
        if let tar = options.tar, let first = contenders.first {
            progress(Progress(step: "trying \(tar)", part: 0, secondsLeft: nil))
            try attempt("import", tar) {
                var unused = Recorder()
                try ImportWork(bench: bench, tar: tar).round(0, first, &unused)
            }
        }
        var fidelities: [Report.Fidelity] = []
        let gate = FidelityGate(directory: directory)
        for contender in contenders {
            try bench.checkpoint()
            progress(Progress(step: "fidelity: \(contender.driver)", part: 0, secondsLeft: nil))
            fidelities.append(try gate.check(contender))
        }
        fidelities = FidelityGate.compare(fidelities)
        let scored = zip(contenders, fidelities).filter { $0.1.losses.isEmpty }.map(\.0)
        // No round of any work fills more than half of what a driver needs.
        var rounds = Rounds(
            bench: bench, works: try works(directory), room: needed / 2, logger: logger, progress: progress)
        try rounds.run(scored)
        let entries = zip(contenders, fidelities).map { $0.entry($1) }
        var sizes = options.plan.sizes
        sizes["importBytes"] =
            options.tar.flatMap { try? FileStatus(path: $0).size } ?? MadeTar.imported(options.plan).bytes
        if let bytes = options.fileBytes { sizes["loopBytes"] = bytes }
        var run = Report.Run(
            startedAt: began.rfc3339, seconds: (Clock.nanoseconds - started) / 1_000_000_000,
            profile: options.plan.profile,
            seed: options.seed, sizes: sizes, host: Report.Host(facts), measurements: Measurement.all, entries: entries,
            overhead: rounds.overhead(scored), notes: notes)
        run.recommendation = Recommendation(run)
        return Report(runs: [run])
    }

    private var notes: [String] {
        let given = choices.first { $0.ground == .given }
        return [
            "import: "
                + (options.tar ?? "a tar of \(options.plan.importFiles) files that was made for it"),
            options.fileBytes != nil
                ? "all drivers work in files through loop devices; on a disk of their own all is faster"
                : "all drivers\(given.map { " but \($0.driver)" } ?? "") work on the filesystem of \(options.place)",
            "reads and writes are Lamina's own, one at a time, without fio",
        ]
    }

    private func works(_ directory: String) throws(StorageError) -> [any Work] {
        var tar = directory + "/import.tar"
        if let real = options.tar { tar = real } else { try MadeTar.imported(options.plan).write(to: tar, bench) }
        var works: [any Work] = [
            LifeCycleWork(bench: bench), ChainWork(bench: bench), ParallelWork(bench: bench),
            ImportWork(bench: bench, tar: tar),
        ]
        for files in options.plan.changesFiles {
            let tree = "\(directory)/tree-\(files).tar"
            try MadeTar.tree(files).write(to: tree, bench)
            works.append(ChangesWork(bench: bench, files: files, tar: tree))
        }
        return works + [
            FirstWriteWork(bench: bench), DataWork(bench: bench), MetadataWork(bench: bench), SpaceWork(bench: bench),
        ]
    }
}
