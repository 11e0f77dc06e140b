/// What a layer did to one path of its parent.
public struct Change: Sendable, Hashable {
    public enum Kind: String, Sendable {
        case added, modified, deleted
    }

    public let kind: Kind
    /// Absolute in the layer; bytes, for it need not be UTF-8.
    public let path: [UInt8]

    public init(_ kind: Kind, _ path: [UInt8]) {
        self.kind = kind
        self.path = path
    }
}

/// A change as the writer of a tar takes it.
struct TreeChange: Equatable {
    let kind: Change.Kind
    let path: EntryPath

    /// As users see it.
    var change: Change { Change(kind, [UInt8(ascii: "/")] + path.bytes) }
}
