import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// An entry of one of two trees.
struct TreeEntry {
    let directory: FileDescriptor
    let name: EntryName
    let status: FileStatus

    init(_ directory: FileDescriptor, _ name: EntryName, _ status: FileStatus) {
        self.directory = directory
        self.name = name
        self.status = status
    }

    /// Nil where there is none of this name.
    init?(_ directory: FileDescriptor, _ name: EntryName) throws(SystemError) {
        do throws(SystemError) {
            self.init(directory, name, try directory.status(of: name))
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }

    /// The extended attributes that belong to the layer.
    func layerAttributes() throws(SystemError) -> ExtendedAttributes {
        try directory.extendedAttributes(of: name).filter { $0.key.isLayers }
    }

    /// Opens it as a directory.
    func openDirectory() throws(SystemError) -> FileDescriptor {
        try directory.openEntry(name, flags: directoryFlag)
    }

    /// Whether both are one directory, in a layer and in the snapshot that it was made from: the kernel gives an inode
    /// number again, but not with the same time of birth.
    func isSameDirectory(as other: TreeEntry) -> Bool {
        status.kind == .directory && other.status.kind == .directory && status.inode == other.status.inode
            && status.created != nil && status.created == other.status.created
    }

    /// Whether a reader could tell them apart: by type, mode, owner, device number, time of modification, size, link
    /// target, extended attributes or contents. Links are compared by `TreeComparison`.
    func isEqual(to other: TreeEntry, comparingTime: Bool = true) throws -> Bool {
        let (new, old) = (status, other.status)
        guard old.kind == new.kind, old.permissions == new.permissions, old.uid == new.uid, old.gid == new.gid,
            old.node == new.node, !comparingTime || old.modified == new.modified
        else { return false }
        if old.kind == .regular || old.kind == .symlink, old.size != new.size { return false }
        // The kernel sets the time of change by itself at every change of anything: this is a snapshot's inode.
        if old.inode == new.inode, old.changed == new.changed, old.created == new.created { return true }
        if try layerAttributes() != other.layerAttributes() { return false }
        switch old.kind {
        case .symlink: return try directory.readLink(name) == other.directory.readLink(other.name)
        case .regular: return try hasEqualContents(to: other)
        default: return true
        }
    }

    private func hasEqualContents(to other: TreeEntry) throws -> Bool {
        let one = try directory.openEntry(name)
        defer { one.closeQuietly() }
        let another = try other.directory.openEntry(other.name)
        defer { another.closeQuietly() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
        defer { buffer.deallocate() }
        let half = buffer.count / 2
        let ranges = try dataRanges(of: one, size: status.size)
        let otherRanges = try dataRanges(of: another, size: status.size)
        // What is a hole in both need not be read.
        for range in ranges + (ranges == otherRanges ? [] : otherRanges) {
            var position = range.lowerBound
            while position < range.upperBound {
                let length = Int(min(UInt64(half), range.upperBound - position))
                let first = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
                let count = try one.readPiece(at: position, into: first, of: name.text)
                let second = UnsafeMutableRawBufferPointer(rebasing: buffer[half..<half + count])
                if try count == 0 || another.readPiece(at: position, into: second, of: name.text) != count {
                    return false
                }
                if memcmp(first.baseAddress!, second.baseAddress!, count) != 0 { return false }
                position += UInt64(count)
            }
        }
        return true
    }
}

extension AttributeName {
    /// Whether it is part of a layer, and not of the mechanism that holds it: notes of overlayfs, properties of btrfs,
    /// xfs's second form of ACLs, and what the kernel makes up (of `system.`, only POSIX ACLs are stored).
    var isLayers: Bool {
        if hasPrefix("trusted.SGI_ACL_") { return false }
        if hasPrefix("system.") { return self == PosixACL.accessKey || self == PosixACL.defaultKey }
        return !hasPrefix("trusted.overlay.") && !hasPrefix("btrfs.")
    }

    /// Whether its name is in one of Linux's namespaces (xattr(7)).
    var isOfLinux: Bool { ["security.", "system.", "trusted.", "user."].contains { hasPrefix($0) } }

    var isUsers: Bool { hasPrefix("user.") }

    /// SELinux's label, which the kernel gives by itself and a host without SELinux cannot set.
    static let selinuxLabel: AttributeName = "security.selinux"
}
