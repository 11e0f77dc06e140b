import Bench
@preconcurrency import Glibc
import Lamina

/// A report for a terminal: a figure a line, a driver a column.
struct BenchTable {
    private let report: Report

    init(_ report: Report) { self.report = report }

    func print() {
        for run in report.sections {
            var table = Table([""] + run.entries.map(\.name), rightAligned: Set(1...max(run.entries.count, 1)))
            for measurement in run.measured {
                let points = Set(run.entries.flatMap(\.results).filter { $0.measurement == measurement.id }.map(\.at))
                for point in points.sorted(by: { ($0 ?? 0) < ($1 ?? 0) }) { table.add(row(measurement, point, run)) }
            }
            table.print()
            for entry in run.entries {
                for loss in entry.fidelity?.losses ?? [] { Swift.print("\(entry.name) loses data: \(loss)") }
                for failure in entry.failures ?? [] {
                    Swift.print("\(entry.name) failed at \(failure.measurement): \(failure.message)")
                }
            }
            if let advice = run.recommendation { Swift.print("\n" + advice.summary) }
            for weakness in run.recommendation?.weaknesses ?? [] {
                Swift.print("\(weakness.driver) is weaker at: \(weakness.text)")
            }
        }
    }

    /// Medians; behind each half of the spread, in percent of it. The best has a star.
    private func row(_ measurement: Measurement, _ point: UInt64?, _ run: Report.Run) -> [String] {
        let results = run.entries.map { $0.result(measurement.id, at: point) }
        let best = measurement.best(of: run.entries, at: point)
        let at = point.map { ": \(Quantity.point($0, of: measurement))" } ?? ""
        return [measurement.title + at]
            + results.map { result in
                guard let result else { return "-" }
                let spread = 50 * Double(result.p90 - result.p10) / max(Double(result.median), 1)
                return Quantity.text(result.median, measurement.unit)
                    + (result.count > 1 ? " ±\(UInt64(min(spread, 999).rounded()))%" : "")
                    + (result.median == best ? " *" : "  ")
            }
    }
}

/// How far a bench is, on stderr when that is a terminal.
final class BenchProgress {
    private let isShown = isatty(STDERR_FILENO) == 1

    func show(_ progress: BenchRun.Progress) {
        guard isShown else { return }
        let left = progress.secondsLeft.map { $0 < 90 ? ", \($0) s left" : ", \(($0 + 30) / 60) min left" } ?? ""
        fputs("\r\(Int(progress.part * 100)) %\(left)  \(progress.step)\u{1B}[K", stderr)
    }

    /// Takes the line away.
    func finish() { if isShown { fputs("\r\u{1B}[K", stderr) } }
}
