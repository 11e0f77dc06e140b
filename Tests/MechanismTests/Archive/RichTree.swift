import CLinux
import Fixtures
import Glibc
import Lamina
import LinuxSystem
import SystemPackage

/// A tree with all that a layer can hold.
enum RichTree {
    /// A capability set as the kernel keeps it, of version 2: cap_net_raw, permitted and effective.
    static let capability2: [UInt8] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    /// Of version 3, for the user namespace whose root is 100000.
    static let capability3: [UInt8] =
        [1, 0, 0, 3, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xA0, 0x86, 1, 0]
    /// user::rwx, user:1000:r-x, group::r-x, group:1001:rw-, mask::rwx, other::---
    static let acl: [UInt8] = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 0xE8, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
        8, 0, 6, 0, 0xE9, 3, 0, 0, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ]

    static func make(in root: FileDescriptor, sockets: Bool = false, oddNames: Bool = true) throws {
        let time = FileStatus.Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_789)
        try write("plain\n", to: "plain", in: root)
        try write("", to: "empty", in: root)
        try write("setuid", to: "setuid", in: root)
        try root.setOwner(of: EntryName("setuid"), uid: 1000, gid: 70000)
        try root.setPermissions(0o6755, of: EntryName("setuid"))
        try root.makeDirectory(EntryName("sticky"), permissions: 0o700)
        try root.setPermissions(0o1777, of: EntryName("sticky"))
        try root.makeDirectory(EntryName("empty directory"), permissions: 0o500)
        try root.makeDirectory(EntryName("setgid"), permissions: 0o755)
        try root.setOwner(of: EntryName("setgid"), uid: 3_000_000_000, gid: 3_000_000_001)
        try root.setPermissions(0o2775, of: EntryName("setgid"))
        let directory = try root.openEntry(EntryName("setgid"), flags: directoryFlag)
        defer { directory.closeQuietly() }
        try write("linked", to: "one", in: directory)
        try root.makeLink(EntryName("two"), to: EntryName("one"), in: directory)
        try root.makeSymlink(EntryName("dangling"), to: Array("/nowhere/../at/all".utf8))
        try root.makeSymlink(EntryName("long link"), to: Array(String(repeating: "x/", count: 150).utf8))
        try root.makeLink(EntryName("link to a link"), to: EntryName("dangling"), in: root)
        try root.makeNode(EntryName("null"), .characterDevice, DeviceNumber(major: 1, minor: 3))
        try root.makeNode(EntryName("loop"), .blockDevice, DeviceNumber(major: 7, minor: 1000))
        try root.makeNode(EntryName("fifo"), .fifo, DeviceNumber(major: 0, minor: 0))
        if sockets { try root.makeNode(EntryName("socket"), .socket, DeviceNumber(major: 0, minor: 0)) }
        try write("caps", to: "capable", in: root)
        try root.setExtendedAttribute("security.capability", capability2, of: EntryName("capable"))
        try write("caps", to: "capable in a namespace", in: root)
        try root.setExtendedAttribute("security.capability", capability3, of: EntryName("capable in a namespace"))
        try write("acl", to: "acl", in: root)
        try root.setExtendedAttribute("system.posix_acl_access", acl, of: EntryName("acl"))
        try root.makeDirectory(EntryName("inheriting"), permissions: 0o755)
        let inheriting = try root.openEntry(EntryName("inheriting"), flags: directoryFlag)
        defer { inheriting.closeQuietly() }
        try write("none", to: "before", in: inheriting)
        try root.setExtendedAttribute("system.posix_acl_default", acl, of: EntryName("inheriting"))
        try write("some", to: "after", in: inheriting)
        try inheriting.makeDirectory(EntryName("child"), permissions: 0o755)
        for name in ["xattrs", "odd xattrs"] { try write("xattrs", to: name, in: root) }
        try root.setExtendedAttribute("user.text", Array("text\nwith a line\0and a zero".utf8), of: EntryName("xattrs"))
        try root.setExtendedAttribute("user.empty", [], of: EntryName("xattrs"))
        try root.setExtendedAttribute("trusted.own", [0, 255, 1], of: EntryName("xattrs"))
        try root.setExtendedAttribute("user.on-directory", [1], of: EntryName("sticky"))
        try root.setExtendedAttribute("trusted.on.link", [1], of: EntryName("long link"))
        if oddNames {
            try root.setExtendedAttribute("user.a=b%", [2], of: EntryName("xattrs"))
            // One name to a reader of Unicode, and one that is no Unicode.
            for (value, name) in [Array("user.\u{E9}".utf8), Array("user.e\u{301}".utf8), Array("user.".utf8) + [0xFF]]
                .enumerated()
            { try root.setExtendedAttribute(AttributeName(name), [UInt8(value)], of: EntryName("odd xattrs")) }
            let odd = EntryName([0xFF, 0x20, 0x0A, 0xC3])
            try root.openEntry(odd, .writeOnly, flags: O_CREAT, permissions: 0o644).closeQuietly()
            try root.makeSymlink(EntryName([0xFE]), to: [0xFF, 0x2F, 0xFE])
            try root.makeLink(EntryName([0xFD]), to: odd, in: root)
        }
        let long = String(repeating: "n", count: 255)
        try write("long", to: long, in: root)
        // 128 KiB of data, a hole, 4 KiB, a hole, zeros, a hole at the end.
        let sparse = try root.openEntry(EntryName("sparse"), .writeOnly, flags: O_CREAT, permissions: 0o644)
        defer { sparse.closeQuietly() }
        let data = [UInt8](repeating: 0x5A, count: 1 << 17)
        try data.withUnsafeBytes { try sparse.writeFully($0, at: 0, to: "sparse") }
        try data[..<4096].withUnsafeBytes { try sparse.writeFully($0, at: 8 << 20, to: "sparse") }
        try check(ftruncate(sparse.rawValue, 20 << 20), "truncate", "sparse")
        // Zeros that are no hole.
        try [UInt8](repeating: 0, count: 1 << 20).withUnsafeBytes {
            try sparse.writeFully($0, at: 12 << 20, to: "sparse")
        }
        for directory in [directory, inheriting] {
            for name in try directory.entries() {
                try directory.setModified(.init(seconds: 3, nanoseconds: 4), of: name)
            }
        }
        for name in try root.entries() { try root.setModified(time, of: name) }
        try root.setModified(.init(seconds: -5, nanoseconds: 7), of: EntryName("plain"))
        try root.setModified(.init(seconds: 1 << 33, nanoseconds: 0), of: EntryName("empty"))
        try root.setExtendedAttribute("user.root", [7], of: .itself)
        try root.setPermissions(0o751, of: .itself)
        try root.setModified(time, of: .itself)
    }
}
