import LinuxSystem
import StorageDriver

/// What a user calls a layer: opaque text, never a path.
public struct LayerName: Sendable, Hashable, CustomStringConvertible {
    public let text: String

    /// Any text but empty, and without NUL and newline: what services may use.
    /// - Throws: `.invalidArgument`.
    public init(_ text: String) throws(StorageError) {
        func refuse(_ reason: String) -> StorageError {
            StorageError(.invalidArgument, "name", text.debugDescription, reason)
        }
        if text.isEmpty { throw refuse("a layer's name cannot be empty") }
        if text.utf8.contains(0) { throw refuse("a layer's name cannot contain NUL") }
        if text.utf8.contains(UInt8(ascii: "\n")) { throw refuse("a layer's name cannot contain a newline") }
        self.text = text
    }

    /// A name on the command line: at most 255 bytes, and nothing that looks like a path, so that a name and the
    /// target of a mount are never taken for each other.
    /// - Throws: `.invalidArgument`.
    public init(commandLine text: String) throws(StorageError) {
        try self.init(text)
        func refuse(_ object: String, _ reason: String) -> StorageError {
            StorageError(.invalidArgument, "name", object, reason)
        }
        if text.utf8.count > 255 {
            throw refuse(
                "\"\(text.prefix(20))...\"", "a layer's name has at most 255 bytes, this one has \(text.utf8.count)")
        }
        if text.contains("/") { throw refuse(text, "a layer's name cannot contain \"/\"") }
        if text == "." || text == ".." { throw refuse(text, "this is no name for a layer") }
    }

    public var description: String { text }
}

/// What a layer is at the moment. The life of a layer: an active one is made, and committed or removed; a view is
/// made of a committed one, and removed.
public enum LayerKind: String, Sendable, Codable, CaseIterable {
    /// Writable; has no children.
    case active
    /// Read-only for ever; may have children.
    case committed
    /// A read-only look at a committed layer.
    case view
}

/// Nanoseconds since 1970, UTC.
public struct Instant: Sendable, Hashable, Comparable {
    public let nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
}

/// A layer as it is recorded.
public struct Layer: Sendable, Equatable {
    public let number: LayerNumber
    public let name: LayerName
    public let kind: LayerKind
    public let parent: LayerName?
    let parentNumber: LayerNumber?
    public let createdAt: Instant
    public let updatedAt: Instant
    public let labels: [String: String]
    public let sizeLimit: UInt64?
    /// sha256 of the uncompressed tar that the layer was imported from.
    public let diffID: String?

    /// The number under which the driver has the layer's tree: a view has none of its own.
    var object: LayerNumber { kind == .view ? parentNumber! : number }
}

/// A mount or an activation of a layer that is in force.
public struct LayerMount: Sendable, Equatable {
    /// Where it is mounted; nil when it is only activated, for callers that mount themselves.
    public let target: String?
    public let isReadOnly: Bool
}

/// Something that an operation cut short had left, and what was done about it.
public struct Recovery: Sendable, Equatable, CustomStringConvertible {
    public let number: LayerNumber
    public let description: String
}
