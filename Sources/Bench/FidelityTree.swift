import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// A small tree with the kinds of things that a layer can hold, the same each time, times included.
struct FidelityTree {
    /// What could not even be made, a line each.
    private(set) var refused: [String] = []
    private let root: FileDescriptor
    private static let time = FileStatus.Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_789)

    /// cap_net_raw, permitted and effective, as the kernel keeps it (linux/capability.h, VFS_CAP_REVISION_2).
    private static let capability: [UInt8] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    /// user::rwx, user:1000:r-x, group::r-x, mask::rwx, other::--- (linux/posix_acl_xattr.h).
    private static let acl: [UInt8] = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 0xE8, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
        16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ]

    private init(_ root: FileDescriptor) { self.root = root }

    /// Fills an empty directory.
    static func fill(_ root: FileDescriptor) throws -> FidelityTree {
        var tree = FidelityTree(root)
        tree.makeFiles()
        tree.makeAttributes()
        tree.makeDirectories()
        try tree.setTimes()
        return tree
    }

    private mutating func attempt(_ what: String, _ body: (FileDescriptor) throws -> Void) {
        do { try body(root) } catch { refused.append("\(what) cannot be made: \(error)") }
    }

    private mutating func makeFiles() {
        attempt("files") { root in
            for name in ["plain", "setuid", "capable", "acl", "attributes", "changed", "replaced", "removed"] {
                try Self.write(name, to: EntryName(name), in: root)
            }
            try Self.write("", to: EntryName("empty"), in: root)
            try Self.write("long", to: EntryName(String(repeating: "n", count: 255)), in: root)
        }
        attempt("a name that is not UTF-8") { try Self.write("odd", to: EntryName([0xFF, 0x20, 0x0A, 0xC3]), in: $0) }
        attempt("hard links") { root in
            try Self.write("linked", to: EntryName("one"), in: root)
            try root.makeLink(EntryName("two"), to: EntryName("one"), in: root)
        }
        attempt("symlinks") { root in
            try root.makeSymlink(EntryName("dangling"), to: Array("/nowhere/../at/all".utf8))
            try root.makeSymlink(EntryName("odd link"), to: [0xFF, 0x2F, 0xFE])
        }
        attempt("device nodes") { root in
            try root.makeNode(EntryName("null"), .characterDevice, DeviceNumber(major: 1, minor: 3))
            try root.makeNode(EntryName("loop"), .blockDevice, DeviceNumber(major: 7, minor: 1000))
        }
        attempt("a fifo") { try $0.makeNode(EntryName("fifo"), .fifo, DeviceNumber(major: 0, minor: 0)) }
        // Data, a hole, data, and a hole at the end.
        attempt("a sparse file") { root in
            let file = try root.openEntry(EntryName("sparse"), .writeOnly, flags: O_CREAT, permissions: 0o644)
            defer { file.closeQuietly() }
            let data = [UInt8](repeating: 0x5A, count: 1 << 17)
            for offset in [0, 8 << 20] as [UInt64] {
                try data.withUnsafeBytes { try file.writeFully($0, at: offset, to: "sparse") }
            }
            try check(ftruncate(file.rawValue, 16 << 20), "truncate", "sparse")
        }
    }

    private mutating func makeAttributes() {
        attempt("owners and modes") { root in
            try root.setOwner(of: EntryName("setuid"), uid: 1000, gid: 3_000_000_001)
            try root.setPermissions(0o6755, of: EntryName("setuid"))
        }
        let attributes: [(what: String, name: String, key: AttributeName, value: [UInt8])] = [
            ("capabilities", "capable", "security.capability", Self.capability),
            ("ACLs", "acl", "system.posix_acl_access", Self.acl),
            ("user xattrs", "attributes", "user.text", Array("a\nb\0c".utf8)),
            ("empty xattrs", "attributes", "user.empty", []),
            ("trusted xattrs", "attributes", "trusted.own", [0, 255, 1]),
            ("xattrs of symlinks", "dangling", "trusted.on.link", [1]),
        ]
        for (what, name, key, value) in attributes {
            attempt(what) { try $0.setExtendedAttribute(key, value, of: EntryName(name)) }
        }
    }

    private mutating func makeDirectories() {
        attempt("directories") { root in
            for name in ["sticky", "opaque", "emptied"] {
                try root.makeDirectory(EntryName(name), permissions: 0o755)
                let directory = try root.openEntry(EntryName(name), flags: directoryFlag)
                defer { directory.closeQuietly() }
                try Self.write(name, to: EntryName("inside"), in: directory)
                try directory.setModified(Self.time, of: EntryName("inside"))
            }
            try root.setPermissions(0o1777, of: EntryName("sticky"))
        }
        attempt("default ACLs") { root in
            try root.setExtendedAttribute("system.posix_acl_default", Self.acl, of: EntryName("sticky"))
        }
    }

    private func setTimes() throws {
        for name in try root.entries() { try root.setModified(Self.time, of: name) }
        try root.setModified(.init(seconds: -5, nanoseconds: 7), of: EntryName("plain"))
        try root.setModified(Self.time, of: .itself)
    }

    /// Changes what a layer has inherited: a file written, one that becomes a directory, one removed, a directory
    /// emptied, and one that is removed and made anew, so that nothing of the old one may show.
    static func change(_ root: FileDescriptor) throws {
        try write("changed, and longer", to: EntryName("changed"), in: root)
        for name in ["removed", "replaced", "opaque"] { try root.removeEntry(EntryName(name)) }
        for name in ["replaced", "opaque"] {
            try root.makeDirectory(EntryName(name), permissions: 0o700)
            let directory = try root.openEntry(EntryName(name), flags: directoryFlag)
            defer { directory.closeQuietly() }
            try write("new", to: EntryName("other"), in: directory)
            try directory.setModified(time, of: EntryName("other"))
        }
        let emptied = try root.openEntry(EntryName("emptied"), flags: directoryFlag)
        defer { emptied.closeQuietly() }
        try emptied.removeEntry(EntryName("inside"))
        for name in ["changed", "replaced", "opaque", "emptied"] {
            try root.setModified(.init(seconds: 1_700_000_001, nanoseconds: 1), of: EntryName(name))
        }
        try root.setModified(time, of: .itself)
    }

    private static func write(_ text: String, to name: EntryName, in directory: FileDescriptor) throws {
        let file = try directory.openEntry(name, .writeOnly, flags: O_CREAT | O_TRUNC, permissions: 0o644)
        defer { file.closeQuietly() }
        try Array(text.utf8).withUnsafeBytes { try file.writeFully($0, to: name.text) }
    }
}
