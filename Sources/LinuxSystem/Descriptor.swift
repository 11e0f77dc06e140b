import CLinux
import Glibc
import SystemPackage

extension FileDescriptor {
    /// Opens a path as `open(2)` does, close-on-exec.
    public static func opening(
        _ path: String, _ mode: AccessMode = .readOnly, flags: Int32 = 0, permissions: UInt32 = 0o600
    ) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            rawValue: try check(Glibc.open(path, mode.rawValue | O_CLOEXEC | flags, permissions), "open", path))
    }

    /// Opens a directory for reading its entries and for resolving names relative to it.
    public static func openingDirectory(_ path: String) throws(SystemError) -> FileDescriptor {
        try opening(path, .readOnly, flags: O_DIRECTORY)
    }

    /// Opens `path` relative to this directory without ever leaving it: no `..` above it, no absolute path or link
    /// out of it, no magic link (openat2(2), RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS).
    public func openBeneath(
        _ path: String, _ mode: AccessMode = .readOnly, flags: Int32 = 0, permissions: UInt32 = 0,
        noSymlinks: Bool = false
    ) throws(SystemError) -> FileDescriptor {
        let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (noSymlinks ? RESOLVE_NO_SYMLINKS : 0)
        let allFlags = UInt64(UInt32(bitPattern: mode.rawValue | O_CLOEXEC | flags))
        let fd = lam_openat2(rawValue, path, allFlags, UInt64(permissions), UInt64(resolve))
        return FileDescriptor(rawValue: try check(fd, "openat2", path))
    }

    /// Facts of the open file itself.
    public func status() throws(SystemError) -> FileStatus {
        try FileStatus(at: self, "", flags: LAM_AT_EMPTY_PATH)
    }

    /// Writes the file's data and metadata to the disk (fsync(2)).
    public func synchronize() throws(SystemError) {
        try check(fsync(rawValue), "fsync", "descriptor \(rawValue)")
    }

    /// Writes everything of the filesystem that holds this file to the disk (syncfs(2)).
    public func synchronizeFilesystem() throws(SystemError) {
        try check(lam_syncfs(rawValue), "syncfs", "descriptor \(rawValue)")
    }

    /// Closes without a result: for `defer`, where nothing is left to do about an error.
    public func closeQuietly() { _ = Glibc.close(rawValue) }

    /// Runs `body` and closes the descriptor after it, whatever happens.
    public func closing<Result, Failure: Error>(
        _ body: (FileDescriptor) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { closeQuietly() }
        return try body(self)
    }

    /// A path by which calls that take only paths reach this open file.
    public var procPath: String { "/proc/self/fd/\(rawValue)" }
}

/// A pipe with both ends close-on-exec.
public func makePipe() throws(SystemError) -> (read: FileDescriptor, write: FileDescriptor) {
    var ends: [Int32] = [-1, -1]
    try check(lam_pipe2_cloexec(&ends), "pipe2", "pipe")
    return (FileDescriptor(rawValue: ends[0]), FileDescriptor(rawValue: ends[1]))
}

/// Makes a directory; one that is there already is fine.
public func makeDirectory(_ path: String, mode: UInt32 = 0o700) throws(SystemError) {
    if mkdir(path, mode) == -1, Errno.current != .fileExists { throw SystemError.last("mkdir", path) }
}

/// Makes a directory and those above it that are missing.
public func makeDirectories(_ path: String, mode: UInt32 = 0o700) throws(SystemError) {
    let parent = FilePath(path).removingLastComponent().string
    if !parent.isEmpty, parent != path, !exists(parent) { try makeDirectories(parent, mode: 0o755) }
    try makeDirectory(path, mode: mode)
}

/// Whether the path leads to something, links followed.
public func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Reads a whole small text file, such as those of /proc and /sys; nil where there is none or it cannot be read.
public func readText(_ path: String) -> String? {
    guard let fd = try? FileDescriptor.opening(path) else { return nil }
    return fd.closing { fd in
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(fd.rawValue, &chunk, chunk.count)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Writes a small text file; on the disk when this returns.
public func writeText(_ text: String, to path: String) throws(SystemError) {
    let fd = try FileDescriptor.opening(path, .writeOnly, flags: O_CREAT | O_TRUNC)
    defer { fd.closeQuietly() }
    let result = Array(text.utf8).withUnsafeBytes { bytes in
        // The closure of withUnsafeBytes loses the type of what it throws.
        Result { () throws(SystemError) in try fd.writeFully(bytes, to: path) }
    }
    try result.get()
    try fd.synchronize()
}

/// The names in a directory, without `.` and `..`, in no order; nil where it cannot be read.
public func directoryNames(_ path: String) -> [String]? {
    guard let stream = opendir(path) else { return nil }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

/// The path without links and relative parts; nil when it leads nowhere.
public func resolvedPath(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
}

/// The path from any working directory; links stay.
public func absolutePath(_ path: String) -> String {
    path.hasPrefix("/") ? path : (resolvedPath(".") ?? "") + "/" + path
}

/// The path itself, or the nearest one above it that is there.
public func nearestDirectory(_ path: String) -> String {
    var path = path
    while !exists(path), path != "/", !path.isEmpty { path = FilePath(path).removingLastComponent().string }
    return path.isEmpty ? "." : path
}

/// An open directory that is shared, and closed with its last user.
public final class DirectoryHandle: Sendable {
    public let descriptor: FileDescriptor

    /// Takes the descriptor over.
    public init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

    deinit { descriptor.closeQuietly() }
}
