/// The state of a thin pool, from the words of its dm status (Linux: admin-guide/device-mapper/thin-provisioning).
public struct ThinPoolStatus: Sendable, Equatable {
    public enum Mode: String, Sendable {
        case readWrite = "rw"
        case readOnly = "ro"
        case outOfDataSpace = "out_of_data_space"
        /// The metadata could not be written or read any more; nothing else is known.
        case failed = "Fail"
    }

    public var mode: Mode
    public var transactionID: UInt64 = 0
    /// Blocks of 4 KiB.
    public var usedMetadataBlocks: UInt64 = 0
    public var totalMetadataBlocks: UInt64 = 0
    /// Blocks of the pool's data block size.
    public var usedDataBlocks: UInt64 = 0
    public var totalDataBlocks: UInt64 = 0
    /// The block of the metadata snapshot's superblock, while one is held.
    public var heldRoot: UInt64?
    public var needsCheck = false
    /// Writes fail at once when the pool is full; else they wait.
    public var errorsIfNoSpace = false
    /// Whether discards reach the data device.
    public var passesDiscardsDown = false
    public var metadataLowWater: UInt64?

    /// - Returns: nil for what is no status of a thin pool.
    public init?(parsing parameters: String) {
        let words = parameters.split(separator: " ").map(String.init)
        if words.first == "Fail" || words.first == "Error" {
            mode = .failed
            return
        }
        guard words.count >= 5, let transaction = UInt64(words[0]), let metadata = Self.fraction(words[1]),
            let data = Self.fraction(words[2])
        else { return nil }
        mode = .readWrite
        transactionID = transaction
        (usedMetadataBlocks, totalMetadataBlocks) = metadata
        (usedDataBlocks, totalDataBlocks) = data
        if words[3] != "-" {
            guard let root = UInt64(words[3]) else { return nil }
            heldRoot = root
        }
        for word in words[4...] {
            if let mode = Mode(rawValue: word) {
                self.mode = mode
            } else if let number = UInt64(word) {
                metadataLowWater = number
            } else {
                switch word {
                case "needs_check": needsCheck = true
                case "error_if_no_space": errorsIfNoSpace = true
                case "discard_passdown": passesDiscardsDown = true
                case "queue_if_no_space", "no_discard_passdown", "ignore_discard", "skip_block_zeroing", "-": break
                default: return nil
                }
            }
        }
    }

    private static func fraction(_ word: String) -> (UInt64, UInt64)? {
        let parts = word.split(separator: "/")
        guard parts.count == 2, let used = UInt64(parts[0]), let total = UInt64(parts[1]) else { return nil }
        return (used, total)
    }
}

/// The state of a thin device.
public enum ThinStatus: Sendable, Equatable {
    /// Sectors (512 bytes) that are mapped, and the highest one, if any is.
    case mapped(sectors: UInt64, highest: UInt64?)
    /// Its pool has failed.
    case failed

    /// - Returns: nil for what is no status of a thin device.
    public init?(parsing parameters: String) {
        let words = parameters.split(separator: " ")
        if words.first == "Fail" || words.first == "Error" {
            self = .failed
            return
        }
        guard words.count >= 2, let sectors = UInt64(words[0]) else { return nil }
        if words[1] == "-" {
            self = .mapped(sectors: sectors, highest: nil)
        } else if let highest = UInt64(words[1]) {
            self = .mapped(sectors: sectors, highest: highest)
        } else {
            return nil
        }
    }
}
