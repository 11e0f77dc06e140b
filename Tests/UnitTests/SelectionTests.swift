import Lamina
import Testing

@Suite struct SelectionTests {
    /// A host with everything, but on ext4.
    private func host() -> HostFacts {
        HostFacts(
            kernelRelease: "6.1.0", isRoot: true, path: "/var/lib/lamina",
            filesystem: .init(
                type: "ext4", magic: 0xEF53, isReadOnly: false, totalBytes: 1 << 40, freeBytes: 1 << 39,
                freeInodes: 1 << 20),
            kernelFilesystems: ["ext4", "btrfs", "xfs"], availableModules: [],
            deviceMapper: .init(version: "4.47.0", targets: ["thin-pool": "1.22.0", "thin": "1.22.0"]), hasLoop: true,
            tools: ["mkfs.btrfs": "/sbin/mkfs.btrfs", "mkfs.ext4": "/sbin/mkfs.ext4", "thin_check": "/sbin/thin_check"])
    }

    private func codes(_ host: HostFacts, _ driver: String) -> [String] {
        DriverSelection.assess(host).first { $0.driver == driver }?.reasons.map(\.code) ?? []
    }

    private func select(
        _ host: HostFacts, named: String? = nil, prior: String? = nil, _ backing: DriverOptions.Backing? = nil
    ) -> DriverSelection? {
        DriverSelection.select(
            DriverSelection.assess(host), named: named, prior: prior, options: DriverOptions(backing: backing))
    }

    @Test func nothingIsChosenOnItsOwnOnExt4() {
        #expect(select(host()) == nil)
        #expect(codes(host(), "btrfs") == ["FS_NOT_BTRFS", "LOOP_ONLY"])
        #expect(codes(host(), "devicemapper") == ["DM_NEEDS_POOL"])
        #expect(codes(host(), "vfs") == ["VFS_COPIES"])
    }

    @Test func btrfsIsChosenWhereTheRootIsOnIt() {
        var facts = host()
        facts.filesystem.type = "btrfs"
        #expect(select(facts)?.driver == "btrfs")
        #expect(select(facts)?.rule == .best)
        facts.filesystem.isReadOnly = true
        #expect(select(facts) == nil)
        #expect(codes(facts, "btrfs") == ["FS_READ_ONLY"])
    }

    @Test func overlay2IsChosenOnPlainFilesystems() {
        var facts = host()
        #expect(codes(facts, "overlay2") == ["OVERLAY_MISSING"])
        facts.kernelFilesystems.insert("overlay")
        for type in ["ext4", "xfs"] {
            facts.filesystem.type = type
            #expect(codes(facts, "overlay2") == ["FS_UPPER"])
            #expect(select(facts)?.driver == "overlay2")
        }
        facts.filesystem.hasEntryTypes = false
        #expect(codes(facts, "overlay2") == ["FS_NO_D_TYPE"])
        facts.filesystem.hasEntryTypes = true
        // It works there too, but is not what is best there.
        facts.filesystem.type = "btrfs"
        #expect(codes(facts, "overlay2") == ["FS_UPPER"])
        #expect(select(facts)?.driver == "btrfs")
        for type in ["overlay", "nfs", "fuse", "9p", "squashfs"] {
            facts.filesystem.type = type
            #expect(codes(facts, "overlay2") == ["FS_NOT_UPPER"])
        }
        for (type, code) in [("tmpfs", "FS_VOLATILE"), ("0x1234", "FS_UNKNOWN")] {
            facts.filesystem.type = type
            #expect(codes(facts, "overlay2") == [code])
            #expect(select(facts) == nil)
        }
        facts.filesystem.type = "ext4"
        facts.filesystem.isReadOnly = true
        #expect(codes(facts, "overlay2") == ["FS_READ_ONLY"])
        facts = host()
        facts.availableModules = ["overlay"]
        #expect(codes(facts, "overlay2") == ["FS_UPPER"])
    }

    @Test func theUsersWordComesFirst() {
        #expect(select(host(), named: "vfs", prior: "btrfs")?.rule == .named)
        #expect(select(host(), prior: "vfs")?.driver == "vfs")
        #expect(select(host(), .loop(bytes: 1 << 30))?.driver == "btrfs")
        #expect(select(host(), .pool("pool"))?.driver == "devicemapper")
        #expect(select(host(), .devices(data: "/dev/sdb", metadata: nil))?.rule == .option)
    }

    @Test func whatIsMissingIsSaid() {
        var facts = host()
        facts.kernelFilesystems = ["ext4"]
        #expect(codes(facts, "btrfs") == ["BTRFS_MISSING"])
        #expect(select(facts, .loop(bytes: 1 << 30))?.driver == "devicemapper")
        facts.availableModules = ["btrfs"]
        #expect(codes(facts, "btrfs") == ["FS_NOT_BTRFS", "LOOP_ONLY"])
        facts.tools = [:]
        facts.hasLoop = false
        #expect(codes(facts, "btrfs") == ["FS_NOT_BTRFS", "LOOP_MISSING", "TOOL_MISSING"])
        #expect(codes(facts, "devicemapper") == ["TOOL_MISSING"])
        facts.deviceMapper = nil
        #expect(codes(facts, "devicemapper") == ["DM_MISSING"])
        facts.availableModules = ["dm_mod"]
        #expect(codes(facts, "devicemapper") == ["DM_NOT_LOADED"])
    }

    @Test func withoutRootTheTargetsAreUnknown() {
        var facts = host()
        facts.isRoot = false
        facts.deviceMapper = .init(version: nil, targets: [:])
        #expect(codes(facts, "devicemapper") == ["NEEDS_ROOT", "DM_NEEDS_POOL"])
        facts.isRoot = true
        #expect(codes(facts, "devicemapper") == ["THIN_POOL_MISSING"])
    }
}

@Suite struct LayerNameTests {
    @Test(arguments: ["a", "debian:12", "-x", "a b", "größe", String(repeating: "x", count: 255)])
    func names(_ text: String) throws { #expect(try LayerName(commandLine: text).text == text) }

    @Test(arguments: ["", "a/b", "/", ".", "..", "a\nb", "a\0b", String(repeating: "x", count: 256)])
    func noNames(_ text: String) {
        let error = #expect(throws: StorageError.self) { try LayerName(commandLine: text) }
        #expect(error?.kind == .invalidArgument)
    }

    @Test func timesAreRFC3339() {
        #expect(Instant(nanoseconds: 1_700_000_000_000_000_042).rfc3339 == "2023-11-14T22:13:20.000000042Z")
    }
}
