import CLinux
import Glibc
import SystemPackage

/// Making entries of this directory, and setting what they have. A symlink is never followed.
extension FileDescriptor {
    public func makeDirectory(_ name: EntryName, permissions: UInt32) throws(SystemError) {
        try check(name.withCString { mkdirat(rawValue, $0, permissions) }, "mkdir", name.text)
    }

    public func makeSymlink(_ name: EntryName, to target: [UInt8]) throws(SystemError) {
        let result = EntryName(target).withCString { to in name.withCString { symlinkat(to, rawValue, $0) } }
        try check(result, "symlink", name.text)
    }

    /// Makes a device node or a FIFO, for its owner only.
    public func makeNode(
        _ name: EntryName, _ kind: FileStatus.Kind, _ device: DeviceNumber
    ) throws(SystemError) {
        let result = name.withCString { mknodat(rawValue, $0, kind.rawValue | 0o600, device.raw) }
        try check(result, "mknod", name.text)
    }

    /// Makes a hard link to an entry of `directory`, to a symlink itself too.
    public func makeLink(
        _ name: EntryName, to source: EntryName, in directory: FileDescriptor
    ) throws(SystemError) {
        let result = source.withCString { from in
            name.withCString { linkat(directory.rawValue, from, rawValue, $0, 0) }
        }
        try check(result, "link", name.text)
    }

    /// Comes before permissions and capabilities, which the kernel clears at a change of owner.
    public func setOwner(of name: EntryName, uid: UInt32, gid: UInt32) throws(SystemError) {
        let result = name.withCString { fchownat(rawValue, $0, uid, gid, AT_SYMLINK_NOFOLLOW) }
        try check(result, "chown", name.text)
    }

    /// Not of a symlink, which has none: that is refused.
    public func setPermissions(_ permissions: UInt32, of name: EntryName) throws(SystemError) {
        let result = name.withCString { fchmodat(rawValue, $0, permissions, AT_SYMLINK_NOFOLLOW) }
        try check(result, "chmod", name.text)
    }

    /// Comes last, for all else changes it.
    /// - Returns: false where the filesystem has no room for this time, and keeps the nearest one that it has.
    @discardableResult
    public func setModified(_ time: FileStatus.Timestamp, of name: EntryName) throws(SystemError) -> Bool {
        let result = name.withCString {
            lam_utimensat_nofollow(rawValue, $0, time.seconds, time.nanoseconds)
        }
        try check(result, "set times of", name.text)
        if time.isCommon { return true }
        return try status(of: name).modified == time
    }

    /// As above, of this open file.
    @discardableResult
    public func setModified(_ time: FileStatus.Timestamp, named name: String) throws(SystemError) -> Bool {
        try check(lam_futimens_modified(rawValue, time.seconds, time.nanoseconds), "set times of", name)
        if time.isCommon { return true }
        return try status().modified == time
    }
}

extension FileStatus.Timestamp {
    /// Whether every filesystem of Linux has room for it: seconds in 32 bits.
    fileprivate var isCommon: Bool { Int32(exactly: seconds) != nil }
}
