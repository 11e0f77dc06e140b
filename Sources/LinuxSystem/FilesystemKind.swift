/// A filesystem by the magic number that statfs(2) gives.
public struct FilesystemKind: Sendable, Hashable {
    /// What a filesystem keeps its data in, as far as it matters to who wants to keep layers on it.
    public enum Family: String, Sendable, Codable {
        /// A local disk.
        case disk
        /// Memory: gone with a reboot.
        case memory
        /// Another machine.
        case network
        /// A process of this machine.
        case fuse
        /// Another filesystem.
        case stacked
        /// An image that cannot be written.
        case image
        /// A disk, in a format without Unix owners, permissions or links.
        case foreign
        /// Nothing: the kernel's own objects.
        case pseudo
    }

    /// As /proc/filesystems has it.
    public let name: String
    public let family: Family

    init(_ name: String, _ family: Family) {
        self.name = name
        self.family = family
    }

    /// Nil where the number is not known.
    public init?(magic: UInt64) {
        guard let kind = Self.all[magic] else { return nil }
        self = kind
    }

    /// Magic numbers as linux/magic.h gives them; those that it has not as the filesystems' own sources do (jfs "JFS1",
    /// befs "BFS1", m1fs, vxfs, zfs, bcachefs, lustre, gpfs "GPFS", ubifs, gfs2, ...), which stat(1) names too.
    public static let all: [UInt64: FilesystemKind] = [
        // Local disks. ext2 and ext3 have the number of ext4; fuse those of all its filesystems.
        0xEF53: .init("ext4", .disk), 0x5846_5342: .init("xfs", .disk), 0x9123_683E: .init("btrfs", .disk),
        0x2FC1_2FC1: .init("zfs", .disk), 0xCA45_1A4E: .init("bcachefs", .disk), 0xF2F5_2010: .init("f2fs", .disk),
        0x5265_4973: .init("reiserfs", .disk), 0x3153_464A: .init("jfs", .disk), 0x3434: .init("nilfs2", .disk),
        0x7461_636F: .init("ocfs2", .disk), 0x0116_1970: .init("gfs2", .disk), 0x07C0: .init("jffs", .disk),
        0x72B6: .init("jffs2", .disk), 0x2405_1905: .init("ubifs", .disk), 0xC97E_8168: .init("logfs", .disk),
        0x5A4F_4653: .init("zonefs", .disk), 0x137D: .init("ext", .disk), 0xEF51: .init("ext2", .disk),
        0x137F: .init("minix", .disk), 0x138F: .init("minix", .disk), 0x2468: .init("minix", .disk),
        0x2478: .init("minix", .disk), 0x4D5A: .init("minix", .disk), 0x012F_D16D: .init("xiafs", .disk),
        0x0001_1954: .init("ufs", .disk), 0x5419_0100: .init("ufs", .disk), 0x482B: .init("hfsplus", .disk),
        0x4858: .init("hfsplus", .disk), 0x1BAD_FACE: .init("bfs", .disk), 0x4246_5331: .init("befs", .disk),
        0x002F: .init("qnx4", .disk), 0x6819_1122: .init("qnx6", .disk), 0x0041_4A53: .init("efs", .disk),
        0x012F_F7B4: .init("xenix", .disk), 0x012F_F7B5: .init("sysv4", .disk), 0x012F_F7B6: .init("sysv2", .disk),
        0x012F_F7B7: .init("coherent", .disk), 0x5346_314D: .init("m1fs", .disk), 0xA501_FCF5: .init("vxfs", .disk),
        0x1501_3346: .init("udf", .disk), 0x565A_4653: .init("vzfs", .disk), 0x5346_4846: .init("wslfs", .disk),

        // Memory.
        0x0102_1994: .init("tmpfs", .memory), 0x8584_58F6: .init("ramfs", .memory),

        // Other machines, a hypervisor's host among them.
        0x6969: .init("nfs", .network), 0x517B: .init("smbfs", .network), 0xFF53_4D42: .init("cifs", .network),
        0xFE53_4D42: .init("smb3", .network), 0x0102_1997: .init("9p", .network), 0x00C3_6400: .init("ceph", .network),
        0x5346_414F: .init("afs", .network), 0x6B41_4653: .init("afs", .network), 0x7375_7245: .init("coda", .network),
        0x564C: .init("ncpfs", .network), 0x2003_0528: .init("orangefs", .network),
        0x0BD0_0BD0: .init("lustre", .network), 0x4750_4653: .init("gpfs", .network),
        0x1983_0326: .init("beegfs", .network), 0x6163_6673: .init("acfs", .network),
        0xAAD7_AAEA: .init("panfs", .network), 0x0131_11A8: .init("ibrix", .network),
        0xBEEF_DEAD: .init("snfs", .network), 0x7C7C_6673: .init("prl_fs", .network),
        0x786F_4256: .init("vboxsf", .network), 0xBACB_ACBC: .init("vmhgfs", .network),
        0x00C0_FFEE: .init("hostfs", .network),

        // Processes.
        0x6573_5546: .init("fuse", .fuse),

        // Other filesystems.
        0x794C_7630: .init("overlay", .stacked), 0x6175_6673: .init("aufs", .stacked),
        0xF15F: .init("ecryptfs", .stacked), 0x5DCA_2DF5: .init("sdcardfs", .stacked),

        // Images.
        0x7371_7368: .init("squashfs", .image), 0xE0F5_E1E2: .init("erofs", .image), 0x9660: .init("iso9660", .image),
        0x4000: .init("iso9660", .image), 0x4004: .init("iso9660", .image), 0x28CD_3D45: .init("cramfs", .image),
        0x453D_CD28: .init("cramfs", .image), 0x7275: .init("romfs", .image),

        // Without Unix owners, permissions or links.
        0x4D44: .init("vfat", .foreign), 0x4006: .init("vfat", .foreign), 0x2011_BAB0: .init("exfat", .foreign),
        0xF995_E849: .init("hpfs", .foreign), 0x5346_544E: .init("ntfs", .foreign),
        0x7366_746E: .init("ntfs3", .foreign),
        0x4244: .init("hfs", .foreign), 0xADF5: .init("adfs", .foreign), 0xADFF: .init("affs", .foreign),

        // The kernel's own.
        0x9FA0: .init("proc", .pseudo), 0x6265_6572: .init("sysfs", .pseudo), 0x6462_6720: .init("debugfs", .pseudo),
        0x7472_6163: .init("tracefs", .pseudo), 0x7363_6673: .init("securityfs", .pseudo),
        0xF97C_FF8C: .init("selinuxfs", .pseudo), 0x4341_5D53: .init("smackfs", .pseudo),
        0x5A3C_69F0: .init("apparmorfs", .pseudo), 0x0027_E0EB: .init("cgroup", .pseudo),
        0x6367_7270: .init("cgroup2", .pseudo), 0x0765_5821: .init("resctrl", .pseudo),
        0x9584_58F6: .init("hugetlbfs", .pseudo), 0x6462_6178: .init("daxfs", .pseudo),
        0x1CD1: .init("devpts", .pseudo), 0x1373: .init("devfs", .pseudo), 0x6C6F_6F70: .init("binder", .pseudo),
        0x5049_5045: .init("pipefs", .pseudo), 0x534F_434B: .init("sockfs", .pseudo),
        0x0904_1934: .init("anon_inodefs", .pseudo), 0x2BAD_1DEA: .init("inotifyfs", .pseudo),
        0x0BAD_1DEA: .init("futexfs", .pseudo), 0x1130_7854: .init("mtd_inodefs", .pseudo),
        0x6264_6576: .init("bdev", .pseudo), 0x6E73_6673: .init("nsfs", .pseudo), 0xCAFE_4A11: .init("bpf", .pseudo),
        0x4249_4E4D: .init("binfmt_misc", .pseudo), 0x6165_676C: .init("pstore", .pseudo),
        0xDE5E_81E4: .init("efivarfs", .pseudo), 0xABBA_1974: .init("xenfs", .pseudo), 0x0187: .init("autofs", .pseudo),
        0x9FA1: .init("openpromfs", .pseudo), 0x9FA2: .init("usbdevfs", .pseudo), 0x1980_0202: .init("mqueue", .pseudo),
        0x444D_4142: .init("dmabuf", .pseudo), 0x454D_444D: .init("devmem", .pseudo),
        0x5345_434D: .init("secretmem", .pseudo), 0x6265_6570: .init("configfs", .pseudo),
        0x6573_5543: .init("fusectl", .pseudo), 0x6759_6969: .init("rpc_pipefs", .pseudo),
        0x6E66_7364: .init("nfsd", .pseudo), 0x5049_4446: .init("pidfs", .pseudo),
        0x7372_7279: .init("btrfs_test", .pseudo), 0x1366_1366: .init("balloon-kvm", .pseudo),
        0xC757_1590: .init("ppc-cmm", .pseudo), 0x0033: .init("z3fold", .pseudo),
        0x5829_5829: .init("zsmalloc", .pseudo),
    ]
}
