import LinuxSystem
import StorageDriver
import Testing

@Suite struct MountTableTests {
    @Test func parsesOptionalFieldsAndEscapes() throws {
        let table = MountTable(
            parsing: """
                22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
                36 22 0:31 /sub\\040dir /mnt/a\\011b ro,nosuid shared:1 master:2 - btrfs /dev/loop0 rw,subvolid=5

                """)
        #expect(table.entries.count == 2)
        let entry = try #require(table.entry(at: "/mnt/a\tb"))
        #expect(entry.root == "/sub dir")
        #expect(entry.options == ["ro", "nosuid"])
        #expect(entry.type == "btrfs")
        #expect(entry.superOptions == ["rw", "subvolid=5"])
        #expect(table.entry(holding: "/mnt/a\tb/c")?.id == 36)
        #expect(table.entry(holding: "/mnt/a\tbc")?.id == 22)
    }
}

@Suite struct ByteCountTests {
    @Test(arguments: [
        ("1", 1), ("64M", 64 << 20), ("64MiB", 64 << 20), ("2K", 2048), ("3G", 3 << 30), ("1T", 1 << 40),
    ])
    func accepts(_ text: String, _ bytes: Int) { #expect(ByteCount(parsing: text)?.bytes == UInt64(bytes)) }

    @Test(arguments: ["", "0", "M", "-1", "1.5G", "1 G", "1g", "10MB", "0x10", "99999999999T", "٣", "1GiBs"])
    func refuses(_ text: String) { #expect(ByteCount(parsing: text) == nil) }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1_572_864, "1.50 MiB"), (10 << 30, "10.0 GiB"),
        (1_048_575, "1.00 MiB"), (216_000_000, "206 MiB"),
    ])
    func reads(_ bytes: Int, _ text: String) { #expect(ByteCount(UInt64(bytes)).description == text) }
}
