import StorageDriver

/// Which driver a root gets, and by which rule. The same function answers for the probe and for `init`.
public struct DriverSelection: Sendable, Equatable {
    public enum Rule: String, Sendable, Codable {
        /// The user named it.
        case named
        /// It holds the state of this root.
        case state
        /// The user asked for a pool, a device or a file that only this driver, or this one best, can use.
        case option
        /// The best that needs no further word.
        case best
    }

    public let driver: String
    public let rule: Rule
    /// The rule in words, and the driver's reasons.
    public let explanation: String

    /// The judgements of all drivers, in order of preference.
    public static func assess(_ host: HostFacts) -> [DriverAssessment] {
        DriverRegistry.drivers.map { $0.assess(host) }
    }

    /// - Parameters:
    ///   - named: by flag or environment.
    ///   - prior: the driver of the root that is there.
    /// - Returns: nil when nothing would be chosen without a word of the user.
    public static func select(
        _ assessments: [DriverAssessment], named: String?, prior: String?, options: DriverOptions
    ) -> DriverSelection? {
        func because(_ name: String) -> String {
            assessments.first { $0.driver == name }?.reasons.map(\.message).joined(separator: "; ") ?? ""
        }
        if let named { return DriverSelection(driver: named, rule: .named, explanation: "it was named") }
        if let prior { return DriverSelection(driver: prior, rule: .state, explanation: "the root belongs to it") }
        switch options.backing {
        case .pool, .devices:
            return DriverSelection(
                driver: "devicemapper", rule: .option, explanation: "it makes layers in a thin pool")
        case .loop:
            guard let first = assessments.first(where: { $0.worksOnLoop })?.driver else { return nil }
            return DriverSelection(
                driver: first, rule: .option, explanation: "the first that works in a file (\(because(first)))")
        case nil:
            let best = assessments.first { $0.status == .available }
            return best.map {
                DriverSelection(driver: $0.driver, rule: .best, explanation: "best available: \(because($0.driver))")
            }
        }
    }
}
