import StorageDriver

/// Which driver a root gets, and by which rule. The same function answers for the probe and for `init`.
public struct DriverSelection: Sendable, Equatable {
    /// In the order in which they are tried.
    public enum Rule: String, Sendable, Codable, CaseIterable {
        /// The user named it.
        case named
        /// It holds the state of this root.
        case state
        /// The user asked for a pool, a device, a file or a filesystem that only this driver, or this one best, can use.
        case option
        /// The best that needs no further word.
        case best
    }

    /// What the user has said, and what is there.
    public struct Request: Sendable {
        public var path: String
        /// The driver that the user named.
        public var named: String?
        /// What named it: `--driver` or `LAMINA_DRIVER`.
        public var namedBy: String
        public var state: RootState
        public var options: DriverOptions

        public init(
            path: String, named: String? = nil, namedBy: String = "--driver", state: RootState = RootState(),
            options: DriverOptions = DriverOptions()
        ) {
            self.path = path
            self.named = named
            self.namedBy = namedBy
            self.state = state
            self.options = options
        }
    }

    public let driver: String
    public let rule: Rule
    /// The rule in words, and the driver's reasons.
    public let explanation: String

    /// The first rule that applies decides: when its driver cannot work, that is the answer, and no other is taken.
    /// - Parameter assessments: of all drivers, in the order of preference (`HostFacts.assess`).
    /// - Throws: `.invalidArgument` for a driver that there is not; `.failedPrecondition` where the one that the rule
    ///   gives cannot work here, where two have state, or where nothing is chosen without a word of the user.
    public static func select(
        _ assessments: [DriverAssessment], _ request: Request
    ) throws(StorageError) -> DriverSelection {
        let host = Judgements(assessments: assessments, path: request.path)
        if let named = request.named {
            let judgement = try host.judgement(of: named, namedBy: request.namedBy)
            if let refusal = request.state.refusal("init", request.path, named: named) { throw refusal }
            let isOpen = request.state.recorded == named
            try host.require(judgement, isOpen: isOpen, "was named by \(request.namedBy)")
            let options = request.options
            if !isOpen, judgement.needsBacking, options.backing == nil, options.filesystem == nil {
                throw host.needsBacking(judgement, "was named by \(request.namedBy)")
            }
            return DriverSelection(
                driver: named, rule: .named,
                explanation: "named by \(request.namedBy) (\(host.reasons(judgement)))")
        }
        if let refusal = request.state.refusal("init", request.path, named: nil) { throw refusal }
        if let prior = request.state.recorded {
            guard let judgement = assessments.first(where: { $0.driver == prior }) else {
                throw StorageError(
                    .unimplemented, "open", request.path,
                    "the root belongs to the driver \(prior), which is not known here")
            }
            try host.require(judgement, isOpen: true, "holds this root")
            return DriverSelection(driver: prior, rule: .state, explanation: "the root belongs to it")
        }
        if let (judgement, option, explanation) = try host.wanted(by: request.options) {
            try host.require(judgement, isOpen: false, "is what \(option) needs")
            return DriverSelection(driver: judgement.driver, rule: .option, explanation: explanation)
        }
        guard let best = assessments.first(where: { $0.status == .available }) else { throw host.nothing() }
        return DriverSelection(
            driver: best.driver, rule: .best, explanation: "best available: \(host.reasons(best))")
    }
}

/// What the drivers say of a host, and the errors that follow from it.
private struct Judgements {
    let assessments: [DriverAssessment]
    let path: String

    func reasons(_ judgement: DriverAssessment) -> String { judgement.reasons.map(\.message).joined(separator: "; ") }

    func judgement(of name: String, namedBy: String) throws(StorageError) -> DriverAssessment {
        guard let judgement = assessments.first(where: { $0.driver == name }) else {
            throw .unknownDriver(name, namedBy: namedBy, known: assessments.map(\.driver))
        }
        return judgement
    }

    /// - Parameter isOpen: for a root that is there, which needs less than making one.
    func require(_ judgement: DriverAssessment, isOpen: Bool, _ why: String) throws(StorageError) {
        if isOpen ? judgement.opens : judgement.status != .unavailable { return }
        throw StorageError(
            .failedPrecondition, isOpen ? "open" : "init", path,
            "the driver \(judgement.driver) \(why), and cannot work here: \(reasons(judgement))",
            hint: judgement.remedy)
    }

    func needsBacking(_ judgement: DriverAssessment, _ why: String) -> StorageError {
        StorageError(
            .failedPrecondition, "init", path,
            "the driver \(judgement.driver) \(why), and has nothing to stand on: "
                + reasons(judgement),
            hint: (judgement.worksOnLoop
                ? "lamina init --driver \(judgement.driver) --loop SIZE to try it out; else " : "")
                + (judgement.remedy ?? "lamina probe"))
    }

    /// The driver that an option is for, and the option.
    func wanted(
        by options: DriverOptions
    ) throws(StorageError) -> (judgement: DriverAssessment, option: String, explanation: String)? {
        func deviceMapper(_ option: String, _ why: String) -> (DriverAssessment, String, String)? {
            assessments.first { $0.driver == "devicemapper" }.map { ($0, option, why) }
        }
        switch options.backing {
        case .pool: return deviceMapper("--pool", "it makes layers in a thin pool")
        case .devices: return deviceMapper("--data", "it makes layers in a thin pool")
        case .loop where options.filesystem != nil:
            return deviceMapper("--fs", "it puts a filesystem into each layer")
        case nil:
            if options.filesystem == nil { return nil }
            return deviceMapper("--fs", "it puts a filesystem into each layer")
        case .loop:
            guard let first = assessments.first(where: { $0.worksOnLoop }) else {
                throw refusalOfAll
                    ?? StorageError(
                        .failedPrecondition, "init", path, "no driver works in a file here",
                        hint: "lamina probe says why")
            }
            return (first, "--loop", "the first that works in a file (\(reasons(first)))")
        }
    }

    /// Where all are unavailable for the same reason, that is what there is to say.
    private var refusalOfAll: StorageError? {
        guard let first = assessments.first,
            assessments.allSatisfy({ $0.status == .unavailable && $0.reasons == first.reasons })
        else { return nil }
        return StorageError(.failedPrecondition, "init", path, reasons(first), hint: first.remedy)
    }

    func nothing() -> StorageError {
        if let refusalOfAll { return refusalOfAll }
        // What keeps all that could work from being chosen.
        let usable = assessments.filter { $0.status == .limited }
        let shared = usable.first?.reasons.filter { reason in
            usable.allSatisfy { $0.reasons.contains(reason) } && [.volatile, .noSpace].contains(reason.code)
        }
        var hints: [String] = []
        if shared?.contains(where: { $0.code == .noSpace }) == true {
            hints.append("make room, or choose another --root")
        } else {
            if assessments.contains(where: { $0.worksOnLoop }) {
                hints.append("lamina init --loop SIZE to try out in a file")
            }
            if let first = usable.first(where: { !$0.needsBacking }) {
                hints.append("lamina init --driver \(first.driver) if that is what you want")
            }
        }
        let why = shared.map { $0.map(\.message).joined(separator: "; ") } ?? ""
        return StorageError(
            .failedPrecondition, "init", path,
            "no driver is chosen here without a word from you" + (why.isEmpty ? "" : ": \(why)"),
            hint: (hints + ["lamina probe says why"]).joined(separator: "; "))
    }
}
