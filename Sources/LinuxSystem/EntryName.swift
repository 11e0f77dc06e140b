import CLinux
import Glibc
import SystemPackage

/// A name in a directory, or a path below one: bytes, as the kernel has them, without NUL. Need not be UTF-8.
public struct EntryName: Sendable, Hashable, Comparable {
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// The directory itself.
    public static let itself = EntryName(".")

    public static func < (left: EntryName, right: EntryName) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    /// Runs `body` with the name as C has it.
    public func withCString<Result, Failure: Error>(
        _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let terminated = bytes.map(CChar.init(bitPattern:)) + [0]
        return try body(terminated)
    }

    /// For people; bytes that are no UTF-8 are replaced.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// What a directory itself tells of an entry.
public struct DirectoryEntry: Sendable, Hashable {
    public let name: EntryName
    public let inode: UInt64
    /// Nil where the filesystem does not keep it in directories.
    public let kind: FileStatus.Kind?
}

/// O_DIRECTORY: opening anything but a directory fails.
public let directoryFlag: Int32 = O_DIRECTORY

/// O_TMPFILE: opening a directory for writing makes a file in it that has no name.
public let temporaryFileFlag: Int32 = LAM_O_TMPFILE

extension FileDescriptor {
    /// The names in this directory, without `.` and `..`, sorted by their bytes.
    public func entries() throws(SystemError) -> [EntryName] {
        try directoryEntries().map(\.name).sorted()
    }

    /// What is in this directory, or the first so many of it, without `.` and `..`, in no order. Nothing but the
    /// directory is read.
    public func directoryEntries(atMost count: Int = .max) throws(SystemError) -> [DirectoryEntry] {
        var found: [DirectoryEntry] = []
        try forEachEntry { entry in
            found.append(entry)
            return found.count < count
        }
        return found
    }

    /// Calls `body` with what is in this directory, as above, until it returns false. It may remove the entry.
    public func forEachEntry(
        _ body: (DirectoryEntry) throws(SystemError) -> Bool
    ) throws(SystemError) {
        // readdir owns the descriptor it is given, and a duplicate would share its position.
        let own = try openBeneath(".", flags: O_DIRECTORY)
        guard let stream = fdopendir(own.rawValue) else {
            own.closeQuietly()
            throw SystemError.last("read directory", procPath)
        }
        defer { closedir(stream) }
        while true {
            Glibc.errno = 0
            guard let entry = readdir(stream) else {
                if Errno.current.rawValue != 0 { throw SystemError.last("read directory", procPath) }
                return
            }
            let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if bytes == [0x2E] || bytes == [0x2E, 0x2E] { continue }
            // The DT_ constants are the bits of the mode that tell the type.
            let kind = FileStatus.Kind(rawValue: UInt32(entry.pointee.d_type) << 12)
            let isWanted = try body(
                DirectoryEntry(name: EntryName(bytes), inode: UInt64(entry.pointee.d_ino), kind: kind))
            if !isWanted { return }
        }
    }

    /// Facts of an entry of this directory; a symlink is not followed.
    public func status(of name: EntryName) throws(SystemError) -> FileStatus {
        try name.withCString { pointer throws(SystemError) in try FileStatus(at: self, nameBytes: pointer) }
    }

    /// Opens an entry of this directory itself: never what a symlink of that name leads to.
    public func openEntry(
        _ name: EntryName, _ mode: AccessMode = .readOnly, flags: Int32 = 0, permissions: UInt32 = 0
    ) throws(SystemError) -> FileDescriptor {
        let allFlags = mode.rawValue | O_CLOEXEC | O_NOFOLLOW | flags
        let fd = name.withCString { openat(rawValue, $0, allFlags, permissions) }
        return FileDescriptor(rawValue: try check(fd, "open", name.text))
    }

    /// Opens a directory below this one, through no symlink (openat2(2), RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS).
    /// - Parameter path: names joined by slashes; empty for this directory itself.
    public func openDirectory(beneath path: [UInt8]) throws(SystemError) -> FileDescriptor {
        let name = path.isEmpty ? .itself : EntryName(path)
        let flags = UInt64(O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let resolve = UInt64(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        let fd = name.withCString { lam_openat2(rawValue, $0, flags, 0, resolve) }
        return FileDescriptor(rawValue: try check(fd, "open", name.text))
    }

    /// What a symlink of this directory leads to.
    public func readLink(_ name: EntryName) throws(SystemError) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = name.withCString { readlinkat(rawValue, $0, &buffer, buffer.count) }
        return try buffer[..<check(count, "readlink", name.text)].map { UInt8(bitPattern: $0) }
    }

    /// Removes an entry of this directory, and all below it. Does not follow links nor leave the filesystem's tree.
    /// - Parameter willRemove: called with each directory before it goes, as names below the entry, but for those that
    ///   are so deep that no path reaches them (PATH_MAX).
    public func removeEntry(
        _ name: EntryName, willRemove: (([EntryName]) -> Void)? = nil
    ) throws(SystemError) {
        guard try !unlinkUnlessDirectory(name) else { return }
        // One directory is open at a time, and nothing calls itself: trees can be deeper than any limit.
        var levels = [try DirectoryInRemoval(name, in: self)]
        var current = try openEntry(name, flags: O_DIRECTORY)
        defer { current.closeQuietly() }
        while !levels.isEmpty {
            let top = levels.count - 1
            if let below = levels[top].directories.popLast() {
                levels.append(try DirectoryInRemoval(below, in: current))
                try current.become(current.openEntry(below, flags: O_DIRECTORY))
                continue
            }
            // Not all at once: there may be millions.
            let entries = try current.directoryEntries(atMost: 10_000)
            for entry in entries where try !current.unlinkUnlessDirectory(entry.name) {
                levels[top].directories.append(entry.name)
            }
            guard entries.isEmpty else { continue }
            if let willRemove, top < Int(PATH_MAX) / 2 { willRemove(levels.dropFirst().map(\.name)) }
            let level = levels.removeLast()
            if !levels.isEmpty {
                try current.become(current.openEntry(EntryName(".."), flags: O_DIRECTORY))
                let status = try current.status()
                guard status.device == level.parentDevice, status.inode == level.parentInode else {
                    throw SystemError("rmdir", level.name.text, .resourceBusy)
                }
            }
            let parent = levels.isEmpty ? self : current
            try check(level.name.withCString { unlinkat(parent.rawValue, $0, AT_REMOVEDIR) }, "rmdir", level.name.text)
        }
    }

    /// Takes another file's place in this variable.
    private mutating func become(_ other: FileDescriptor) {
        closeQuietly()
        self = other
    }

    /// - Returns: false for a directory, which is still there.
    private func unlinkUnlessDirectory(_ name: EntryName) throws(SystemError) -> Bool {
        if name.withCString({ unlinkat(rawValue, $0, 0) }) == 0 { return true }
        let failure = SystemError.last("unlink", name.text)
        guard failure.errno == .isDirectory || failure.errno == .notPermitted else { throw failure }
        // Or a file that is immutable.
        guard try status(of: name).kind == .directory else { throw failure }
        return false
    }

    /// Writes all of a buffer.
    public func writeFully(_ bytes: UnsafeRawBufferPointer, to object: String) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(rawValue, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count == -1, Errno.current == .interrupted { continue }
            rest = rest.dropFirst(try check(count, "write", object))
        }
    }

    /// Writes all of a buffer at an offset.
    public func writeFully(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, to object: String
    ) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            let count = Glibc.pwrite(
                rawValue, bytes.baseAddress! + written, bytes.count - written, off_t(offset) + off_t(written))
            if count == -1, Errno.current == .interrupted { continue }
            written += try check(count, "write", object)
        }
    }
}

/// A directory that is being emptied, in order to be removed.
private struct DirectoryInRemoval {
    let name: EntryName
    /// What `..` of it must be: somebody may move it.
    let parentDevice: DeviceNumber
    let parentInode: UInt64
    /// Directories in it that are known and still there.
    var directories: [EntryName] = []

    init(_ name: EntryName, in parent: FileDescriptor) throws(SystemError) {
        self.name = name
        let status = try parent.status()
        (parentDevice, parentInode) = (status.device, status.inode)
    }
}
