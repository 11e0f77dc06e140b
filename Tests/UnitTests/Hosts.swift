import Lamina

extension HostFacts {
    /// A host with every mechanism that is built so far and its tools, and a root on a filesystem of it.
    static func with(_ filesystem: Filesystem = .ext4) -> HostFacts {
        HostFacts(
            kernelRelease: "6.12.0", privilege: .superuser, path: "/root", filesystem: filesystem,
            kernelFilesystems: ["ext4", "btrfs", "xfs", "overlay"],
            overlay: .init(features: [.index, .appendLower]), btrfs: .init(hasSimpleQuota: true),
            deviceMapper: .init(version: "4.48.0", targets: ["thin-pool": "1.23.0", "thin": "1.23.0"]), hasLoop: true,
            tools: Dictionary(
                uniqueKeysWithValues: ["mkfs.btrfs", "mkfs.ext4", "mkfs.xfs", "thin_check"].map { ($0, "/sbin/" + $0) })
        )
    }
}

extension HostFacts.Filesystem {
    private static func of(_ type: String, _ magic: UInt64, hasEntryTypes: Bool? = true) -> HostFacts.Filesystem {
        HostFacts.Filesystem(
            type: type, magic: magic, totalBytes: 1 << 40, freeBytes: 1 << 39, totalInodes: 1 << 21,
            freeInodes: 1 << 20, hasEntryTypes: hasEntryTypes)
    }

    static let ext4 = of("ext4", 0xEF53)
    static let xfs = of("xfs", 0x5846_5342)
    static let xfsWithoutTypes = of("xfs", 0x5846_5342, hasEntryTypes: false)
    static let btrfs = of("btrfs", 0x9123_683E)
    static let tmpfs = of("tmpfs", 0x0102_1994)
    static let overlay = of("overlay", 0x794C_7630)
    static let nfs = of("nfs", 0x6969)
    static let fuse = of("fuse.sshfs", 0x6573_5546)
    static let proc = of("proc", 0x9FA0)
    static let vfat = of("vfat", 0x4D44)
    static let squashfs = of("squashfs", 0x7371_7368)
    static let unknown = of("0x12345", 0x12345)
    static let readOnly: HostFacts.Filesystem = {
        var place = ext4
        place.isReadOnly = true
        return place
    }()
    static let full: HostFacts.Filesystem = {
        var place = btrfs
        place.freeBytes = 1 << 20
        return place
    }()
    static let withoutInodes: HostFacts.Filesystem = {
        var place = btrfs
        place.freeInodes = 10
        return place
    }()

    static let all = [
        ext4, xfs, xfsWithoutTypes, btrfs, tmpfs, overlay, nfs, fuse, proc, vfat, squashfs, unknown, readOnly, full,
        withoutInodes,
    ]
}
