import Glibc
import HostProbe

/// Which driver to take here, and the figures behind it.
public struct Recommendation: Codable, Sendable, Equatable {
    /// A driver's place.
    public struct Standing: Codable, Sendable, Equatable {
        public let driver: String
        /// How many times the best driver's cost its own is, over all groups of measurements, in percent: 100 is the
        /// best in everything.
        public let percentOfBest: UInt64
        /// How many figures it is the best in, and of how many.
        public let bestIn, of: UInt64
    }

    public struct Weakness: Codable, Sendable, Equatable {
        public let driver, text: String
    }

    /// Nil where no driver is to be recommended.
    public let driver: String?
    public let summary: String
    /// What speaks for it, in figures.
    public let reasons: [String]
    /// What each driver is weaker at.
    public let weaknesses: [Weakness]
    /// The best first.
    public let standings: [Standing]

    /// Two drivers this near to each other, in percent of the better one, are taken for equal.
    static let tie: UInt64 = 110
    /// A figure counts as so many times the best at most; one that is missing because the driver failed counts as that.
    static let mostTimes = 100.0

    /// A rule that anybody can follow: each figure is seen as so many times the best driver's; figures are averaged in
    /// their group, groups over all (geometric means), so that no group counts more for having more figures. Of drivers
    /// that are as good as equal the one that is preferred anyway wins. One that loses data has no place, and vfs is
    /// recommended only where nothing else can work.
    public init(_ run: Report.Run) {
        let entries = run.entries.filter { $0.kind == .driver && $0.isFaithful }
        let figures = Figure.all(of: entries, in: run)
        let standings = entries.map { Self.standing(of: $0.name, in: figures) }
            .sorted { ($0.percentOfBest, $0.driver) < ($1.percentOfBest, $1.driver) }
        self.standings = standings
        let candidates = standings.filter { $0.driver != "vfs" }
        let order = DriverRegistry.order.map(\.driver)
        let best = candidates.first ?? standings.first
        let equals = candidates.filter { $0.percentOfBest * 100 <= (best?.percentOfBest ?? 0) * Self.tie }
        let chosen = order.compactMap { name in equals.first { $0.driver == name } }.first ?? best
        driver = figures.isEmpty ? nil : chosen?.driver
        summary = Self.summary(chosen, standings, isTie: chosen?.driver != best?.driver, figures.isEmpty)
        reasons = driver.map { Self.strengths(of: $0, in: figures) } ?? []
        weaknesses = entries.compactMap { entry in
            let text = Self.weakness(of: entry.name, in: figures)
            return text.map { Weakness(driver: entry.name, text: $0) }
        }
    }

    private static func standing(of driver: String, in figures: [Figure]) -> Standing {
        var groups: [Measurement.Group: [Double]] = [:]
        for figure in figures { groups[figure.measurement.group, default: []].append(log(figure.times(driver))) }
        let means = groups.values.map { $0.reduce(0, +) / Double($0.count) }
        let mean = means.isEmpty ? 0 : means.reduce(0, +) / Double(means.count)
        let best = figures.filter { $0.best == driver }.count
        return Standing(
            driver: driver, percentOfBest: UInt64((exp(mean) * 100).rounded()), bestIn: UInt64(best),
            of: UInt64(figures.count))
    }

    private static func summary(
        _ chosen: Standing?, _ standings: [Standing], isTie: Bool, _ isEmpty: Bool
    ) -> String {
        guard let chosen, !isEmpty else {
            return "No driver can be recommended: fewer than two kept all data and were measured."
        }
        func times(_ standing: Standing) -> String { Quantity.factor(Double(standing.percentOfBest) / 100) }
        let others = standings.filter { $0.driver != chosen.driver }
        var text =
            "\(chosen.driver): over all groups its cost is \(times(chosen)) times that of the best in each figure"
        if !others.isEmpty {
            text += "; " + others.map { "\($0.driver)'s is \(times($0)) times" }.joined(separator: ", ")
        }
        text += ". It is the best in \(chosen.bestIn) of \(chosen.of) figures."
        if isTie {
            text += " It is as good as equal to the first, and before it in the order of preference"
            text += " (lamina probe --explain)."
        }
        return text
    }

    /// The figures, one of each measurement, in which it is most ahead of the next one.
    private static func strengths(of driver: String, in figures: [Figure]) -> [String] {
        let ahead = figures.filter { $0.best == driver && $0.lead >= 1.2 }.sorted { $0.lead > $1.lead }
        return firstOfEach(ahead).prefix(4).map { figure in
            "\(figure.title): \(figure.text(driver)), " + figure.others(driver).joined(separator: ", ")
        }
    }

    private static func weakness(of driver: String, in figures: [Figure]) -> String? {
        let behind = figures.filter { $0.best != driver && $0.times(driver) >= 1.2 }
            .sorted { $0.times(driver) > $1.times(driver) }
        let parts = firstOfEach(behind).prefix(3).map { figure in
            "\(figure.title) (\(figure.text(driver)), \(figure.best) \(figure.text(figure.best)))"
        }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    private static func firstOfEach(_ figures: [Figure]) -> [Figure] {
        var seen: Set<String> = []
        return figures.filter { seen.insert($0.measurement.id).inserted }
    }
}

/// One figure of all drivers that have it.
private struct Figure {
    let measurement: Measurement
    let at: UInt64?
    private let medians: [String: UInt64]
    let best: String

    /// All figures that at least two drivers have.
    static func all(of entries: [Report.Entry], in run: Report.Run) -> [Figure] {
        run.measured.flatMap { measurement -> [Figure] in
            let points = Set(entries.flatMap(\.results).filter { $0.measurement == measurement.id }.map(\.at))
            return points.sorted { ($0 ?? 0) < ($1 ?? 0) }.compactMap { Figure(measurement, at: $0, entries) }
        }
    }

    private init?(_ measurement: Measurement, at point: UInt64?, _ entries: [Report.Entry]) {
        var medians: [String: UInt64] = [:]
        for entry in entries {
            if let result = entry.result(measurement.id, at: point) { medians[entry.name] = result.median }
        }
        // In the order of the entries where two are equal.
        let names = entries.map(\.name).filter { medians[$0] != nil }
        let isLower = measurement.better == .lower
        let best = names.dropFirst().reduce(names.first) { best, name in
            let (old, new) = (medians[best ?? ""] ?? 0, medians[name] ?? 0)
            return (isLower ? new < old : new > old) ? name : best
        }
        guard let best, names.count > 1 else { return nil }
        self.measurement = measurement
        at = point
        self.medians = medians
        self.best = best
    }

    var title: String {
        guard let at else { return measurement.title }
        return "\(measurement.title), \(Quantity.place(at, on: measurement))"
    }

    func text(_ driver: String) -> String { medians[driver].map { Quantity.text($0, measurement.unit) } ?? "failed" }

    /// How many times the best driver's cost the driver's own is.
    func times(_ driver: String) -> Double {
        guard let own = medians[driver], let best = medians[best] else { return Recommendation.mostTimes }
        // Nothing is free: less than that is taken for that.
        let least: Double =
            switch measurement.unit {
            case .nanoseconds: 1000
            case .bytes: 4096
            case .percent, .bytesPerSecond, .perSecond: 1
            }
        let (a, b) = (max(Double(own), least), max(Double(best), least))
        return min(measurement.better == .lower ? a / b : b / a, Recommendation.mostTimes)
    }

    /// How many times the next one's cost is.
    var lead: Double { medians.keys.filter { $0 != best }.map(times).min() ?? 1 }

    /// Nearest first.
    func others(_ driver: String) -> [String] {
        medians.keys.filter { $0 != driver }.sorted { (times($0), $0) < (times($1), $1) }
            .map { "\($0) \(text($0))" }
    }
}
