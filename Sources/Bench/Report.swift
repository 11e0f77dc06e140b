/// What `lamina bench` has found: the content of `report.json`.
///
/// The schema, version 1. Keys are lowerCamelCase, times RFC 3339 in UTC, values whole numbers; what is not known is
/// left out.
///
///     {"schema": "lamina-bench", "schemaVersion": 1, "runs": [
///       {"startedAt": "2026-01-02T03:04:05.000000000Z", "seconds": 120, "lamina": "0.1.0", "profile": "quick",
///        "seed": 1, "sizes": {"treeFiles": 1000, ...},
///        "host": {"kernel": "6.1.0-41-amd64", "processor": "...", "processors": 2, "memoryBytes": 4294967296,
///                 "path": "/mnt", "filesystem": "ext4", ...},
///        "measurements": [{"id", "group", "title", "unit", "better", "axis"?, "axisUnit"?}],
///        "entries": [
///          {"kind": "driver" | "peer" | "floor", "name": "btrfs", "ground": "btrfs in a file of 4.00 GiB", "version"?: "...",
///           "fidelity": {"losses": [], "diffIDs": ["sha256:..."]},
///           "results": [{"measurement": "create.child", "at"?: 16, "count": 20, "median": 1234, "p10", "p90", "min",
///                        "max"}],
///           "failures": [{"measurement": "import", "message": "..."}]}],
///        "overhead": {"harnessNanoseconds", "workNanoseconds"},
///        "recommendation": {...}}]}
///
/// A file of other engines has one run with entries of the kind "peer", one of the bare kernel calls, which no engine on
/// the same mechanism can be faster than, of the kind "floor": `measurements` may leave out those that Lamina
/// knows (`Measurement.all`), `fidelity`, `sizes`, `overhead` and `recommendation` may be missing. Runs on the same
/// kernel and processor are shown together; a median of one is never compared with that of another machine.
public struct Report: Codable, Sendable, Equatable {
    public static let schema = "lamina-bench"
    public static let version = 1

    public var schema = Report.schema
    public var schemaVersion = Report.version
    public var runs: [Run]

    public init(runs: [Run]) { self.runs = runs }

    public struct Run: Codable, Sendable, Equatable {
        public var startedAt: String
        public var seconds: UInt64?
        /// The version of Lamina; of peers, each entry has its own.
        public var lamina: String?
        public var profile: String?
        public var seed: UInt64?
        /// How much work there was, by what names it ("treeFiles": 1000).
        public var sizes: [String: UInt64]?
        public var host: Host
        public var measurements: [Measurement]?
        public var entries: [Entry]
        public var overhead: Overhead?
        public var recommendation: Recommendation?
        /// What a reader should know of how it came about, a line each.
        public var notes: [String]?

        public init(
            startedAt: String, seconds: UInt64? = nil, lamina: String? = nil, profile: String? = nil,
            seed: UInt64? = nil, sizes: [String: UInt64]? = nil, host: Host, measurements: [Measurement]? = nil,
            entries: [Entry], overhead: Overhead? = nil, recommendation: Recommendation? = nil, notes: [String]? = nil
        ) {
            self.startedAt = startedAt
            self.seconds = seconds
            self.lamina = lamina
            self.profile = profile
            self.seed = seed
            self.sizes = sizes
            self.host = host
            self.measurements = measurements
            self.entries = entries
            self.overhead = overhead
            self.recommendation = recommendation
            self.notes = notes
        }

        /// The measurement of an id, as this run or Lamina describes it.
        public func measurement(_ id: String) -> Measurement? {
            measurements?.first { $0.id == id } ?? Measurement.known(id)
        }

        /// All that any entry has a result of, in Lamina's order, others behind.
        public var measured: [Measurement] {
            let ids = Set(entries.flatMap(\.results).map(\.measurement))
            let others = (measurements ?? []).filter { Measurement.known($0.id) == nil }
            return (Measurement.all + others).filter { ids.contains($0.id) }
        }
    }

    /// Where it was measured.
    public struct Host: Codable, Sendable, Equatable {
        public var kernel: String
        public var processor: String
        public var processors: Int
        public var memoryBytes: UInt64?
        /// The directory in which the drivers had their roots.
        public var path: String?
        public var filesystem: String?
        public var device: String?
        public var container: String?
        /// What the probe says of each driver there.
        public var drivers: [Judgement]?

        public struct Judgement: Codable, Sendable, Equatable {
            public var name, status, reason: String

            public init(name: String, status: String, reason: String) {
                self.name = name
                self.status = status
                self.reason = reason
            }
        }

        public init(
            kernel: String, processor: String, processors: Int, memoryBytes: UInt64? = nil, path: String? = nil,
            filesystem: String? = nil, device: String? = nil, container: String? = nil, drivers: [Judgement]? = nil
        ) {
            self.kernel = kernel
            self.processor = processor
            self.processors = processors
            self.memoryBytes = memoryBytes
            self.path = path
            self.filesystem = filesystem
            self.device = device
            self.container = container
            self.drivers = drivers
        }

        /// Whether figures of both may stand beside each other.
        public func isComparable(to other: Host) -> Bool {
            kernel == other.kernel && processor == other.processor && processors == other.processors
        }

        /// QEMU's processor without hardware acceleration names itself so.
        public var isEmulated: Bool { processor.hasPrefix("QEMU TCG") }
    }

    /// A driver, another engine, or the bare kernel calls, and what it did.
    public struct Entry: Codable, Sendable, Equatable {
        /// In the order in which they are shown.
        public enum Kind: String, Codable, Sendable, CaseIterable {
            case driver, peer, floor
        }

        public var kind: Kind
        public var name: String
        /// What it stood on ("btrfs in a file of 4.00 GiB").
        public var ground: String?
        public var version: String?
        public var fidelity: Fidelity?
        public var results: [Result]
        public var failures: [Failure]?

        public init(
            kind: Kind, name: String, ground: String? = nil, version: String? = nil, fidelity: Fidelity? = nil,
            results: [Result] = [], failures: [Failure]? = nil
        ) {
            self.kind = kind
            self.name = name
            self.ground = ground
            self.version = version
            self.fidelity = fidelity
            self.results = results
            self.failures = failures
        }

        public func result(_ measurement: String, at point: UInt64? = nil) -> Result? {
            results.first { $0.measurement == measurement && $0.at == point }
        }

        /// Whether it gets a score: nothing that was written into it was lost.
        public var isFaithful: Bool { fidelity.map { $0.losses.isEmpty } ?? true }
    }

    /// What became of a tree with all that a layer can hold.
    public struct Fidelity: Codable, Sendable, Equatable {
        /// What was not as it had been written, a line each.
        public var losses: [String]
        /// Of the tree, and of the changes made to it in a second layer.
        public var diffIDs: [String]

        public init(losses: [String], diffIDs: [String]) {
            self.losses = losses
            self.diffIDs = diffIDs
        }
    }

    /// One figure with its spread.
    public struct Result: Codable, Sendable, Equatable {
        public var measurement: String
        /// The point of the measurement's axis; nil where it has none.
        public var at: UInt64?
        public var count: UInt64
        public var median, p10, p90, min, max: UInt64

        public init(
            measurement: String, at: UInt64? = nil, count: UInt64, median: UInt64, p10: UInt64, p90: UInt64,
            min: UInt64, max: UInt64
        ) {
            self.measurement = measurement
            self.at = at
            self.count = count
            self.median = median
            self.p10 = p10
            self.p90 = p90
            self.min = min
            self.max = max
        }
    }

    /// A measurement that could not be taken.
    public struct Failure: Codable, Sendable, Equatable {
        /// The first measurement of the work that failed.
        public var measurement: String
        public var message: String

        public init(measurement: String, message: String) {
            self.measurement = measurement
            self.message = message
        }
    }

    /// What the measuring itself took of the time of the rounds.
    public struct Overhead: Codable, Sendable, Equatable {
        public var harnessNanoseconds, workNanoseconds: UInt64

        public init(harnessNanoseconds: UInt64, workNanoseconds: UInt64) {
            self.harnessNanoseconds = harnessNanoseconds
            self.workNanoseconds = workNanoseconds
        }

        /// Of the work, as a fraction.
        public var fraction: Double {
            workNanoseconds == 0 ? 0 : Double(harnessNanoseconds) / Double(workNanoseconds)
        }
    }

    /// Runs that were taken on the same kernel and processor as one: entries side by side.
    public var sections: [Run] {
        var sections: [Run] = []
        for run in runs {
            if let index = sections.firstIndex(where: { $0.host.isComparable(to: run.host) }) {
                sections[index].join(run)
            } else {
                sections.append(run)
            }
        }
        return sections
    }
}

extension Report.Run {
    /// Takes the entries of another run on the same machine. What says how the work was done stays that of the run with
    /// drivers.
    fileprivate mutating func join(_ other: Report.Run) {
        let hasDrivers = entries.contains { $0.kind == .driver }
        let (first, second) = hasDrivers ? (self, other) : (other, self)
        var joined = first
        joined.entries = first.entries + second.entries
        let own = first.measurements ?? []
        joined.measurements =
            own + (second.measurements ?? []).filter { new in !own.contains { $0.id == new.id } }
        joined.notes = (first.notes ?? []) + first.otherWork(than: second) + (second.notes ?? [])
        self = joined
    }

    /// What another run did more or less of, a line each.
    private func otherWork(than other: Report.Run) -> [String] {
        let names = other.entries.map(\.name).joined(separator: ", ")
        return (other.sizes ?? [:]).sorted { $0.key < $1.key }.compactMap { key, size in
            guard let own = sizes?[key], own != size else { return nil }
            return "not the same work: \(key) is \(Quantity.grouped(own)), and \(Quantity.grouped(size)) for \(names)"
        }
    }
}
