import LinuxSystem
import SystemPackage

extension Subvolume {
    /// Paths, in either of two read-only subvolumes, of what may differ between them; empty for the root itself.
    ///
    /// It is complete: the kernel sends a command for every inode of which any item differs, at least the one that sets
    /// its times, and for every name that is in one of the trees only. Of an inode with several names one is enough for
    /// it, and what lies below a directory that has moved counts as moved with it.
    /// - Throws: what the ioctl says, EINVAL for a stream that is not understood.
    public static func touchedPaths(
        _ subvolume: FileDescriptor, since parent: FileDescriptor
    ) throws(SystemError) -> Set<[UInt8]> {
        let names = FollowedNames()
        try send(subvolume, since: try info(parent).id) { command throws(SystemError) in try names.follow(command) }
        return names.touched()
    }
}
