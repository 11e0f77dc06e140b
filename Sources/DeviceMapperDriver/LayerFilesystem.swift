import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The filesystem inside a layer's thin device.
struct LayerFilesystem: Sendable {
    /// ext4 or xfs.
    let type: String

    /// Bytes below which the filesystem cannot be made or is of no use: xfs by its own rule.
    static func smallest(_ type: String) -> UInt64 { type == "xfs" ? 300 << 20 : 16 << 20 }

    /// Makes an empty filesystem of `bytes` on a thin device that has never been written, and takes away what mkfs
    /// leaves in its root.
    func make(on device: String, bytes: UInt64) throws(StorageError) {
        try attempt("make filesystem on", device) {
            guard let program = Program("mkfs.\(type)") else {
                throw SystemError("run", "mkfs.\(type)", .noSuchFileOrDirectory)
            }
            if type == "xfs" {
                try program.run(["-q", "-f", "-K", "-d", "size=\(bytes)", device], on: device)
            } else {
                // What was never written reads as zeros: nothing needs to be zeroed, now or later by the kernel.
                try program.run(
                    [
                        "-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard,assume_storage_prezeroed=1", device,
                        "\(bytes / 1024)k",
                    ], on: device)
            }
            let tree = try DetachedMount(Mount(type: type, source: device, options: []))
            let root = try tree.openRoot()
            defer { root.closeQuietly() }
            unlinkat(root.rawValue, "lost+found", AT_REMOVEDIR)
            try check(fchmod(root.rawValue, 0o755), "chmod", device)
            try root.synchronizeFilesystem()
        }
    }

    /// - Parameter device: a thin device that is active.
    func size(on device: String) throws(SystemError) -> UInt64 {
        let block = try superblock(device)
        if type == "xfs" {
            // sb_blocksize at 4, sb_dblocks at 8, big endian.
            return block[8..<16].reduce(0) { $0 << 8 | UInt64($1) } * block[4..<8].reduce(0) { $0 << 8 | UInt64($1) }
        }
        // From 1024: s_blocks_count_lo 4, s_log_block_size 24, s_blocks_count_hi 0x150; little endian.
        func number(_ offset: Int) -> UInt64 {
            block[1024 + offset..<1024 + offset + 4].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        return (number(0x150) << 32 | number(4)) * (1024 << number(24))
    }

    /// Whether `needsReplay` can be asked; of xfs nothing is known.
    var tellsOfReplay: Bool { type != "xfs" }

    /// Whether the journal may hold what is not yet in its place (EXT4_FEATURE_INCOMPAT_RECOVER of s_feature_incompat at
    /// 0x60).
    func needsReplay(on device: String) throws(SystemError) -> Bool { try superblock(device)[1024 + 0x60] & 4 != 0 }

    /// Brings what is in the journal to its place, as a mount does.
    func replay(on device: String) throws(SystemError) {
        let tree = try DetachedMount(Mount(type: type, source: device, options: mountOptions(readOnly: false)))
        try tree.openRoot().closing { root throws(SystemError) in try root.synchronizeFilesystem() }
    }

    /// Makes the filesystem larger, through a mount that nobody else sees.
    func grow(on device: String, to bytes: UInt64) throws(SystemError) {
        let tree = try DetachedMount(Mount(type: type, source: device, options: mountOptions(readOnly: false)))
        let root = try tree.openRoot()
        defer { root.closeQuietly() }
        var blocks = bytes / 4096
        let result =
            type == "xfs"
            ? lam_xfs_grow(root.rawValue, blocks) : ioctl(root.rawValue, UInt(LAM_EXT4_IOC_RESIZE_FS), &blocks)
        try check(result, "grow filesystem", device)
        try root.synchronizeFilesystem()
    }

    /// A committed layer's journal is clean and must not be touched; snapshots of xfs share their identity.
    func mountOptions(readOnly: Bool) -> [String] {
        switch (type, readOnly) {
        case ("xfs", true): ["ro", "norecovery", "nouuid"]
        case ("xfs", false): ["nouuid"]
        case (_, true): ["ro", "noload"]
        case (_, false): []
        }
    }

    private func superblock(_ device: String) throws(SystemError) -> [UInt8] {
        let device = try BlockDevice(device)
        var block = [UInt8](repeating: 0, count: 4096)
        let count = pread(device.descriptor.rawValue, &block, block.count, 0)
        try check(count, "read superblock", device.path)
        return block
    }
}
