import StorageDriver

/// The name of a tar's member, taken apart: names below the layer's root, none of them special.
struct EntryPath: Hashable {
    let components: [[UInt8]]

    /// Longest path, and longest name in one, that Linux takes (limits.h).
    static let longestPath = 4096
    static let longestName = 255

    /// - Throws: `.invalidArgument` for what is absolute, has `..`, contains NUL, or is too long.
    init(_ path: [UInt8], in archive: String) throws(StorageError) {
        func refuse(_ reason: String) -> StorageError {
            let text = String(decoding: path.prefix(200), as: UTF8.self)
            return StorageError(.invalidArgument, "apply", archive, "member \"\(text)\": \(reason)")
        }
        if path.isEmpty { throw refuse("it has no name") }
        if path.first == UInt8(ascii: "/") { throw refuse("its name is absolute") }
        if path.count > Self.longestPath { throw refuse("its name is longer than \(Self.longestPath) bytes") }
        let parts = path.split(separator: UInt8(ascii: "/")).map(Array.init).filter { $0 != [0x2E] }
        if parts.contains([0x2E, 0x2E]) { throw refuse("its name has \"..\"") }
        if parts.contains(where: { $0.count > Self.longestName }) {
            throw refuse("a part of its name is longer than \(Self.longestName) bytes")
        }
        components = parts
    }

    private init(components: [[UInt8]]) { self.components = components }

    static let root = EntryPath(components: [])

    /// The layer's root itself.
    var isRoot: Bool { components.isEmpty }
    var name: [UInt8] { components.last ?? [] }
    var parent: EntryPath { EntryPath(components: Array(components.dropLast())) }
    func appending(_ name: [UInt8]) -> EntryPath { EntryPath(components: components + [name]) }
    var bytes: [UInt8] { Array(components.joined(separator: [UInt8(ascii: "/")])) }
    var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// OCI whiteouts: names in a layer's tar that take away what is below (OCI image specification, layer.md).
enum Whiteout {
    static let prefix = Array(".wh.".utf8)
    static let opaque = Array(".wh..wh..opq".utf8)
    /// What AUFS kept for itself begins so, and is no part of a layer.
    static let internalPrefix = Array(".wh..wh.".utf8)
}
