import Glibc

/// Plots of one measurement as SVG: for a page whose style sheet has the colours.
struct Plot {
    let measurement: Measurement
    /// In the order in which they are shown.
    let entries: [(entry: Report.Entry, look: Look)]
    private static let width = 340.0

    /// Entries that have a result.
    private var present: [(entry: Report.Entry, look: Look)] {
        entries.filter { $0.entry.results.contains { $0.measurement == measurement.id } }
    }

    /// Bars where there is one figure, lines where it is measured against something; empty where no engine has it.
    var figure: String {
        if present.allSatisfy({ $0.entry.kind == .floor }) { return "" }
        let drawing = measurement.axis == nil ? bars : lines
        let better = measurement.better == .lower ? "less is better" : "more is better"
        return """
            <figure><figcaption>\(escaped(measurement.title)) <small>\(better)</small></figcaption>
            \(drawing)</figure>

            """
    }

    private func open(_ height: Double) -> String {
        "<svg viewBox=\"0 0 \(coordinate(Self.width)) \(coordinate(height))\" role=\"img\" aria-label=\""
            + "\(escaped(measurement.title))\">\n"
    }

    private func tip(_ entry: Report.Entry, _ result: Report.Result) -> String {
        func text(_ value: UInt64) -> String { Quantity.text(value, measurement.unit) }
        let point = result.at.map { ", " + Quantity.place($0, on: measurement) } ?? ""
        return "<title>"
            + escaped(
                "\(entry.name)\(point): \(text(result.median)), from \(text(result.p10)) to \(text(result.p90)) "
                    + "(\(result.count) rounds)") + "</title>"
    }

    // MARK: Bars

    private var bars: String {
        let rows = present.compactMap { item in item.entry.result(measurement.id).map { (item, $0) } }
        let label = min(170, Double(rows.map { $0.0.entry.name.count }.max() ?? 0) * 7.1 + 12)
        let room = Self.width - label - 86
        let most = max(Double(rows.map { $0.1.p90 }.max() ?? 1), 1)
        let best = measurement.best(of: rows.map(\.0.entry))
        var svg = open(Double(rows.count) * 24 + 4)
        for (index, (item, result)) in rows.enumerated() {
            let y = Double(index) * 24 + 4
            func x(_ value: UInt64) -> Double { label + room * min(Double(value) / most, 1) }
            let length = max(x(result.median) - label, 1.5)
            let weight = result.median == best ? " class=\"best\"" : ""
            svg += """
                <g class="\(item.look.style)">\(tip(item.entry, result))
                <text x="\(coordinate(label - 8))" y="\(coordinate(y + 12))" text-anchor="end">\
                \(escaped(item.entry.name))</text>
                <rect x="\(coordinate(label))" y="\(coordinate(y))" width="\(coordinate(length))" height="16" rx="2"/>
                \(whisker(x(result.p10), x(result.p90), y + 8))
                <text x="\(coordinate(max(label + length, x(result.p90)) + 7))" y="\(coordinate(y + 12))"\(weight)>\
                \(escaped(Quantity.text(result.median, measurement.unit)))</text></g>

                """
        }
        return svg + "</svg>\n"
    }

    private func whisker(_ from: Double, _ to: Double, _ y: Double) -> String {
        if to - from < 1 { return "" }
        let (a, b) = (coordinate(from), coordinate(to))
        let (top, middle, bottom) = (coordinate(y - 3), coordinate(y), coordinate(y + 3))
        return "<path class=\"spread\" d=\"M\(a) \(middle)H\(b)M\(a) \(top)V\(bottom)M\(b) \(top)V\(bottom)\"/>"
    }

    // MARK: Lines

    private var lines: String {
        let all = present.flatMap { item in
            item.entry.results.filter { $0.measurement == measurement.id && $0.at != nil }
        }
        let points = Set(all.compactMap(\.at)).sorted()
        guard let first = points.first, let last = points.last else { return "" }
        let (left, right, top, bottom) = (56.0, Self.width - 14, 10.0, 190.0)
        let across = Scale(from: max(Double(first), 1), to: max(Double(last), 1), left, right)
        let lowest = max(Double(all.map(\.p10).min() ?? 1), 1)
        let highest = max(Double(all.map(\.p90).max() ?? 1), lowest)
        let up = Scale(from: lowest / 1.25, to: highest * 1.25, bottom, top)
        var svg = open(232)
        for value in up.ticks {
            let y = coordinate(up.position(value))
            svg += "<path class=\"grid\" d=\"M\(coordinate(left)) \(y)H\(coordinate(right))\"/>"
            svg += "<text class=\"tick\" x=\"\(coordinate(left - 6))\" y=\"\(coordinate(up.position(value) + 4))\" "
            svg += "text-anchor=\"end\">\(escaped(tick(value)))</text>\n"
        }
        for point in points {
            svg += "<text class=\"tick\" x=\"\(coordinate(across.position(Double(point))))\" y=\"208\" "
            let text = Quantity.point(point, of: measurement).replacing(".00", with: "").replacing(".0 ", with: " ")
            svg += "text-anchor=\"middle\">\(escaped(text))</text>\n"
        }
        svg += "<text class=\"tick\" x=\"\(coordinate((left + right) / 2))\" y=\"226\" text-anchor=\"middle\">"
        svg += "\(escaped(measurement.axis ?? ""))</text>\n"
        // What comes first is seen best.
        for item in present.reversed() { svg += line(item.entry, item.look, across, up) }
        return svg + "</svg>\n"
    }

    private func line(_ entry: Report.Entry, _ look: Look, _ across: Scale, _ up: Scale) -> String {
        let results = entry.results.filter { $0.measurement == measurement.id && $0.at != nil }
            .sorted { ($0.at ?? 0) < ($1.at ?? 0) }
        func y(_ value: UInt64) -> Double { up.position(max(Double(value), 1)) }
        var path = ""
        var marks = ""
        for result in results {
            let x = across.position(max(Double(result.at ?? 1), 1))
            path += (path.isEmpty ? "M" : "L") + coordinate(x) + " " + coordinate(y(result.median))
            let (high, low) = (coordinate(y(result.p90)), coordinate(y(result.p10)))
            marks += "<g>\(tip(entry, result))<path class=\"spread\" d=\"M\(coordinate(x)) \(high)V\(low)\"/>"
            marks += look.mark(x, y(result.median)) + "</g>"
        }
        return "<g class=\"\(look.style)\"><path class=\"line\" d=\"\(path)\"/>\(marks)</g>\n"
    }

    private func tick(_ value: Double) -> String {
        let text = Quantity.text(UInt64(max(value, 0)), measurement.unit)
        return text.replacing(".00", with: "").replacing(".0 ", with: " ")
    }
}

/// A logarithmic axis.
struct Scale {
    private let low, high, start, end: Double

    /// - Parameters:
    ///   - from, to: the values at its ends, more than 0.
    ///   - start, end: where these are drawn.
    init(from low: Double, to high: Double, _ start: Double, _ end: Double) {
        self.low = log(low)
        // One value alone stands in the middle.
        self.high = high > low ? log(high) : log(low) + 1e-9
        self.start = start
        self.end = end
    }

    func position(_ value: Double) -> Double {
        if high - low < 1e-6 { return (start + end) / 2 }
        return start + (end - start) * (log(value) - low) / (high - low)
    }

    /// Powers of ten, and between them where there are few.
    var ticks: [Double] {
        let (bottom, top) = (exp(low), exp(high))
        var ticks: [Double] = []
        for steps in [[1.0], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]] where ticks.count < 3 {
            ticks = []
            var decade = pow(10, floor(low / log(10)))
            while decade <= top {
                ticks += steps.map { $0 * decade }.filter { $0 >= bottom && $0 <= top }
                decade *= 10
            }
        }
        return ticks
    }
}
