import LinuxSystem
import SystemPackage

/// All that a reader can see of a tree: a line for each path. Made by a walk of its own, and not by the code that makes
/// diffs.
struct SeenTree: Equatable {
    private(set) var lines: [String: String] = [:]

    init(_ root: FileDescriptor) throws {
        var names: [UInt64: [String]] = [:]
        try add(root, .itself, "/", &names)
        try walk(root, "/", &names)
        for paths in names.values where paths.count > 1 {
            for path in paths { lines[path]? += " names \(paths.sorted())" }
        }
    }

    /// What is not here as it is in another picture, for people.
    func losses(against expected: SeenTree) -> [String] {
        Set(lines.keys).union(expected.lines.keys).sorted().compactMap { path in
            let (here, there) = (lines[path], expected.lines[path])
            if here == there { return nil }
            guard let here else { return "\(path) is missing" }
            guard let there else { return "\(path) is there, and should not be" }
            return "\(path) is \(here), and was \(there)"
        }
    }

    private mutating func walk(_ directory: FileDescriptor, _ path: String, _ names: inout [UInt64: [String]]) throws {
        for name in try directory.entries() {
            let below = path + Self.shown(name.bytes)
            guard try add(directory, name, below, &names) == .directory else { continue }
            let child = try directory.openEntry(name, flags: directoryFlag)
            defer { child.closeQuietly() }
            try walk(child, below + "/", &names)
        }
    }

    @discardableResult
    private mutating func add(
        _ directory: FileDescriptor, _ name: EntryName, _ path: String, _ names: inout [UInt64: [String]]
    ) throws -> FileStatus.Kind {
        let status = try directory.status(of: name)
        var line = "\(status.kind) \(String(status.permissions, radix: 8)) \(status.uid):\(status.gid)"
        line += " at \(status.modified.seconds).\(status.modified.nanoseconds)"
        for (key, value) in try directory.extendedAttributes(of: name).sorted(by: { $0.key < $1.key })
        where !Self.isKernels(key) {
            line += " \(key.text)=\(value)"
        }
        switch status.kind {
        case .regular:
            let file = try directory.openEntry(name)
            defer { file.closeQuietly() }
            line += " \(status.size) bytes \(String(try Self.checksum(of: file, status.size), radix: 16))"
            if status.allocated < status.size / 2 { line += " with holes" }
        case .symlink: line += " -> \(Self.shown(try directory.readLink(name)))"
        case .characterDevice, .blockDevice: line += " \(status.node)"
        default: break
        }
        if status.kind != .directory, status.linkCount > 1 { names[status.inode, default: []].append(path) }
        lines[path] = line
        return status.kind
    }

    /// What filesystems and security modules show or set by themselves.
    private static func isKernels(_ key: AttributeName) -> Bool {
        ["trusted.overlay.", "trusted.SGI_ACL", "security.selinux"].contains { key.hasPrefix($0) }
    }

    private static func shown(_ bytes: [UInt8]) -> String {
        bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
            ? String(decoding: bytes, as: UTF8.self) : bytes.map { "%" + String($0, radix: 16) }.joined()
    }

    /// FNV-1a of 64 bits over the file's data; a hole is the zeros that it reads as.
    private static func checksum(of file: FileDescriptor, _ size: UInt64) throws -> UInt64 {
        var sum: UInt64 = 0xcbf2_9ce4_8422_2325
        for range in try dataRanges(of: file, size: size) {
            let data = try file.readBytes(Int(range.upperBound - range.lowerBound), at: range.lowerBound, of: "file")
            // Zeros do not count: a filesystem may keep them as data or as a hole.
            for (index, byte) in data.enumerated() where byte != 0 {
                sum = (sum ^ UInt64(byte) ^ (range.lowerBound + UInt64(index)) << 8) &* 0x100_0000_01b3
            }
        }
        return sum
    }
}
