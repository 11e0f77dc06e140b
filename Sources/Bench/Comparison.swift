/// Two reports, figure by figure.
public struct Comparison: Codable, Sendable, Equatable {
    public struct Row: Codable, Sendable, Equatable {
        public enum Verdict: String, Codable, Sendable {
            case better, worse, same
        }

        public let kind: Report.Entry.Kind
        public let name, measurement: String
        public let at: UInt64?
        public let before, after: UInt64
        /// Of the value, in tenths of a percent: 100 is a tenth more.
        public let changePerMille: Int64
        public let verdict: Verdict
    }

    public let rows: [Row]
    /// What makes the two less comparable, a line each.
    public let warnings: [String]

    /// A change of less, in tenths of a percent, is none.
    static let leastChange: Int64 = 50

    /// All figures that both have. A figure is the same unless its median has changed by a twentieth and the spreads
    /// (from the tenth to the ninetieth percentile) do not overlap.
    public init(_ before: Report, _ after: Report) {
        var rows: [Row] = []
        var warnings: [String] = []
        for new in after.sections {
            guard
                let old = before.sections.first(where: { $0.host.isComparable(to: new.host) })
                    ?? (before.sections.count == 1 && after.sections.count == 1 ? before.sections[0] : nil)
            else {
                warnings.append("only the second has a run on \(new.host.kernel), \(new.host.processor)")
                continue
            }
            warnings += Self.differences(old, new)
            for entry in new.entries {
                guard let earlier = old.entries.first(where: { $0.kind == entry.kind && $0.name == entry.name }) else {
                    continue
                }
                if entry.ground != earlier.ground {
                    warnings.append(
                        "\(entry.name) stood on \(earlier.ground ?? "?"), and then on \(entry.ground ?? "?")")
                }
                rows += Self.rows(earlier, entry, new)
            }
        }
        self.rows = rows
        self.warnings = warnings
    }

    private static func rows(_ old: Report.Entry, _ new: Report.Entry, _ run: Report.Run) -> [Row] {
        run.measured.flatMap { measurement in
            new.results.filter { $0.measurement == measurement.id }.compactMap { after -> Row? in
                guard let before = old.result(measurement.id, at: after.at) else { return nil }
                let base = max(Double(before.median), 1)
                let change = (Double(after.median) - Double(before.median)) / base * 1000
                let perMille = Int64(max(min(change, 1e15), -1e15).rounded())
                let isApart = after.p10 > before.p90 || after.p90 < before.p10
                let isLess = after.median < before.median
                var verdict = Row.Verdict.same
                if isApart, abs(perMille) >= leastChange {
                    verdict = isLess == (measurement.better == .lower) ? .better : .worse
                }
                return Row(
                    kind: new.kind, name: new.name, measurement: measurement.id, at: after.at, before: before.median,
                    after: after.median, changePerMille: perMille, verdict: verdict)
            }
        }
    }

    private static func differences(_ old: Report.Run, _ new: Report.Run) -> [String] {
        var lines: [String] = []
        func compare(_ what: String, _ old: String, _ new: String) {
            if old != new { lines.append("\(what): \(old), and then \(new)") }
        }
        compare("kernel", old.host.kernel, new.host.kernel)
        compare("processor", old.host.processor, new.host.processor)
        compare("profile", old.profile ?? "none", new.profile ?? "none")
        compare("seed", old.seed.map { "\($0)" } ?? "none", new.seed.map { "\($0)" } ?? "none")
        for (key, value) in (new.sizes ?? [:]).sorted(by: { $0.key < $1.key }) {
            if let earlier = old.sizes?[key] { compare("size \(key)", "\(earlier)", "\(value)") }
        }
        return lines
    }
}
