import Glibc
import SystemPackage

/// What the files of a tree occupy on their filesystem, each inode counted once.
public struct TreeSize: Sendable, Equatable {
    /// Bytes on the disk.
    public private(set) var bytes: UInt64 = 0
    public private(set) var inodes: UInt64 = 0

    /// Counts a directory and all below it. What goes meanwhile is left out.
    public init(of directory: FileDescriptor) throws(SystemError) {
        var links: Set<UInt64> = []
        try count(directory, &links)
    }

    private mutating func count(_ directory: FileDescriptor, _ links: inout Set<UInt64>) throws(SystemError) {
        let own = try directory.status()
        (bytes, inodes) = (bytes + own.allocated, inodes + 1)
        for entry in try directory.directoryEntries() {
            do throws(SystemError) {
                let status = try directory.status(of: entry.name)
                if status.kind == .directory {
                    let below = try directory.openEntry(entry.name, flags: O_DIRECTORY)
                    defer { below.closeQuietly() }
                    try count(below, &links)
                } else if status.linkCount == 1 || links.insert(status.inode).inserted {
                    (bytes, inodes) = (bytes + status.allocated, inodes + 1)
                }
            } catch {
                guard error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory else { throw error }
            }
        }
    }
}
