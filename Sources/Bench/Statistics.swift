import Histogram

/// Samples of one figure, and what is told of them.
struct Samples {
    private(set) var values: [UInt64] = []

    mutating func add(_ value: UInt64) { values.append(value) }

    /// Median and spread by an HDR histogram of three significant digits; nil of nothing.
    func result(_ measurement: String, at point: UInt64?) -> Report.Result? {
        guard let least = values.min(), let most = values.max() else { return nil }
        var histogram = Histogram<UInt64>(
            highestTrackableValue: Swift.max(most, 2), numberOfSignificantValueDigits: .three)
        for value in values { histogram.record(value) }
        func percentile(_ part: Double) -> UInt64 {
            Swift.min(Swift.max(histogram.valueAtPercentile(part), least), most)
        }
        return Report.Result(
            measurement: measurement, at: point, count: UInt64(values.count), median: percentile(50),
            p10: percentile(10), p90: percentile(90), min: least, max: most)
    }
}

/// What a driver's figures are collected in while it works.
struct Recorder {
    struct Key: Hashable {
        let measurement: String
        let at: UInt64?
    }

    private(set) var samples: [Key: Samples] = [:]
    /// Of all that was timed, warm-up included.
    private(set) var timedNanoseconds: UInt64 = 0
    private(set) var timings: UInt64 = 0
    /// The first round is done as all others, and not counted.
    var isWarmUp = false

    mutating func note(_ measurement: String, at point: UInt64? = nil, _ value: UInt64) {
        if isWarmUp { return }
        samples[Key(measurement: measurement, at: point), default: Samples()].add(value)
    }

    /// Times `body`, and notes the nanoseconds that each of `count` things took in it.
    mutating func time<Result>(
        _ measurement: String, at point: UInt64? = nil, each count: Int = 1, _ body: () throws -> Result
    ) rethrows -> Result {
        let start = Clock.nanoseconds
        let result = try body()
        let elapsed = Clock.nanoseconds - start
        add(elapsed)
        note(measurement, at: point, elapsed / UInt64(count))
        return result
    }

    /// Times `body`, and notes how many of `count` were done in a second.
    mutating func rate(
        _ measurement: String, at point: UInt64? = nil, of count: UInt64, _ body: () throws -> Void
    ) rethrows {
        let start = Clock.nanoseconds
        try body()
        let elapsed = Swift.max(Clock.nanoseconds - start, 1)
        add(elapsed)
        note(measurement, at: point, UInt64(Double(count) * 1e9 / Double(elapsed)))
    }

    private mutating func add(_ elapsed: UInt64) {
        timedNanoseconds += elapsed
        timings += 1
    }

    func results() -> [Report.Result] {
        samples.compactMap { key, samples in samples.result(key.measurement, at: key.at) }
            .sorted { ($0.measurement, $0.at ?? 0) < ($1.measurement, $1.at ?? 0) }
    }
}
