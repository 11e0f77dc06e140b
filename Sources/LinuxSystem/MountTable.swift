import SystemPackage

/// The mounts of this process's mount namespace, read once (proc(5), /proc/self/mountinfo).
public struct MountTable: Sendable {
    public struct Entry: Sendable, Equatable {
        public let id: UInt64
        public let device: DeviceNumber
        /// The directory of the filesystem that is the root of this mount.
        public let root: String
        public let target: String
        public let type: String
        public let source: String
        fileprivate let mountOptions: String
        fileprivate let filesystemOptions: String

        /// Options of this mount, not of the filesystem.
        public var options: [String] { mountOptions.split(separator: ",").map(String.init) }

        /// Options of the filesystem.
        public var superOptions: [String] { filesystemOptions.split(separator: ",").map(String.init) }

        /// Whether the mount shows the tree at a path inside its filesystem, or a part of that tree.
        public func shows(_ tree: String) -> Bool { root == tree || root.hasPrefix(tree + "/") }

        /// Where a path below the target is inside the mounted filesystem, as `root` would name it.
        public func pathInFilesystem(of path: String) -> String {
            (root == "/" ? "" : root) + path.dropFirst(target == "/" ? 0 : target.count)
        }
    }

    /// In the order of mounting; a later entry covers an earlier one at the same target.
    public let entries: [Entry]

    public static func current() -> MountTable {
        MountTable(parsing: readText("/proc/self/mountinfo") ?? "")
    }

    public init(parsing text: String) {
        // As bytes in one piece: text, and views of it, cost ten times as much, and hosts have thousands of mounts.
        entries = Array(text.utf8).split(separator: UInt8(ascii: "\n")).compactMap(Self.entry)
    }

    /// The mount that holds `path`: the last one whose target is `path` or above it.
    public func entry(holding path: String) -> Entry? {
        entries.last { $0.target == path || $0.target == "/" || path.hasPrefix($0.target + "/") }
    }

    /// The topmost mount exactly at `target`.
    public func entry(at target: String) -> Entry? { entries.last { $0.target == target } }

    private static func entry(_ line: ArraySlice<UInt8>) -> Entry? {
        // 36 35 98:0 /root /target rw,noatime master:1 - ext4 /dev/sda rw,errors=continue
        let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard let dash = fields.firstIndex(where: { $0.elementsEqual("-".utf8) }), dash >= 6, fields.count >= dash + 4,
            let id = UInt64(text(fields[0])), let device = DeviceNumber(text(fields[2]))
        else { return nil }
        return Entry(
            id: id, device: device, root: unescape(fields[3]), target: unescape(fields[4]),
            type: text(fields[dash + 1]), source: unescape(fields[dash + 2]), mountOptions: text(fields[5]),
            filesystemOptions: text(fields[dash + 3]))
    }

    private static func text(_ field: ArraySlice<UInt8>) -> String { String(decoding: field, as: UTF8.self) }

    /// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
    private static func unescape(_ field: ArraySlice<UInt8>) -> String {
        guard field.contains(UInt8(ascii: "\\")) else { return text(field) }
        var bytes: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let value = UInt8(text(rest.prefix(3)), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return text(bytes[...])
    }
}
