import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// What a snapshot needs that shows one moment of a layer while programs write to it.
///
/// By itself btrfs writes out a subvolume's data before it takes a snapshot of it, and goes on making what programs do
/// to names part of it until it is taken: a file that was written and renamed into place in between is there, and empty.
/// With the mount option flushoncommit, no change of a name is on the disk before the data that was written before it.
/// The option is the filesystem's: it is set for the time of the snapshot, and costs all who use the filesystem that
/// their data is written out then.
struct FlushOnCommit {
    /// The block device of the filesystem.
    let device: String
    /// A path on the filesystem, where its mount options are looked up.
    let directory: String
    /// A file that is there while the option is set by us.
    let mark: String

    func during(_ body: () throws -> Void) throws {
        let filesystem = try lockedFilesystem()
        defer { extendLifetime(filesystem.lock) }
        let mount = MountTable.current().entry(holding: directory)
        if mount?.superOptions.contains("flushoncommit") == true { return try body() }
        try writeText("", to: mark)
        try reconfigureFilesystem(filesystem.mount.root.procPath, "flushoncommit")
        let result = Result { try body() }
        try end(filesystem.mount)
        try result.get()
    }

    /// Takes back what a killed process has left set.
    func endAbandoned() throws(SystemError) {
        guard exists(mark) else { return }
        let filesystem = try lockedFilesystem()
        defer { extendLifetime(filesystem.lock) }
        // Whoever had the lock may have ended it.
        if exists(mark) { try end(filesystem.mount) }
    }

    private func end(_ filesystem: borrowing DetachedMount) throws(SystemError) {
        try reconfigureFilesystem(filesystem.root.procPath, "noflushoncommit")
        unlink(mark)
    }

    private struct LockedFilesystem: ~Copyable {
        let mount: DetachedMount
        let lock: DirectoryHandle
    }

    /// The filesystem's own top directory, locked among all who do this, of whatever root, for as long as it is open.
    private func lockedFilesystem() throws(SystemError) -> LockedFilesystem {
        let mount = try DetachedMount(Mount(type: "btrfs", source: device, options: ["subvolid=5"]))
        let top = DirectoryHandle(try mount.openRoot())
        while flock(top.descriptor.rawValue, LOCK_EX) == -1 {
            guard Errno.current == .interrupted else { throw .last("lock", device) }
        }
        return LockedFilesystem(mount: mount, lock: top)
    }
}
