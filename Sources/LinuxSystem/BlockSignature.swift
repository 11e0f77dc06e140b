import Glibc

/// What a block device says of itself by magic numbers at fixed places, as the formats' own headers and blkid's
/// documentation give them.
public struct BlockSignature: Sendable {
    private let name: String
    private let offset: Int
    private let bytes: [UInt8]

    private static let known: [BlockSignature] = [
        BlockSignature(name: "an ext2, ext3 or ext4 filesystem", offset: 0x438, bytes: [0x53, 0xEF]),
        BlockSignature(name: "an xfs filesystem", offset: 0, bytes: Array("XFSB".utf8)),
        BlockSignature(name: "a btrfs filesystem", offset: 0x10040, bytes: Array("_BHRfS_M".utf8)),
        BlockSignature(name: "an f2fs filesystem", offset: 0x400, bytes: [0x10, 0x20, 0xF5, 0xF2]),
        BlockSignature(name: "a squashfs filesystem", offset: 0, bytes: Array("hsqs".utf8)),
        BlockSignature(name: "an erofs filesystem", offset: 0x400, bytes: [0xE2, 0xE1, 0xF5, 0xE0]),
        BlockSignature(name: "an ISO 9660 filesystem", offset: 0x8001, bytes: Array("CD001".utf8)),
        BlockSignature(name: "swap space", offset: 4086, bytes: Array("SWAPSPACE2".utf8)),
        BlockSignature(name: "an LVM physical volume", offset: 0x200, bytes: Array("LABELONE".utf8)),
        // The first pair of the label's list (XDR): its version.
        BlockSignature(name: "a member of a ZFS pool", offset: 0x4018, bytes: Array("version".utf8)),
        BlockSignature(name: "a LUKS volume", offset: 0, bytes: Array("LUKS".utf8) + [0xBA, 0xBE]),
        BlockSignature(name: "a member of an md array", offset: 0x1000, bytes: [0xFC, 0x4E, 0x2B, 0xA9]),
        BlockSignature(name: "a thin pool's metadata", offset: 32, bytes: [0xBA, 0x52, 0x9C, 0x01]),
        BlockSignature(name: "a GUID partition table", offset: 0x200, bytes: Array("EFI PART".utf8)),
        BlockSignature(name: "a partition table or boot sector", offset: 0x1FE, bytes: [0x55, 0xAA]),
    ]

    /// The first that is found; nil on a device that says nothing.
    public static func find(on device: borrowing BlockDevice) throws(SystemError) -> String? {
        var head = [UInt8](repeating: 0, count: 0x11000)
        let count = pread(device.descriptor.rawValue, &head, head.count, 0)
        let length = try check(count, "read", device.path)
        return known.first { $0.offset + $0.bytes.count <= length && head[$0.offset...].starts(with: $0.bytes) }?.name
    }
}
