import Glibc
import LinuxSystem
import SystemPackage

/// Copies a tree with all that a layer keeps: type, mode, owner, nanosecond times, xattrs, hard links, holes, device
/// numbers.
struct TreeCopy {
    /// Where the first link of an inode was copied to below the target, for files with several.
    private var firstLinks: [UInt64: EntryName] = [:]
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
                    try target.makeLink(name, to: first, in: targetRoot)
                    continue
                }
                firstLinks[status.inode] = EntryName(entryPath)
            }
            try entry(name, status, source, target, path: entryPath)
        }
    }

    private mutating func entry(
        _ name: EntryName, _ status: FileStatus, _ source: FileDescriptor, _ target: FileDescriptor, path: [UInt8]
    ) throws(SystemError) {
        switch status.kind {
        case .directory:
            try target.makeDirectory(name, permissions: 0o700)
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
            try target.makeSymlink(name, to: try source.readLink(name))
        case .fifo, .characterDevice, .blockDevice, .socket:
            try target.makeNode(name, status.kind, status.node)
        }
        try attributes(of: name, in: source, to: name, in: target, status)
    }

    private func attributes(
        of name: EntryName, in source: FileDescriptor, to copy: EntryName, in target: FileDescriptor,
        _ status: FileStatus
    ) throws(SystemError) {
        try target.setOwner(of: copy, uid: status.uid, gid: status.gid)
        if status.kind != .symlink { try target.setPermissions(status.permissions, of: copy) }
        for (key, value) in try source.extendedAttributes(of: name) {
            try target.setExtendedAttribute(key, value, of: copy)
        }
        try target.setModified(status.modified, of: copy)
    }
}
