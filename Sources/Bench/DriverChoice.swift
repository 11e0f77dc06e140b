import HostProbe
import StorageDriver

/// A driver that takes part, and what it stands on.
public struct DriverChoice: Sendable, Equatable {
    public enum Ground: Sendable, Equatable {
        /// The filesystem of the place.
        case place
        /// What the driver makes in a file of its own (`lamina init --loop`).
        case ownFile
        /// A filesystem that is made for it in a file.
        case filesystemInFile
        /// The pool, or the devices, that the user has named.
        case given
    }

    public let driver: String
    public let ground: Ground

    /// Which drivers take part. All: those that are available, and vfs, which shows what copies cost; with files, also
    /// those that work in one, and then all of them stand on files of the same size; with a pool or devices, also the
    /// driver that takes them.
    /// - Parameters:
    ///   - facts: of the place; with files, as if it were the filesystem in such a file.
    ///   - named: nil for all.
    ///   - backing: nil for the place alone.
    /// - Throws: `.invalidArgument` for a driver that there is not, and for a backing that none or two of the named can
    ///   take; `.failedPrecondition` for one that cannot work here, and where there is nothing to compare.
    public static func choose(
        _ facts: HostFacts, named: [String]?, backing: DriverOptions.Backing? = nil
    ) throws(StorageError) -> [DriverChoice] {
        for name in named ?? [] { _ = try DriverRegistry.driver(named: name, by: "--drivers") }
        let host = Candidates(facts: facts, backing: backing, taker: try taker(of: backing, among: named))
        if let named { return try named.map { name throws(StorageError) in try host.choice(name) } }
        if let taker = host.taker { _ = try host.choice(taker) }
        let choices = host.all
        guard choices.contains(where: { $0.driver != "vfs" }) else { throw host.nothing }
        return choices
    }

    /// The driver that a pool or devices are for, as `lamina init` would have it; nil where none are named.
    private static func taker(
        of backing: DriverOptions.Backing?, among named: [String]?
    ) throws(StorageError) -> String? {
        let (option, takers): (String, [String])
        switch backing {
        case nil, .loop: return nil
        case .devices: (option, takers) = ("--data", ["devicemapper"])
        case .pool: (option, takers) = ("--pool", ["devicemapper", "zfs"])
        }
        guard let named else { return takers[0] }
        let able = takers.filter(named.contains)
        guard able.count == 1 else {
            throw StorageError(
                .invalidArgument, "bench", option,
                able.isEmpty
                    ? "no driver of \(named.joined(separator: ", ")) takes it"
                    : "it is for one driver, and \(able.joined(separator: " and ")) both take it",
                hint: "--drivers with one of " + takers.joined(separator: ", "))
        }
        return able[0]
    }
}

/// What the drivers say of a host, and the choices and errors that follow from it.
private struct Candidates {
    let facts: HostFacts
    let backing: DriverOptions.Backing?
    let taker: String?
    private let judgements: [DriverAssessment]

    init(facts: HostFacts, backing: DriverOptions.Backing?, taker: String?) {
        self.facts = facts
        self.backing = backing
        self.taker = taker
        judgements = facts.assess()
    }

    private var isInFiles: Bool { backing?.loopBytes != nil }

    var all: [DriverChoice] { judgements.compactMap(choice) }

    func choice(_ name: String) throws(StorageError) -> DriverChoice {
        let judgement = judgements.first { $0.driver == name }
        if let choice = judgement.flatMap(choice) { return choice }
        let reasons = judgement.map { $0.reasons.map(\.message).joined(separator: "; ") } ?? ""
        throw StorageError(
            .failedPrecondition, "bench", name, "it cannot work at \(facts.path) as it is: \(reasons)",
            hint: backing == nil && judgement?.worksOnLoop == true
                ? "--loop SIZE lets it work in a file" : judgement?.remedy)
    }

    private func choice(_ judgement: DriverAssessment) -> DriverChoice? {
        func on(_ ground: DriverChoice.Ground) -> DriverChoice {
            DriverChoice(driver: judgement.driver, ground: ground)
        }
        if judgement.driver == taker { return judgement.status == .unavailable ? nil : on(.given) }
        if isInFiles, judgement.worksOnLoop { return on(.ownFile) }
        // Of vfs that is all there is to say where nothing is wrong.
        guard judgement.status == .available || judgement.reasons.map(\.code) == [.copies] else { return nil }
        return on(isInFiles ? .filesystemInFile : .place)
    }

    var nothing: StorageError {
        let canUseFiles = backing == nil && judgements.contains { $0.worksOnLoop }
        return StorageError(
            .failedPrecondition, "bench", facts.path,
            "no driver but vfs can work here, so there is nothing to compare",
            hint: (canUseFiles ? "--loop SIZE compares them in files; " : "") + "lamina probe says why")
    }
}

extension HostFacts {
    /// The same host, were the place on a filesystem that is made in a file for it.
    func with(filesystem type: String, bytes: UInt64) -> HostFacts {
        var facts = self
        // The numbers of linux/magic.h.
        facts.filesystem = Filesystem(
            type: type, magic: type == "xfs" ? 0x5846_5342 : 0xEF53, totalBytes: bytes, freeBytes: bytes,
            mountPoint: path, source: "a file", hasEntryTypes: true, hasReflink: type == "xfs")
        return facts
    }
}
