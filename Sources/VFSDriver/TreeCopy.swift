import CLinux
import Glibc
import LinuxSystem
import SystemPackage

/// Copies a tree with all that a layer keeps: type, mode, owner, nanosecond times, xattrs, hard links, holes, device
/// numbers. Sockets stay behind: nothing can be at their other end.
struct TreeCopy {
    /// Where the first link of an inode was copied to, for files with several.
    private var firstLinks: [UInt64: (directory: FileDescriptor, path: EntryName)] = [:]
    private let targetRoot: FileDescriptor

    /// Copies the contents and the own attributes of `source` into the empty directory `target`.
    static func run(from source: FileDescriptor, to target: FileDescriptor) throws(SystemError) {
        var copy = TreeCopy(targetRoot: target)
        try copy.directory(source, target, path: [])
        try copy.attributes(of: .itself, in: source, to: .itself, in: target, try source.status())
    }

    private init(targetRoot: FileDescriptor) { self.targetRoot = targetRoot }

    private mutating func directory(
        _ source: FileDescriptor, _ target: FileDescriptor, path: [UInt8]
    ) throws(SystemError) {
        for name in try source.entries() {
            let status = try source.status(of: name)
            let entryPath = path + (path.isEmpty ? [] : [UInt8(ascii: "/")]) + name.bytes
            if status.kind != .directory, status.linkCount > 1 {
                if let first = firstLinks[status.inode] {
                    let result = first.path.withCString { from in
                        name.withCString { linkat(first.directory.rawValue, from, target.rawValue, $0, 0) }
                    }
                    try check(result, "link", name.text)
                    continue
                }
                firstLinks[status.inode] = (targetRoot, EntryName(entryPath))
            }
            try entry(name, status, source, target, path: entryPath)
        }
    }

    private mutating func entry(
        _ name: EntryName, _ status: FileStatus, _ source: FileDescriptor, _ target: FileDescriptor, path: [UInt8]
    ) throws(SystemError) {
        switch status.kind {
        case .directory:
            try check(name.withCString { mkdirat(target.rawValue, $0, 0o700) }, "mkdir", name.text)
            let from = try source.openEntry(name, flags: O_DIRECTORY)
            defer { from.closeQuietly() }
            let to = try target.openEntry(name, flags: O_DIRECTORY)
            defer { to.closeQuietly() }
            try directory(from, to, path: path)
        case .regular:
            let from = try source.openEntry(name)
            defer { from.closeQuietly() }
            let to = try target.openEntry(name, .readWrite, flags: O_CREAT | O_EXCL, permissions: 0o600)
            defer { to.closeQuietly() }
            try copyData(from: from, to: to, size: status.size)
        case .symlink:
            let destination = EntryName(try source.readLink(name))
            let result = destination.withCString { to in name.withCString { symlinkat(to, target.rawValue, $0) } }
            try check(result, "symlink", name.text)
        case .fifo, .characterDevice, .blockDevice:
            let mode = status.kind.rawValue | 0o600
            try check(name.withCString { mknodat(target.rawValue, $0, mode, status.node.raw) }, "mknod", name.text)
        case .socket:
            return
        }
        try attributes(of: name, in: source, to: name, in: target, status)
    }

    /// Owner before mode, for a change of owner clears setuid; times last.
    private func attributes(
        of name: EntryName, in source: FileDescriptor, to copy: EntryName, in target: FileDescriptor,
        _ status: FileStatus
    ) throws(SystemError) {
        let owned = copy.withCString {
            fchownat(target.rawValue, $0, status.uid, status.gid, AT_SYMLINK_NOFOLLOW)
        }
        try check(owned, "chown", name.text)
        if status.kind != .symlink {
            try check(copy.withCString { fchmodat(target.rawValue, $0, status.permissions, 0) }, "chmod", name.text)
        }
        for (key, value) in try source.extendedAttributes(of: name) {
            try target.setExtendedAttribute(key, value, of: copy)
        }
        let time = status.modified
        let timed = copy.withCString {
            lam_utimensat_nofollow(target.rawValue, $0, time.seconds, time.nanoseconds)
        }
        try check(timed, "set times of", name.text)
    }
}
