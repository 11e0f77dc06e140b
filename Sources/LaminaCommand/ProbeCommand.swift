import ArgumentParser
import Lamina

struct Probe: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what this host can do, which driver would be picked, and why. Changes nothing.")
    @OptionGroup var global: GlobalOptions
    @Argument(help: "Where the root is or would be.", completion: .directory) var path: String?

    private struct Report: Encodable {
        struct Kernel: Encodable {
            let release: String
            let filesystems: [String]
        }
        struct Filesystem: Encodable {
            let type: String
            let magic: String
            let readOnly: Bool
            let totalBytes, freeBytes, freeInodes: UInt64
        }
        struct DeviceMapper: Encodable {
            let version: String?
            let targets: [String: String]
        }
        struct Driver: Encodable {
            let name: String
            let status: DriverAssessment.Status
            let reasons: [DriverAssessment.Reason]
            let remedy, strengths: String?
        }
        struct Selected: Encodable {
            let driver, rule, why: String
        }
        let kernel: Kernel
        let path: String
        let filesystem: Filesystem
        let deviceMapper: DeviceMapper?
        let loop: Bool
        let tools: [String: String]
        let drivers: [Driver]
        let selected: Selected?

        enum CodingKeys: CodingKey { case kernel, path, filesystem, deviceMapper, loop, tools, drivers, selected }

        /// `selected` is null, not left out, where nothing would be chosen.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(kernel, forKey: .kernel)
            try container.encode(path, forKey: .path)
            try container.encode(filesystem, forKey: .filesystem)
            try container.encodeIfPresent(deviceMapper, forKey: .deviceMapper)
            try container.encode(loop, forKey: .loop)
            try container.encode(tools, forKey: .tools)
            try container.encode(drivers, forKey: .drivers)
            try container.encode(selected, forKey: .selected)
        }
    }

    func run() throws {
        var global = global
        if let path { global.root = path }
        if let name = global.driverName { _ = try DriverRegistry.driver(named: name) }
        let facts = HostReader.facts(for: global.rootPath)
        let assessments = DriverSelection.assess(facts)
        let prior = facts.isRoot ? Root.driverName(at: facts.path) : nil
        let selection = DriverSelection.select(
            assessments, named: global.driverName, prior: prior, options: DriverOptions())
        if global.json {
            try printJSON(report(facts, assessments, selection))
        } else {
            show(facts, assessments, selection)
        }
    }

    private func report(
        _ facts: HostFacts, _ assessments: [DriverAssessment], _ selection: DriverSelection?
    ) -> Report {
        Report(
            kernel: .init(release: facts.kernelRelease, filesystems: facts.kernelFilesystems.sorted()),
            path: facts.path,
            filesystem: .init(
                type: facts.filesystem.type, magic: "0x" + String(facts.filesystem.magic, radix: 16),
                readOnly: facts.filesystem.isReadOnly, totalBytes: facts.filesystem.totalBytes,
                freeBytes: facts.filesystem.freeBytes, freeInodes: facts.filesystem.freeInodes),
            deviceMapper: facts.deviceMapper.map { .init(version: $0.version, targets: $0.targets) },
            loop: facts.hasLoop, tools: facts.tools,
            drivers: assessments.map {
                .init(
                    name: $0.driver, status: $0.status, reasons: $0.reasons, remedy: $0.remedy,
                    strengths: $0.strengths)
            },
            selected: selection.map { .init(driver: $0.driver, rule: $0.rule.rawValue, why: $0.explanation) })
    }

    private func show(_ facts: HostFacts, _ assessments: [DriverAssessment], _ selection: DriverSelection?) {
        let filesystem = facts.filesystem
        print("kernel         \(facts.kernelRelease)")
        print(
            "root           \(facts.path) on \(filesystem.type), \(ByteCount(filesystem.freeBytes)) of "
                + "\(ByteCount(filesystem.totalBytes)) free")
        if let mapper = facts.deviceMapper {
            let targets = mapper.targets.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            print(
                "device-mapper  \(mapper.version ?? "there; its version needs the superuser"): "
                    + targets.joined(separator: ", "))
        } else {
            print("device-mapper  not in this kernel now")
        }
        print("loop devices   \(facts.hasLoop ? "yes" : "no")")
        print("tools          \(facts.tools.keys.sorted().joined(separator: ", "))")
        for assessment in assessments {
            print("\n\(assessment.driver): \(assessment.status.rawValue)")
            for reason in assessment.reasons { print("  \(reason.code): \(reason.message)") }
            if let strengths = assessment.strengths { print("  strengths: \(strengths)") }
            if let remedy = assessment.remedy { print("  remedy: \(remedy)") }
        }
        if let selection {
            print("\nselected: \(selection.driver) (\(selection.rule.rawValue): \(selection.explanation))")
        } else {
            print("\nselected: none without a word from you (lamina init --loop SIZE, --pool, --data or --driver)")
        }
    }
}
