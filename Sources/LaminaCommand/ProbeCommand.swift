import ArgumentParser
import Lamina

struct Probe: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Show what this host can do, which driver would be picked, and why. Changes nothing.")
    @OptionGroup var global: GlobalOptions
    @Argument(help: "Where the root is or would be.", completion: .directory) var path: String?
    @Flag(help: "Also what each code means, why drivers are in this order, and how the rules came to the pick.")
    var explain = false

    func validate() throws {
        if path == "" { throw ValidationError("the path is empty") }
        if let path { try GlobalOptions.requirePlace(path) }
        if path != nil, global.root != nil { throw ValidationError("a path and --root exclude each other") }
    }

    func run() throws {
        var global = global
        if let path { global.root = path }
        if let name = global.driverName { _ = try DriverRegistry.driver(named: name, by: global.driverSource) }
        let facts = HostReader.facts(for: global.rootPath)
        let verdict = ProbeVerdict(facts, global.request())
        if global.json {
            try printJSON(ProbeReport(facts, verdict, explained: explain))
        } else {
            for (key, value) in FactLines(facts).lines {
                print(key + String(repeating: " ", count: max(1, 15 - key.count)) + value)
            }
            show(verdict)
        }
    }

    private func show(_ verdict: ProbeVerdict) {
        for judgement in verdict.assessments {
            print("\n\(judgement.driver): \(judgement.status.rawValue)")
            if explain { print("  preference: \(DriverRegistry.preference(judgement.driver))") }
            for reason in judgement.reasons {
                print("  \(reason.code.rawValue): \(reason.message)")
                if explain { print("    \(reason.code.meaning)") }
            }
            if let strengths = judgement.strengths { print("  strengths: \(strengths)") }
            if let remedy = judgement.remedy { print("  remedy: \(remedy)") }
        }
        if explain {
            print("\nrules")
            for (index, rule) in verdict.rules.enumerated() { print("  \(index + 1). \(rule)") }
        }
        switch verdict.selection {
        case .success(let selection):
            print("\nselected: \(selection.driver) (\(selection.rule.rawValue): \(selection.explanation))")
        case .failure(let error):
            print("\nselected: none: \(error.message)" + (error.hint.map { "\nhint: \($0)" } ?? ""))
        }
    }
}

/// The judgements of the drivers, and what is selected by them.
struct ProbeVerdict {
    let assessments: [DriverAssessment]
    let selection: Result<DriverSelection, StorageError>
    private let request: DriverSelection.Request

    init(_ facts: HostFacts, _ request: DriverSelection.Request) {
        let assessments = facts.assess()
        self.assessments = assessments
        self.request = request
        selection = Result { () throws(StorageError) in try DriverSelection.select(assessments, request) }
    }

    /// The rules in their order, and what each one found.
    var rules: [String] {
        let chosen = try? selection.get()
        return DriverSelection.Rule.allCases.map { rule in
            let found: String
            switch rule {
            case .named: found = request.named.map { "\($0), by \(request.namedBy)" } ?? "no --driver, no LAMINA_DRIVER"
            case .state:
                let claimants = request.state.claimants
                found = claimants.isEmpty ? "no driver has state in \(request.path)" : claimants.joined(separator: ", ")
            case .option: found = "no option asks for a driver (lamina init --pool, --data, --loop, --fs)"
            case .best:
                let available = assessments.filter { $0.status == .available }.map(\.driver)
                found = available.isEmpty ? "none is available" : "available: " + available.joined(separator: ", ")
            }
            return "\(rule.rawValue): \(found)" + (chosen?.rule == rule ? " <- \(chosen?.driver ?? "")" : "")
        }
    }
}
