import LinuxSystem
import StorageDriver
import SystemPackage

/// What a layer did to one path of its parent.
public struct Change: Sendable, Hashable {
    public enum Kind: String, Sendable {
        case added, modified, deleted
    }

    public let kind: Kind
    /// Absolute in the layer; bytes, for it need not be UTF-8.
    public let path: [UInt8]

    public init(_ kind: Kind, _ path: [UInt8]) {
        self.kind = kind
        self.path = path
    }
}

/// Compares two trees by one ordered walk of both.
///
/// Two entries are equal when their type, mode, owner, device number, link count, times of modification, sizes, link
/// targets and xattrs are, and, unless they are visibly the same inode in the same state (a snapshot's), their
/// contents. A directory whose time of modification is another counts as modified, as it does for Docker.
struct TreeComparison {
    /// Called in the order of the walk: a directory before what is in it, names by their bytes. What is deleted
    /// has no status any more.
    let report: (Change.Kind, EntryPath, FileStatus?, FileDescriptor) throws -> Void

    func directory(_ parent: FileDescriptor?, _ child: FileDescriptor, _ path: EntryPath) throws {
        let old = try parent?.entries() ?? []
        let new = try child.entries()
        var (i, j) = (0, 0)
        while i < old.count || j < new.count {
            if j == new.count || (i < old.count && old[i] < new[j]) {
                try report(.deleted, path.appending(old[i].bytes), nil, child)
                i += 1
            } else if i == old.count || new[j] < old[i] {
                try added(new[j], in: child, path)
                j += 1
            } else if let parent {
                try both(new[j], parent, child, path)
                (i, j) = (i + 1, j + 1)
            }
        }
    }

    private func added(_ name: EntryName, in child: FileDescriptor, _ path: EntryPath) throws {
        let status = try child.status(of: name)
        let below = path.appending(name.bytes)
        try report(.added, below, status, child)
        guard status.kind == .directory else { return }
        let directory = try child.openEntry(name, flags: directoryFlag)
        defer { directory.closeQuietly() }
        try self.directory(nil, directory, below)
    }

    private func both(_ name: EntryName, _ parent: FileDescriptor, _ child: FileDescriptor, _ path: EntryPath) throws {
        let (old, new) = (try parent.status(of: name), try child.status(of: name))
        let below = path.appending(name.bytes)
        if try !Self.areEqual(name, parent, old, child, new) { try report(.modified, below, new, child) }
        guard new.kind == .directory else { return }
        let directory = try child.openEntry(name, flags: directoryFlag)
        defer { directory.closeQuietly() }
        guard old.kind == .directory else { return try self.directory(nil, directory, below) }
        let before = try parent.openEntry(name, flags: directoryFlag)
        defer { before.closeQuietly() }
        try self.directory(before, directory, below)
    }

    static func areEqual(
        _ name: EntryName, _ parent: FileDescriptor, _ old: FileStatus, _ child: FileDescriptor, _ new: FileStatus
    ) throws -> Bool {
        guard old.kind == new.kind, old.permissions == new.permissions, old.uid == new.uid, old.gid == new.gid,
            old.node == new.node, old.modified == new.modified
        else { return false }
        if old.kind != .directory, old.linkCount != new.linkCount { return false }
        if old.kind == .regular || old.kind == .symlink, old.size != new.size { return false }
        // The kernel sets the time of change by itself at every change of anything.
        if old.inode == new.inode, old.changed == new.changed { return true }
        if try parent.extendedAttributes(of: name) != child.extendedAttributes(of: name) { return false }
        switch old.kind {
        case .symlink: return try parent.readLink(name) == child.readLink(name)
        case .regular: return try haveEqualContents(name, parent, child)
        default: return true
        }
    }

    private static func haveEqualContents(
        _ name: EntryName, _ parent: FileDescriptor, _ child: FileDescriptor
    ) throws -> Bool {
        let (one, other) = (try parent.openEntry(name), try child.openEntry(name))
        defer {
            one.closeQuietly()
            other.closeQuietly()
        }
        var first = [UInt8](repeating: 0, count: 1 << 16)
        var second = first
        var offset: Int64 = 0
        while true {
            let count = try first.withUnsafeMutableBytes { try one.read(fromAbsoluteOffset: offset, into: $0) }
            let otherCount = try second.withUnsafeMutableBytes { try other.read(fromAbsoluteOffset: offset, into: $0) }
            if count != otherCount || first[..<count] != second[..<count] { return false }
            if count == 0 { return true }
            offset += Int64(count)
        }
    }
}
