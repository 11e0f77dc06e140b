/// A report as one page of HTML that needs nothing else: its style and plots are in it.
public struct ReportPage {
    private let report: Report

    public init(_ report: Report) { self.report = report }

    public var html: String {
        let sections = report.sections
        let title = "Storage drivers, side by side"
        var body = "<h1>\(title)</h1>\n"
        body += "<p class=\"soft\">Made by <code>lamina bench</code>. Medians; the thin lines go from the 10th to the "
        body += "90th percentile. Figures of different machines stand apart and are not comparable.</p>\n"
        for run in sections { body += Section(run).html }
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(title)</title>
            <style>
            \(Self.style)
            </style>
            </head>
            <body>
            \(body)</body>
            </html>

            """
    }
}

/// One machine.
private struct Section {
    private let run: Report.Run
    private let entries: [(entry: Report.Entry, look: Look)]

    init(_ run: Report.Run) {
        self.run = run
        let sorted = Report.Entry.Kind.allCases.flatMap { kind in run.entries.filter { $0.kind == kind } }
        var counts: [Report.Entry.Kind: Int] = [:]
        entries = sorted.map { entry in
            let index = counts[entry.kind, default: 0]
            counts[entry.kind] = index + 1
            return (entry, Look(entry, index: index))
        }
    }

    var html: String { heading + advice + legend + plots + fidelity + allFigures + method }

    private var heading: String {
        let host = run.host
        let memory = host.memoryBytes.map { ", \(Quantity.text($0, .bytes)) of memory" } ?? ""
        let processors = host.processors == 1 ? "1 processor" : "\(host.processors) processors"
        var lines = "<h2>Linux \(escaped(host.kernel))\(host.isEmulated ? " (emulated)" : "")</h2>\n"
        lines += "<p class=\"soft\">\(escaped(host.processor)), \(processors)\(memory)"
        if let path = host.path, let filesystem = host.filesystem {
            lines += "; \(escaped(path)) on \(escaped(filesystem))"
        }
        lines += ".<br>\(escaped(String(run.startedAt.prefix(16)).replacing("T", with: " "))) UTC"
        if let lamina = run.lamina { lines += ", Lamina \(escaped(lamina))" }
        if let profile = run.profile { lines += ", profile \(escaped(profile))" }
        if let seed = run.seed { lines += ", seed \(seed)" }
        if let seconds = run.seconds { lines += ", measured for \(seconds) s" }
        lines += ".</p>\n"
        if host.isEmulated {
            lines += "<p class=\"soft\">This machine is emulated: processors are ten to thirty times slower than real "
            lines += "ones, disks are not. What counts is the order of drivers and peers, less their distance.</p>\n"
        }
        return lines
    }

    // MARK: The recommendation

    private var advice: String {
        guard let advice = run.recommendation else { return "" }
        var html = "<div class=\"advice\"><h3>"
        html += advice.driver.map { "Take \(escaped($0))" } ?? "No recommendation"
        html += "</h3>\n<p>\(escaped(advice.summary))</p>\n"
        if !advice.reasons.isEmpty {
            html += "<h4>What speaks for it</h4>\n<ul>" + list(advice.reasons.map(escaped)) + "</ul>\n"
        }
        if !advice.weaknesses.isEmpty {
            html += "<h4>What each is weaker at</h4>\n<ul>"
            html += list(advice.weaknesses.map { "<b>\(escaped($0.driver))</b>: \(escaped($0.text))" }) + "</ul>\n"
        }
        return html + "</div>\n"
    }

    private func list(_ items: [String]) -> String { items.map { "<li>\($0)</li>\n" }.joined() }

    private var legend: String {
        let items = entries.map { entry, look in
            let marker =
                "<svg viewBox=\"0 0 26 14\" class=\"\(look.style)\" aria-hidden=\"true\">"
                + "<path class=\"line\" d=\"M0 7H26\"/>\(look.mark(13, 7))</svg>"
            let kind =
                switch entry.kind {
                case .driver: entry.ground ?? ""
                case .peer: "peer" + (entry.version.map { " " + $0 } ?? "")
                case .floor: "no engine on it can be faster"
                }
            return marker + escaped(entry.name) + " <small>\(escaped(kind))</small>"
        }
        return "<ul class=\"legend\">" + list(items) + "</ul>\n"
    }

    // MARK: Plots and figures

    private var plots: String {
        Measurement.Group.allCases.map { group in
            let figures = run.measured.filter { $0.group == group }
                .map { Plot(measurement: $0, entries: entries).figure }.joined()
            return figures.isEmpty ? "" : "<h3>\(escaped(group.title))</h3>\n<div class=\"plots\">\(figures)</div>\n"
        }.joined()
    }

    private var allFigures: String {
        var html = "<details><summary>All figures</summary>\n<div class=\"wide\"><table>\n<tr><th></th>"
        html += entries.map { "<th>\(escaped($0.entry.name))</th>" }.joined() + "</tr>\n"
        for measurement in run.measured {
            let points = Set(entries.flatMap(\.entry.results).filter { $0.measurement == measurement.id }.map(\.at))
            for point in points.sorted(by: { ($0 ?? 0) < ($1 ?? 0) }) { html += row(measurement, point) }
        }
        return html + "</table></div>\n</details>\n"
    }

    private func row(_ measurement: Measurement, _ point: UInt64?) -> String {
        let results = entries.map { $0.entry.result(measurement.id, at: point) }
        let best = measurement.best(of: entries.map(\.entry), at: point)
        let at = point.map { " <small>\(escaped(Quantity.place($0, on: measurement)))</small>" }
        let cells = results.map { result -> String in
            guard let result else { return "<td>–</td>" }
            func text(_ value: UInt64) -> String { escaped(Quantity.text(value, measurement.unit)) }
            let range = "\(text(result.p10)) – \(text(result.p90)), \(result.count)×"
            let weight = result.median == best ? " class=\"best\"" : ""
            return "<td\(weight)>\(text(result.median))\(result.count > 1 ? "<small>\(range)</small>" : "")</td>"
        }
        return "<tr><td>\(escaped(measurement.title))\(at ?? "")</td>\(cells.joined())</tr>\n"
    }

    // MARK: What is behind them

    private var fidelity: String {
        let checked = entries.compactMap { item in item.entry.fidelity.map { (item.entry, $0) } }
        if checked.isEmpty { return "" }
        let rows = checked.map { entry, fidelity in
            let verdict =
                fidelity.losses.isEmpty
                ? "<span class=\"good\">kept everything</span>"
                : "<span class=\"bad\">lost data, and has no score:</span> "
                    + fidelity.losses.map(escaped).joined(separator: "; ")
            return "<tr><td>\(escaped(entry.name))</td><td class=\"text\">\(verdict)</td></tr>\n"
        }
        return "<h3>Fidelity</h3>\n<p>A tree with links, devices, holes, capabilities, ACLs, attributes, odd names and "
            + "times was committed, inherited, changed, written as a tar and read in again; all must give the same "
            + "tars.</p>\n<div class=\"wide\"><table>\(rows.joined())</table></div>\n" + failures
    }

    private var failures: String {
        let items = entries.flatMap { item in
            (item.entry.failures ?? []).map { failure in
                let title = run.measurement(failure.measurement)?.title ?? failure.measurement
                return "\(escaped(item.entry.name)), \(escaped(title)): \(escaped(failure.message))"
            }
        }
        return items.isEmpty ? "" : "<p>What failed:</p>\n<ul>" + list(items) + "</ul>\n"
    }

    private var method: String {
        var items = (run.notes ?? []).map(escaped)
        if run.entries.contains(where: { $0.kind == .driver }) {
            items += [
                "Each driver has a root and data of its own. Each round of a work is done by all in turn, each time "
                    + "another one first; the first round only warms up; all that one has written is on the disk "
                    + "before the next one begins.",
                "File data for first reads, sequential and random reads is not in the page cache of the layer.",
            ]
        }
        if let overhead = run.overhead {
            items.append("Measuring itself took \(Quantity.fixed(overhead.fraction * 100, 2)) % of what was measured.")
        }
        if let sizes = run.sizes, !sizes.isEmpty {
            let list = sizes.sorted { $0.key < $1.key }.map { "\(escaped($0.key)) \(Quantity.grouped($0.value))" }
            items.append("Sizes: " + list.joined(separator: ", ") + ".")
        }
        var html = "<details><summary>How this was measured</summary>\n<ul>\(list(items))</ul>\n"
        if let drivers = run.host.drivers, !drivers.isEmpty {
            html += "<p>What <code>lamina probe</code> says of the drivers there:</p>\n<div class=\"wide\"><table>"
            for driver in drivers {
                html += "<tr><td>\(escaped(driver.name))</td><td class=\"text\">"
                html += "\(escaped(driver.status)): \(escaped(driver.reason))</td></tr>\n"
            }
            html += "</table></div>\n"
        }
        return html + "</details>\n"
    }
}
