import StorageDriver

/// Figures for people.
public enum Quantity {
    /// With its unit: "1.23 ms", "4.00 KiB", "12,300 /s".
    public static func text(_ value: UInt64, _ unit: Measurement.Unit) -> String {
        switch unit {
        case .nanoseconds: duration(value)
        case .bytes: "\(ByteCount(value))"
        case .percent: "\(value) %"
        case .bytesPerSecond: "\(ByteCount(value))/s"
        case .perSecond: "\(grouped(value)) /s"
        }
    }

    /// A point of an axis: "1.00 MiB", "10,000".
    public static func point(_ value: UInt64, of measurement: Measurement) -> String {
        measurement.axisUnit.map { text(value, $0) } ?? grouped(value)
    }

    /// A point with what it is: "1.00 MiB", "10,000 files in the parent".
    static func place(_ value: UInt64, on measurement: Measurement) -> String {
        point(value, of: measurement) + (measurement.axisUnit == nil ? " \(measurement.axis ?? "")" : "")
    }

    /// "1.5" or "23": times something.
    public static func factor(_ value: Double) -> String { significant(value, value < 9.95 ? 2 : value < 99.5 ? 2 : 3) }

    /// "+12 %", "-0.4 %".
    public static func change(perMille: Int64) -> String {
        let value = Double(perMille) / 10
        return (perMille > 0 ? "+" : "") + fixed(value, value.magnitude < 10 ? 1 : 0) + " %"
    }

    static func duration(_ nanoseconds: UInt64) -> String {
        let value = Double(nanoseconds)
        for (scale, name) in [(1e9, "s"), (1e6, "ms"), (1e3, "µs")] where value >= scale * 0.9995 {
            return significant(value / scale, 3) + " " + name
        }
        return "\(nanoseconds) ns"
    }

    /// A number of at least 0 with so many significant digits; whole numbers keep all of theirs.
    static func significant(_ value: Double, _ digits: Int) -> String {
        var decimals = digits - 1
        var bound = 10.0
        // What would be rounded up to one digit more.
        while decimals > 0, value >= bound - bound * 0.5 / power(of: 10, digits) {
            bound *= 10
            decimals -= 1
        }
        return fixed(value, decimals)
    }

    /// With so many digits behind the point.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        let scale = power(of: 10, decimals)
        let scaled = (value.magnitude * scale).rounded()
        guard scaled < 1e18 else { return "\(value)" }
        var digits = String(UInt64(scaled))
        if decimals > 0 {
            while digits.count <= decimals { digits = "0" + digits }
            digits.insert(".", at: digits.index(digits.endIndex, offsetBy: -decimals))
        }
        return value < 0 && scaled > 0 ? "-" + digits : digits
    }

    static func grouped(_ value: UInt64) -> String {
        var text = ""
        for (index, digit) in String(value).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }

    private static func power(of base: Double, _ exponent: Int) -> Double {
        (0..<max(exponent, 0)).reduce(1) { product, _ in product * base }
    }
}
