/// What could not be kept, a line each: the first thousand, and how many more there were.
struct Warnings {
    private var kept: [String] = []
    private var leftOut = 0
    private static let most = 1000

    mutating func add(_ text: String) {
        if kept.count < Self.most { kept.append(text) } else { leftOut += 1 }
    }

    var lines: [String] { leftOut == 0 ? kept : kept + ["and \(leftOut) more"] }
}
