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
    /// - Parameter willRemove: called with each directory before it goes, as names below the entry.
    public func removeEntry(
        _ name: EntryName, willRemove: ([EntryName]) -> Void = { _ in }
    ) throws(SystemError) {
        if name.withCString({ unlinkat(rawValue, $0, 0) }) == 0 { return }
        let failure = SystemError.last("unlink", name.text)
        guard failure.errno == .isDirectory || failure.errno == .notPermitted else { throw failure }
        let directory: FileDescriptor
        do throws(SystemError) {
            directory = try openEntry(name, flags: O_DIRECTORY)
        } catch {
            // A file that is immutable.
            throw error.errno == .notDirectory ? failure : error
        }
        defer { directory.closeQuietly() }
        while true {
            // Not all at once: there may be millions.
            let entries = try directory.directoryEntries(atMost: 10_000)
            if entries.isEmpty { break }
            for entry in entries { try directory.removeEntry(entry.name) { willRemove([entry.name] + $0) } }
        }
        willRemove([])
        try check(name.withCString { unlinkat(rawValue, $0, AT_REMOVEDIR) }, "rmdir", name.text)
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
