import LinuxSystem

/// The table of a thin pool: `<metadata> <data> <block sectors> <low water blocks> [n features]`.
public struct ThinPoolTable: Sendable, Equatable {
    public enum Feature: String, Sendable, CaseIterable {
        case skipBlockZeroing = "skip_block_zeroing"
        case ignoreDiscard = "ignore_discard"
        case noDiscardPassdown = "no_discard_passdown"
        case readOnly = "read_only"
        case errorIfNoSpace = "error_if_no_space"
    }

    /// Paths, or device numbers where the kernel printed it.
    public var metadata: String
    public var data: String
    /// Sectors of 512 bytes.
    public var blockSectors: UInt64
    /// Free data blocks below which the kernel sends an event.
    public var lowWaterBlocks: UInt64
    public var features: Set<Feature>

    public init(
        metadata: String, data: String, blockSectors: UInt64, lowWaterBlocks: UInt64, features: Set<Feature>
    ) {
        self.metadata = metadata
        self.data = data
        self.blockSectors = blockSectors
        self.lowWaterBlocks = lowWaterBlocks
        self.features = features
    }

    /// - Returns: nil for what is no table of a thin pool.
    public init?(parsing parameters: String) {
        let words = parameters.split(separator: " ").map(String.init)
        guard words.count >= 4, let block = UInt64(words[2]), let water = UInt64(words[3]) else { return nil }
        var features: Set<Feature> = []
        if words.count > 4 {
            guard let count = Int(words[4]), words.count == 5 + count else { return nil }
            for word in words[5...] {
                guard let feature = Feature(rawValue: word) else { return nil }
                features.insert(feature)
            }
        }
        self.init(
            metadata: words[0], data: words[1], blockSectors: block, lowWaterBlocks: water, features: features)
    }

    public var parameters: String {
        let words = features.map(\.rawValue).sorted()
        return (["\(metadata) \(data) \(blockSectors) \(lowWaterBlocks) \(words.count)"] + words)
            .joined(separator: " ")
    }
}
