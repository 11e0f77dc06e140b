/// The name of an extended attribute: bytes, compared as such. Need not be UTF-8, and two names that a reader of Unicode
/// would take for one are two.
public struct AttributeName: Sendable, Hashable, Comparable, ExpressibleByStringInterpolation {
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public init(_ text: String) { bytes = Array(text.utf8) }
    public init(stringLiteral text: String) { self.init(text) }

    public static func < (left: AttributeName, right: AttributeName) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    public func hasPrefix(_ prefix: String) -> Bool { bytes.starts(with: prefix.utf8) }

    /// For people; bytes that are no UTF-8 are replaced.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Runs `body` with the name as C has it.
    func withCString<Result, Failure: Error>(
        _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try EntryName(bytes).withCString(body)
    }
}
