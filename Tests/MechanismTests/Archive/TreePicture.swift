import Fixtures
import Glibc
import Lamina
import LinuxSystem
import SystemPackage

/// All that a reader can see of a tree: a line for each path. Made by a walk of its own, and not by the code under test.
struct TreePicture: Equatable {
    private(set) var lines: [String: String] = [:]
    private var names: [UInt64: [String]] = [:]

    init(_ root: FileDescriptor) throws {
        try add(root, .itself, path: "/")
        try walk(root, path: "/")
        for (inode, paths) in names where paths.count > 1 {
            for path in paths { lines[path]? += " names \(paths.sorted())" }
            _ = inode
        }
    }

    /// The picture without some paths, and without some texts in its lines.
    func without(paths: [String] = [], texts: [String] = []) -> TreePicture {
        var copy = self
        for path in paths { copy.lines[path] = nil }
        for (path, line) in copy.lines { copy.lines[path] = texts.reduce(line) { $0.replacing($1, with: "") } }
        return copy
    }

    /// What two pictures do not have in common, for people.
    func differences(from other: TreePicture) -> [String] {
        Set(lines.keys).union(other.lines.keys).sorted().compactMap { path in
            let (here, there) = (lines[path], other.lines[path])
            return here == there ? nil : "\(path): \(here ?? "missing") | \(there ?? "missing")"
        }
    }

    private mutating func walk(_ directory: FileDescriptor, path: String) throws {
        for name in try directory.entries() {
            let below = path + Self.escaped(name.bytes)
            let kind = try add(directory, name, path: below)
            if kind == .directory {
                let child = try directory.openEntry(name, flags: directoryFlag)
                defer { child.closeQuietly() }
                try walk(child, path: below + "/")
            }
        }
    }

    @discardableResult
    private mutating func add(
        _ directory: FileDescriptor, _ name: EntryName, path: String
    ) throws -> FileStatus.Kind {
        let status = try directory.status(of: name)
        let time = "\(status.modified.seconds).\(status.modified.nanoseconds)"
        var line = "\(status.kind) \(String(status.permissions, radix: 8)) \(status.uid):\(status.gid) \(time)"
        // xfs shows ACLs a second time in a form of its own.
        let xattrs = try directory.extendedAttributes(of: name).filter { !$0.key.hasPrefix("trusted.SGI_ACL") }
            .sorted { $0.key < $1.key }
        for (key, value) in xattrs { line += " \(Self.escaped(key.bytes))=\(value)" }
        switch status.kind {
        case .regular:
            let file = try directory.openEntry(name)
            defer { file.closeQuietly() }
            line += " \(status.size) bytes \(try Self.checksum(of: file))"
        case .symlink: line += " -> \(Self.escaped(try directory.readLink(name)))"
        case .characterDevice, .blockDevice: line += " \(status.node)"
        default: break
        }
        if status.kind != .directory, status.linkCount > 1 { names[status.inode, default: []].append(path) }
        lines[path] = line
        return status.kind
    }

    /// The changes that have led to this picture: what is below something deleted is not told, of the root more than
    /// its time must differ.
    func changes(from old: TreePicture) -> [String] {
        var changes: [String] = []
        for path in Set(lines.keys).union(old.lines.keys) {
            guard let line = lines[path] else {
                let above = path.prefix(upTo: path.lastIndex(of: "/")!)
                if above.isEmpty || lines[String(above)]?.hasPrefix("directory") == true {
                    changes.append("deleted \(path)")
                }
                continue
            }
            guard let before = old.lines[path] else {
                changes.append("added \(path)")
                continue
            }
            if path == "/" {
                let facts = [line, before].map {
                    $0.split(separator: " ").enumerated().filter { $0.offset != 3 }.map(\.element)
                }
                if facts[0] == facts[1] { continue }
            }
            if line != before { changes.append("modified \(path)") }
        }
        return changes.sorted()
    }

    /// Bytes for people: as they are where they are UTF-8, name by name.
    static func escaped(_ bytes: [UInt8]) -> String {
        bytes.split(separator: 0x2F, omittingEmptySubsequences: false).map { name in
            // Two texts that Unicode takes for one are two names.
            name.allSatisfy { $0 < 0x80 }
                ? String(decoding: name, as: UTF8.self) : name.map { "%" + String($0, radix: 16) }.joined()
        }.joined(separator: "/")
    }

    /// In the manner of FNV-1a, over words of eight bytes and where they are.
    private static func checksum(of file: FileDescriptor) throws -> UInt64 {
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let size = try file.status().size
        for range in try dataRanges(of: file, size: size) {
            var position = range.lowerBound
            while position < range.upperBound {
                let count = try buffer.withUnsafeMutableBytes {
                    try file.read(
                        fromAbsoluteOffset: Int64(position),
                        into: .init(rebasing: $0[..<min($0.count, Int(range.upperBound - position))]))
                }
                for index in count..<min(count + 8, buffer.count) { buffer[index] = 0 }
                buffer.withUnsafeBytes { bytes in
                    for offset in stride(from: 0, to: count, by: 8) {
                        let word = bytes.load(fromByteOffset: offset, as: UInt64.self)
                        // Zeros do not count: a filesystem may keep them as data or as a hole.
                        if word == 0 { continue }
                        sum = (sum ^ word ^ (position + UInt64(offset)) << 8) &* 0x100_0000_01b3
                    }
                }
                position += UInt64(count)
            }
        }
        return sum
    }
}
