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
    }

    public let driver: String
    public let ground: Ground

    /// Which drivers take part. All: those that are available, and vfs, which shows what copies cost; with files, also
    /// those that work in one, and then all of them stand on files of the same size.
    /// - Parameters:
    ///   - facts: of the place; with files, as if it were the filesystem in such a file.
    ///   - named: nil for all.
    /// - Throws: `.invalidArgument` for a driver that there is not, `.failedPrecondition` for one that cannot work
    ///   here, and where there is nothing to compare.
    public static func choose(
        _ facts: HostFacts, named: [String]?, inFiles: Bool
    ) throws(StorageError) -> [DriverChoice] {
        let judgements = facts.assess()
        if let named {
            return try named.map { name throws(StorageError) in
                _ = try DriverRegistry.driver(named: name, by: "--drivers")
                let judgement = judgements.first { $0.driver == name }
                if let judgement, let choice = choice(judgement, inFiles: inFiles) { return choice }
                throw refusal(name, judgement, facts.path, inFiles: inFiles)
            }
        }
        let choices = judgements.compactMap { choice($0, inFiles: inFiles) }
        guard choices.contains(where: { $0.driver != "vfs" }) else {
            let canUseFiles = !inFiles && judgements.contains { $0.worksOnLoop }
            throw StorageError(
                .failedPrecondition, "bench", facts.path,
                "no driver but vfs can work here, so there is nothing to compare",
                hint: (canUseFiles ? "--loop SIZE compares them in files; " : "") + "lamina probe says why")
        }
        return choices
    }

    private static func choice(_ judgement: DriverAssessment, inFiles: Bool) -> DriverChoice? {
        // Of vfs that is all there is to say where nothing is wrong.
        let isUsable = judgement.status == .available || judgement.reasons.map(\.code) == [.copies]
        if inFiles, judgement.worksOnLoop { return DriverChoice(driver: judgement.driver, ground: .ownFile) }
        guard isUsable else { return nil }
        return DriverChoice(driver: judgement.driver, ground: inFiles ? .filesystemInFile : .place)
    }

    private static func refusal(
        _ name: String, _ judgement: DriverAssessment?, _ path: String, inFiles: Bool
    ) -> StorageError {
        let reasons = judgement.map { $0.reasons.map(\.message).joined(separator: "; ") } ?? ""
        let canUseFiles = !inFiles && judgement?.worksOnLoop == true
        return StorageError(
            .failedPrecondition, "bench", name, "it cannot work at \(path) as it is: \(reasons)",
            hint: canUseFiles ? "--loop SIZE lets it work in a file" : judgement?.remedy)
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
