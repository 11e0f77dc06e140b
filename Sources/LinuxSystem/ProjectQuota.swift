import CLinux
import Glibc
import SystemPackage

/// A limit on what all files below a directory occupy together (quotactl(2), project quotas), of ext4 and xfs.
public struct ProjectQuota: Sendable, Hashable {
    /// The project's number; 0 is that of files that belong to none.
    public let id: UInt32

    /// A number made of the root's id (upper 12 bits, never 0) and the layer's number (lower 20 bits), so that roots on
    /// one filesystem seldom meet.
    public init(root: UInt32, layer: UInt64) {
        id = ((root % 4095) + 1) << 20 | UInt32(truncatingIfNeeded: layer % (1 << 20))
    }

    private init(id: UInt32) { self.id = id }

    /// The project that a directory belongs to; nil for none, and where the filesystem has no projects.
    public init?(of directory: FileDescriptor) {
        var id: UInt32 = 0
        guard lam_get_project(directory.rawValue, &id) == 0, id != 0 else { return nil }
        self.init(id: id)
    }

    /// Whether the filesystem that holds a directory keeps project quotas, and to their limits: it is ext4 or xfs, and
    /// was mounted with `prjquota`.
    public static func isEnforced(on directory: FileDescriptor) -> Bool {
        lam_project_quota_enforced(directory.rawValue) == 1
    }

    /// Puts an empty directory, and all that is made in it later, under the limit.
    /// - Parameter bytes: most of them on the disk; counted in units of 512.
    /// - Throws: `SystemError`; EOPNOTSUPP where the filesystem does not hold such limits.
    public func limit(_ directory: FileDescriptor, to bytes: UInt64) throws(SystemError) {
        guard Self.isEnforced(on: directory) else {
            throw SystemError(
                "set project limit", "project \(id)", .notSupported,
                detail: "the filesystem is not ext4 or xfs mounted with project quotas")
        }
        try check(lam_set_project_limit(directory.rawValue, id, bytes), "set project limit", "project \(id)")
        try check(lam_set_project(directory.rawValue, id), "set project", "project \(id)")
    }

    /// Takes the limit away, for everything that belongs to the project.
    /// - Parameter directory: any of the filesystem.
    public func lift(on directory: FileDescriptor) throws(SystemError) {
        try check(lam_set_project_limit(directory.rawValue, id, 0), "lift project limit", "project \(id)")
    }
}
