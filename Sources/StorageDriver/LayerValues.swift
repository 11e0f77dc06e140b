import LinuxSystem

/// The number of a layer: names its subvolume, directory or thin device. Grows only, is never used twice, starts
/// at 1.
public struct LayerNumber: RawRepresentable, Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ value: UInt64) { rawValue = value }

    public static func < (left: LayerNumber, right: LayerNumber) -> Bool { left.rawValue < right.rawValue }
    public var description: String { String(rawValue) }
}

/// The space of a layer.
public struct LayerUsage: Sendable, Equatable, Codable {
    /// Bytes that no other layer shares: about what its removal gives back.
    public var exclusiveBytes: UInt64
    /// Bytes that the layer reaches, those of its parents included.
    public var referencedBytes: UInt64
    /// Files, directories and other nodes in the layer; nil where counting them would mean walking a mounted tree.
    public var inodes: UInt64?

    public init(exclusiveBytes: UInt64, referencedBytes: UInt64, inodes: UInt64? = nil) {
        self.exclusiveBytes = exclusiveBytes
        self.referencedBytes = referencedBytes
        self.inodes = inodes
    }
}

/// The space of the driver's pool or filesystem.
public struct DriverSpace: Sendable, Equatable, Codable {
    public var totalBytes: UInt64
    public var usedBytes: UInt64
    public var freeBytes: UInt64
    public var metadataTotalBytes: UInt64?
    public var metadataUsedBytes: UInt64?

    public init(
        totalBytes: UInt64, usedBytes: UInt64, freeBytes: UInt64, metadataTotalBytes: UInt64? = nil,
        metadataUsedBytes: UInt64? = nil
    ) {
        self.totalBytes = totalBytes
        self.usedBytes = usedBytes
        self.freeBytes = freeBytes
        self.metadataTotalBytes = metadataTotalBytes
        self.metadataUsedBytes = metadataUsedBytes
    }
}

/// How a driver is.
public struct DriverStatus: Sendable, Equatable {
    public enum Health: String, Sendable, Codable {
        case ok
        /// It works, with something the operator should know (`details` says what).
        case degraded
        /// No new layers and no writes.
        case failed
    }

    public var health: Health
    /// One line on what is wrong or worth knowing; nil when all is well.
    public var message: String?
    public var space: DriverSpace
    /// Facts in the order in which they are shown, keys in lowerCamelCase (`"pool"`, `"dataDevice"`).
    public var details: [Detail]

    public struct Detail: Sendable, Equatable {
        public let key: String
        public let value: String

        public init(_ key: String, _ value: String) {
            self.key = key
            self.value = value
        }
    }

    public init(health: Health, message: String? = nil, space: DriverSpace, details: [Detail]) {
        self.health = health
        self.message = message
        self.space = space
        self.details = details
    }
}

/// A number of bytes as people write it: digits, optionally K, M, G or T (powers of 1024, also as KiB, MiB ...).
public struct ByteCount: Sendable, Hashable {
    public let bytes: UInt64

    public init(_ bytes: UInt64) { self.bytes = bytes }

    /// Nil for anything else, for 0 and for what does not fit into 63 bits.
    public init?(parsing text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let value = UInt64(digits) else { return nil }
        let shift: UInt64
        switch text.dropFirst(digits.count) {
        case "": shift = 0
        case "K", "KiB": shift = 10
        case "M", "MiB": shift = 20
        case "G", "GiB": shift = 30
        case "T", "TiB": shift = 40
        default: return nil
        }
        let (bytes, overflow) = value.multipliedReportingOverflow(by: 1 << shift)
        guard !overflow, bytes > 0, bytes <= UInt64(Int64.max) else { return nil }
        self.bytes = bytes
    }
}

extension ByteCount: CustomStringConvertible {
    /// With three significant digits and the largest unit that leaves a number of 1 or more ("1.50 GiB").
    public var description: String {
        guard bytes >= 1024 else { return "\(bytes) B" }
        var value = Double(bytes)
        var unit = 0
        while value >= 999.5, unit < 4 {
            value /= 1024
            unit += 1
        }
        let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        var scaled = value
        for _ in 0..<decimals { scaled *= 10 }
        var digits = String(UInt64(scaled.rounded()))
        if decimals > 0 {
            while digits.count <= decimals { digits = "0" + digits }
            digits.insert(".", at: digits.index(digits.endIndex, offsetBy: -decimals))
        }
        return digits + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit]
    }
}
