/// A driver's judgement of a host.
public struct DriverAssessment: Sendable, Equatable {
    public enum Status: String, Sendable, Codable {
        /// It works here as it is.
        case available
        /// It works here with a restriction, or only with an option that the user must give; never picked on its own.
        case limited
        case unavailable
    }

    /// Why, in a code that stays the same between versions and in words.
    public struct Reason: Sendable, Equatable, Codable {
        public let code: ReasonCode
        public let message: String

        public init(_ code: ReasonCode, _ message: String) {
            self.code = code
            self.message = message
        }
    }

    public var driver: String
    public var status: Status
    /// Never empty; what decides comes first.
    public var reasons: [Reason]
    /// What to do to make it available.
    public var remedy: String?
    /// What it is good at here, in a line.
    public var strengths: String?
    /// Whether `init --loop` would work with this driver here.
    public var worksOnLoop: Bool
    /// Whether a root that the driver has made before can be opened here: the mechanism is there, though what is
    /// needed for making a new one may be missing.
    public var opens: Bool

    /// Whether a root can be made only with a file, a pool or a device that the user names.
    public var needsBacking: Bool {
        status == .limited && reasons.contains { [.loopOnly, .needsPool, .zfsNeedsPool].contains($0.code) }
    }

    /// - Parameter opens: nil where it can be opened as long as the driver is not unavailable.
    public init(
        driver: String, status: Status, reasons: [Reason], remedy: String? = nil, strengths: String? = nil,
        worksOnLoop: Bool = false, opens: Bool? = nil
    ) {
        self.driver = driver
        self.status = status
        self.reasons = reasons
        self.remedy = remedy
        self.strengths = strengths
        self.worksOnLoop = worksOnLoop
        self.opens = opens ?? (status != .unavailable)
    }
}
