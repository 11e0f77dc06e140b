import LinuxSystem
import StorageDriver

/// A path below a layer's root: names joined by slashes, none of them special; empty for the root itself. Bytes, for
/// it need not be UTF-8.
struct EntryPath: Hashable {
    let bytes: [UInt8]

    /// Longest path, and longest name in one, that Linux takes (limits.h).
    static let longestPath = 4096
    static let longestName = 255
    private static let slash = UInt8(ascii: "/")

    /// Takes the name of a tar's member apart. An absolute one, as some builders of images write, begins at the layer's
    /// root too.
    /// - Throws: `.invalidArgument` for what has `..`, or is too long.
    init(_ path: [UInt8], in archive: String) throws(StorageError) {
        func refuse(_ reason: String) -> StorageError {
            let text = EntryPath(bytes: path).text
            return StorageError(.invalidArgument, "apply", archive, "member \"\(text)\": \(reason)")
        }
        if path.isEmpty { throw refuse("it has no name") }
        if path.count > Self.longestPath { throw refuse("its name is longer than \(Self.longestPath) bytes") }
        var clean: [UInt8] = []
        clean.reserveCapacity(path.count)
        for part in path.split(separator: Self.slash) where !part.elementsEqual([0x2E]) {
            if part.elementsEqual([0x2E, 0x2E]) { throw refuse("its name has \"..\"") }
            // A whiteout's prefix is no part of the name that it takes away.
            let name = part.starts(with: Whiteout.prefix) ? part.dropFirst(Whiteout.prefix.count) : part
            if name.count > Self.longestName {
                throw refuse("a part of its name is longer than \(Self.longestName) bytes")
            }
            if !clean.isEmpty { clean.append(Self.slash) }
            clean += part
        }
        bytes = clean
    }

    /// - Parameter bytes: a path of the form above.
    init(bytes: [UInt8]) { self.bytes = bytes }

    static let root = EntryPath(bytes: [])
    /// Where AUFS kept files with several names: members elsewhere are hard links to them. It is no part of the layer.
    static let aufsLinks = EntryPath(bytes: Array(".wh..wh.plnk".utf8))

    /// The layer's root itself.
    var isRoot: Bool { bytes.isEmpty }
    /// How many names it has.
    var depth: Int { bytes.isEmpty ? 0 : 1 + bytes.count { $0 == Self.slash } }
    var name: [UInt8] { bytes.lastIndex(of: Self.slash).map { Array(bytes[($0 + 1)...]) } ?? bytes }
    var parent: EntryPath { EntryPath(bytes: bytes.lastIndex(of: Self.slash).map { Array(bytes[..<$0]) } ?? []) }
    /// For people: bytes that are no UTF-8 are replaced, and of a long path the middle is left out.
    var text: String {
        if bytes.count <= Self.longestText { return String(decoding: bytes, as: UTF8.self) }
        let ends = [bytes.prefix(Self.longestText / 4), bytes.suffix(Self.longestText * 3 / 4)]
        return ends.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "…")
    }
    private static let longestText = 400

    /// Whether a name in it is a whiteout's, or one that AUFS kept for itself.
    var hasReservedName: Bool { hasName(beginning: Whiteout.prefix) }
    var hasInternalName: Bool { hasName(beginning: Whiteout.internalPrefix) }

    private func hasName(beginning prefix: [UInt8]) -> Bool {
        bytes.split(separator: Self.slash).contains { $0.starts(with: prefix) }
    }

    func appending(_ name: [UInt8]) -> EntryPath { EntryPath(bytes: isRoot ? name : bytes + [Self.slash] + name) }

    /// Whether this is `other`, or below it.
    func isWithin(_ other: EntryPath) -> Bool {
        other.isRoot
            || (bytes.starts(with: other.bytes)
                && (bytes.count == other.bytes.count || bytes[other.bytes.count] == Self.slash))
    }

    /// The order of a walk: a directory, all that is in it, and only then its next sibling by the bytes of names.
    func precedesInWalk(_ other: EntryPath) -> Bool {
        bytes.lexicographicallyPrecedes(other.bytes) { left, right in
            (left == Self.slash ? 0 : left) < (right == Self.slash ? 0 : right)
        }
    }
}

/// OCI whiteouts: names in a layer's tar that take away what is below (OCI image specification, layer.md).
enum Whiteout {
    static let prefix = Array(".wh.".utf8)
    static let opaque = Array(".wh..wh..opq".utf8)
    /// What AUFS kept for itself begins so, and is no part of a layer.
    static let internalPrefix = Array(".wh..wh.".utf8)
}
