import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The filesystem that a state root is on or would be on.
struct FilesystemReader {
    /// The root itself, or the nearest directory above it that is there.
    let directory: String
    /// Whether a directory cannot be made at the path, for something else is there or above it.
    let isOccupied: Bool
    /// Whether this process can see what is in the root.
    let isReadable: Bool
    /// The mount that holds the directory.
    let entry: MountTable.Entry?
    /// Nil where it cannot be asked.
    let filesystem: HostFacts.Filesystem?

    init(path: String, mounts: MountTable, version: KernelVersion) {
        let nearest = nearestDirectory(path)
        let status = try? FileStatus(path: nearest)
        isOccupied = status.map { $0.kind != .directory } ?? false
        directory = isOccupied ? FilePath(nearest).removingLastComponent().string : nearest
        isReadable = isOccupied || access(directory, nearest == path ? R_OK | X_OK : X_OK) == 0
        entry = mounts.entries.last { $0.id == status?.mountID }
        guard let facts = try? FilesystemStatus(path: directory) else {
            filesystem = nil
            return
        }
        let type = Self.type(facts, entry)
        var filesystem = HostFacts.Filesystem(
            type: type, magic: facts.magic, isReadOnly: facts.isReadOnly, totalBytes: facts.totalBytes,
            freeBytes: facts.freeBytes, totalInodes: facts.totalInodes, freeInodes: facts.freeInodes,
            mountPoint: entry?.target ?? "/", source: entry?.source ?? "",
            options: (entry?.options ?? []) + (entry?.superOptions ?? []).filter { !["rw", "ro"].contains($0) })
        filesystem.hasProjectQuota = ["prjquota", "pquota"].contains { filesystem.options.contains($0) }
        filesystem.hasIDMappedMounts = Self.firstWithIDMappedMounts[type].map { version >= $0 }
        if type == "xfs" {
            let flags = Self.xfsFeatures(directory)
            filesystem.hasEntryTypes = flags.map { $0 & LAM_XFS_FTYPE != 0 }
            filesystem.hasReflink = flags.map { $0 & LAM_XFS_REFLINK != 0 }
        } else {
            filesystem.hasEntryTypes =
                Self.tellsTypes(directory, status?.mountID) ?? (Self.types.contains(type) ? true : nil)
            filesystem.hasReflink = Self.reflinks[type]
        }
        self.filesystem = filesystem
    }

    /// Magic numbers are shared: by ext2, ext3 and ext4, and by all that FUSE serves.
    private static func type(_ status: FilesystemStatus, _ entry: MountTable.Entry?) -> String {
        guard let kind = status.kind else { return entry?.type ?? status.typeName }
        if let entry, kind.family == .fuse || ["ext2", "ext3"].contains(entry.type) { return entry.type }
        return kind.name
    }

    /// Filesystems that always share data between files on demand, and those that never do; of others it depends on
    /// how they were made.
    private static let reflinks = [
        "btrfs": true, "bcachefs": true, "ext4": false, "ext3": false, "ext2": false, "tmpfs": false, "ramfs": false,
        "f2fs": false,
    ]

    /// The first kernel that maps owners at mounts of a filesystem (FS_ALLOW_IDMAP in its source).
    private static let firstWithIDMappedMounts = [
        "ext4": KernelVersion(5, 12), "xfs": KernelVersion(5, 12), "btrfs": KernelVersion(5, 15),
        "f2fs": KernelVersion(5, 18), "erofs": KernelVersion(5, 19), "overlay": KernelVersion(5, 19),
        "tmpfs": KernelVersion(6, 3), "squashfs": KernelVersion(6, 2),
    ]

    /// Filesystems that always tell the types of entries.
    private static let types: Set<String> = ["btrfs", "tmpfs", "ramfs", "f2fs", "zfs", "bcachefs"]

    private static func xfsFeatures(_ directory: String) -> UInt32? {
        guard let descriptor = try? FileDescriptor.openingDirectory(directory) else { return nil }
        defer { descriptor.closeQuietly() }
        var flags: UInt32 = 0
        return lam_xfs_features(descriptor.rawValue, &flags) == 0 ? flags : nil
    }

    /// What the first entry tells, in the directory or in one above it on the same mount: empty ones say nothing.
    private static func tellsTypes(_ directory: String, _ mount: UInt64?) -> Bool? {
        var path = FilePath(directory)
        while true {
            if let answer = firstEntryTellsType(path.string) { return answer }
            guard path.lastComponent != nil else { return nil }
            path.removeLastComponent()
            guard let status = try? FileStatus(path: path.string), status.mountID == mount else { return nil }
        }
    }

    private static func firstEntryTellsType(_ path: String) -> Bool? {
        guard let stream = opendir(path) else { return nil }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let (first, second, third) = (entry.pointee.d_name.0, entry.pointee.d_name.1, entry.pointee.d_name.2)
            let dot = CChar(bitPattern: UInt8(ascii: "."))
            if first == dot, second == 0 || (second == dot && third == 0) { continue }
            return entry.pointee.d_type != 0  // DT_UNKNOWN
        }
        return nil
    }
}
