import Glibc
import SystemPackage

/// Copies a tree with all that a layer keeps: type, mode, owner, nanosecond times, xattrs, hard links, holes, device
/// numbers.
public struct TreeCopy {
    /// Where the first link of an inode was copied to below the target, for files with several.
    private var firstLinks: [UInt64: EntryName] = [:]
    private let targetRoot: FileDescriptor

    /// Copies the contents and the own attributes of `source` into the empty directory `target`.
    public static func run(from source: FileDescriptor, to target: FileDescriptor) throws(SystemError) {
        var copy = TreeCopy(targetRoot: target)
        try copy.directory(source, target, path: [])
        try target.copyAttributes(of: .itself, from: .itself, in: source, try source.status())
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
        try target.copyAttributes(of: name, from: name, in: source, status)
    }
}

extension FileDescriptor {
    /// Gives an entry of this directory the owner, mode, extended attributes and time of another.
    /// - Parameters:
    ///   - status: of the source.
    ///   - isKept: whether an extended attribute is copied.
    public func copyAttributes(
        of copy: EntryName, from name: EntryName, in source: FileDescriptor, _ status: FileStatus,
        where isKept: (_ key: AttributeName) -> Bool = { _ in true }
    ) throws(SystemError) {
        try setOwner(of: copy, uid: status.uid, gid: status.gid)
        if status.kind != .symlink { try setPermissions(status.permissions, of: copy) }
        for (key, value) in try source.extendedAttributes(of: name) where isKept(key) {
            try setExtendedAttribute(key, value, of: copy)
        }
        try setModified(status.modified, of: copy)
    }
}
