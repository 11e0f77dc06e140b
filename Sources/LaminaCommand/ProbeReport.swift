import Lamina

/// What the probe has found, for programs.
struct ProbeReport: Encodable {
    private struct Kernel: Encodable {
        let release: String
        let filesystems: [String]
        let configuration: [String: String]?
    }
    private struct Filesystem: Encodable {
        let type, magic: String
        let family: String?
        let readOnly: Bool
        let totalBytes, freeBytes, totalInodes, freeInodes: UInt64
        let mountPoint, source: String
        let options: [String]
        let dType, reflink, idmappedMounts: Bool?
        let projectQuota: Bool
    }
    private struct Driver: Encodable {
        let name: String
        let status: DriverAssessment.Status
        let reasons: [Reason]
        let remedy, strengths: String?
        /// With `--explain`: why it is at this place in the order of preference.
        let preference: String?
    }
    private struct Reason: Encodable {
        let code, message: String
        /// With `--explain`.
        let meaning: String?
    }
    private struct Selected: Encodable {
        let driver, rule, why: String
    }
    private struct Refused: Encodable {
        let kind, message: String
        let hint: String?
    }

    private let kernel: Kernel
    private let path: String
    private let filesystem: Filesystem
    private let privilege: HostFacts.Privilege
    private let container: String?
    private let overlay: HostFacts.Overlay?
    private let btrfs: HostFacts.Btrfs?
    private let zfs: HostFacts.ZFS
    private let aufs: String?
    private let deviceMapper: HostFacts.DeviceMapper?
    private let freeDevices: [HostFacts.FreeDevice]
    private let loop: Bool
    private let tools: [String: String]
    private let unseen: [String]
    private let drivers: [Driver]
    private let selected: Selected?
    private let refused: Refused?
    private let rules: [String]?

    init(_ facts: HostFacts, _ verdict: ProbeVerdict, explained: Bool) {
        let place = facts.filesystem
        kernel = Kernel(
            release: facts.kernelRelease, filesystems: facts.kernelFilesystems.sorted(),
            configuration: facts.kernelConfiguration)
        path = facts.path
        filesystem = Filesystem(
            type: place.type, magic: "0x" + String(place.magic, radix: 16), family: place.family?.rawValue,
            readOnly: place.isReadOnly, totalBytes: place.totalBytes, freeBytes: place.freeBytes,
            totalInodes: place.totalInodes, freeInodes: place.freeInodes, mountPoint: place.mountPoint,
            source: place.source, options: place.options, dType: place.hasEntryTypes, reflink: place.hasReflink,
            idmappedMounts: place.hasIDMappedMounts, projectQuota: place.hasProjectQuota)
        privilege = facts.privilege
        container = facts.container
        overlay = facts.overlay
        btrfs = facts.btrfs
        zfs = facts.zfs
        aufs = facts.aufsVersion
        deviceMapper = facts.deviceMapper
        freeDevices = facts.freeDevices
        loop = facts.hasLoop
        tools = facts.tools
        unseen = facts.unseen
        drivers = verdict.assessments.map { judgement in
            Driver(
                name: judgement.driver, status: judgement.status,
                reasons: judgement.reasons.map {
                    Reason(
                        code: $0.code.rawValue, message: $0.message, meaning: explained ? $0.code.meaning : nil)
                },
                remedy: judgement.remedy, strengths: judgement.strengths,
                preference: explained ? DriverRegistry.preference(judgement.driver) : nil)
        }
        switch verdict.selection {
        case .success(let selection):
            selected = Selected(
                driver: selection.driver, rule: selection.rule.rawValue, why: selection.explanation)
            refused = nil
        case .failure(let error):
            selected = nil
            refused = Refused(kind: error.kind.rawValue, message: error.message, hint: error.hint)
        }
        rules = explained ? verdict.rules : nil
    }

    private enum CodingKeys: CodingKey {
        case kernel, path, filesystem, privilege, container, overlay, btrfs, zfs, aufs, deviceMapper, freeDevices, loop
        case tools, unseen, drivers, selected, refused, rules
    }

    /// `selected` is null, not left out, where nothing would be chosen.
    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(kernel, forKey: .kernel)
        try container.encode(path, forKey: .path)
        try container.encode(filesystem, forKey: .filesystem)
        try container.encode(privilege, forKey: .privilege)
        try container.encodeIfPresent(self.container, forKey: .container)
        try container.encodeIfPresent(overlay, forKey: .overlay)
        try container.encodeIfPresent(btrfs, forKey: .btrfs)
        try container.encode(zfs, forKey: .zfs)
        try container.encodeIfPresent(aufs, forKey: .aufs)
        try container.encodeIfPresent(deviceMapper, forKey: .deviceMapper)
        try container.encode(freeDevices, forKey: .freeDevices)
        try container.encode(loop, forKey: .loop)
        try container.encode(tools, forKey: .tools)
        try container.encode(unseen, forKey: .unseen)
        try container.encode(drivers, forKey: .drivers)
        try container.encode(selected, forKey: .selected)
        try container.encodeIfPresent(refused, forKey: .refused)
        try container.encodeIfPresent(rules, forKey: .rules)
    }
}
