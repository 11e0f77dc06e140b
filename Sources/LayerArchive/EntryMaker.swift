import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Makes the entries that members of a tar tell of, and gives them what the tar says.
///
/// What an entry has once it is made is asked, and only what differs is set: most are root's and have a usual mode, and
/// asking costs less than setting.
final class EntryMaker {
    private(set) var warnings = Warnings()
    private let reader: TarReader
    /// The tar's, for errors.
    private let name: String
    /// Whether the directory that was used last gives a default ACL to new entries.
    private var inheritance: (path: EntryPath, givesACL: Bool)?

    init(_ reader: TarReader, named name: String) {
        self.reader = reader
        self.name = name
    }

    /// Makes the entry, unless there is one of this name. The time of a directory is left to whoever fills it.
    /// - Returns: false when there is one.
    func make(_ entry: TarEntry, _ leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor) throws -> Bool {
        // Who may use a program as its owner is told once the owner is right.
        let permissions = entry.permissions & 0o1777
        var file: FileDescriptor?
        defer { file?.closeQuietly() }
        do throws(SystemError) {
            switch entry.kind {
            case .directory: try parent.makeDirectory(leaf, permissions: permissions)
            case .regular:
                file = try parent.openEntry(leaf, .writeOnly, flags: O_CREAT | O_EXCL, permissions: permissions)
            case .symlink: try parent.makeSymlink(leaf, to: entry.symlink)
            case .characterDevice, .blockDevice, .fifo: try parent.makeNode(leaf, entry.kind, entry.device)
            case .socket:
                warn(path, "sockets are not kept")
                return true
            }
        } catch {
            if error.errno == .fileExists { return false }
            if error.errno == .notPermitted, entry.isOverlayWhiteout {
                throw StorageError(
                    .unimplemented, "apply", name,
                    "member \"\(path.text)\": a character device 0:0 is overlayfs's own, and layers on it have none",
                    errno: error.errno, hint: "import it into a root of another driver")
            }
            throw error
        }
        try dropInheritedACL(of: leaf, in: parent, path.parent)
        for user in entry.unknownNames { warn(path, "its ACL names \(user) without a number: left out") }
        if let file {
            try reader.readData { offset, bytes in try file.writeSparsely(bytes, at: offset, to: leaf.text) }
            try finish(file, entry, path)
        } else {
            try setAttributes(entry, leaf, path, in: parent)
            if entry.kind != .directory { try setModified(entry.modified, of: leaf, path, in: parent) }
        }
        return true
    }

    /// Gives a directory that a lower layer has what the tar says, and takes away what it does not.
    func replaceAttributes(
        of leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor, with entry: TarEntry
    ) throws {
        inheritance = nil
        for key in try parent.extendedAttributes(of: leaf).keys.sorted()
        where key.isLayers && entry.xattrs[key] == nil && key != .selinuxLabel {
            try parent.removeExtendedAttribute(key, of: leaf)
        }
        try setAttributes(entry, leaf, path, in: parent)
    }

    func setModified(
        _ time: FileStatus.Timestamp, of leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor
    ) throws(SystemError) {
        if try !parent.setModified(time, of: leaf) { warn(path, Self.timeIsLost) }
    }

    /// Takes away the ACLs that a new entry has got from its directory.
    /// - Parameter path: the directory's.
    func dropInheritedACL(of leaf: EntryName, in directory: FileDescriptor, _ path: EntryPath) throws(SystemError) {
        if inheritance?.path != path {
            inheritance = (path, try directory.hasExtendedAttribute(PosixACL.defaultKey))
        }
        if inheritance?.givesACL != true { return }
        for key in try directory.extendedAttributes(of: leaf).keys
        where key == PosixACL.accessKey || key == PosixACL.defaultKey {
            try directory.removeExtendedAttribute(key, of: leaf)
        }
    }

    /// To be called when what is at a path goes.
    func forget(within path: EntryPath) { if inheritance?.path.isWithin(path) == true { inheritance = nil } }

    /// Ends a new file: its size, owner, mode, extended attributes and time.
    private func finish(_ file: FileDescriptor, _ entry: TarEntry, _ path: EntryPath) throws(SystemError) {
        let status = try file.status()
        // A hole at the end is not there yet.
        if status.size < entry.size {
            try check(ftruncate(file.rawValue, off_t(entry.size)), "truncate", path.text)
        }
        if !entry.hasOwner(of: status) { try check(fchown(file.rawValue, entry.uid, entry.gid), "chown", path.text) }
        if !entry.hasMode(of: status) { try check(fchmod(file.rawValue, entry.permissions), "chmod", path.text) }
        for (key, value) in entry.layerAttributes {
            try set(key, path) { () throws(SystemError) in try file.setExtendedAttribute(key, value, named: path.text) }
        }
        if try !file.setModified(entry.modified, named: path.text) { warn(path, Self.timeIsLost) }
    }

    private func setAttributes(
        _ entry: TarEntry, _ leaf: EntryName, _ path: EntryPath, in parent: FileDescriptor
    ) throws(SystemError) {
        let status = try parent.status(of: leaf)
        if !entry.hasOwner(of: status) { try parent.setOwner(of: leaf, uid: entry.uid, gid: entry.gid) }
        if entry.kind != .symlink, !entry.hasMode(of: status) {
            try parent.setPermissions(entry.permissions, of: leaf)
        }
        for (key, value) in entry.layerAttributes {
            try set(key, path) { () throws(SystemError) in try parent.setExtendedAttribute(key, value, of: leaf) }
        }
    }

    private func set(
        _ key: AttributeName, _ path: EntryPath, _ body: () throws(SystemError) -> Void
    ) throws(SystemError) {
        do throws(SystemError) {
            try body()
        } catch {
            // Names of other systems (macOS has com.apple.*), and of users' on what cannot have them (xattr(7)).
            let isForeign = error.errno == .notSupported && (key == .selinuxLabel || !key.isOfLinux)
            guard isForeign || (error.errno == .notPermitted && key.isUsers) else { throw error }
            warn(path, "\(key.text) is not supported here: left out")
        }
    }

    private func warn(_ path: EntryPath, _ text: String) { warnings.add("\(path.text): \(text)") }

    private static let timeIsLost = "the filesystem has no room for its time, and keeps the nearest that it has"
}

extension TarEntry {
    fileprivate func hasOwner(of status: FileStatus) -> Bool { status.uid == uid && status.gid == gid }

    /// A change of owner takes the rights away that come with running a file, so that they are always set after it.
    fileprivate func hasMode(of status: FileStatus) -> Bool {
        status.permissions == permissions && permissions & 0o6000 == 0
    }
}
