import Lamina
import LinuxSystem
import Testing

/// What drivers say of hosts.
@Suite struct AssessmentTests {
    private func codes(_ host: HostFacts, _ driver: String) -> [String] {
        host.assess().first { $0.driver == driver }?.reasons.map(\.code.rawValue) ?? []
    }

    private func status(_ host: HostFacts, _ driver: String) -> DriverAssessment.Status? {
        host.assess().first { $0.driver == driver }?.status
    }

    @Test func onExt4() {
        #expect(codes(.with(), "btrfs") == ["FS_NOT_BTRFS", "LOOP_ONLY"])
        #expect(codes(.with(), "devicemapper") == ["DM_NEEDS_POOL"])
        #expect(codes(.with(), "vfs") == ["VFS_COPIES"])
        for driver in ["btrfs", "devicemapper", "vfs"] { #expect(status(.with(), driver) == .limited) }
    }

    @Test func overlay2OnPlainFilesystems() {
        var host = HostFacts.with()
        for place in [HostFacts.Filesystem.ext4, .xfs, .btrfs] {
            host.filesystem = place
            #expect(codes(host, "overlay2") == ["FS_UPPER", "FS_NO_PROJECT_QUOTA"])
            #expect(status(host, "overlay2") == .available)
            host.filesystem.hasProjectQuota = true
            #expect(codes(host, "overlay2") == ["FS_UPPER"])
        }
        #expect(codes(.with(.xfsWithoutTypes), "overlay2") == ["FS_NO_D_TYPE"])
        #expect(status(.with(.xfsWithoutTypes), "overlay2") == .unavailable)
        #expect(codes(.with(.overlay), "overlay2") == ["FS_NOT_UPPER"])
        #expect(codes(.with(.tmpfs), "overlay2") == ["FS_UPPER", "FS_NO_PROJECT_QUOTA", "FS_VOLATILE"])
        #expect(codes(.with(.unknown), "overlay2") == ["FS_UNKNOWN", "FS_NO_PROJECT_QUOTA"])
        #expect(status(.with(.unknown), "overlay2") == .limited)
        host.kernelFilesystems = ["ext4"]
        #expect(codes(host, "overlay2") == ["OVERLAY_MISSING"])
        host.availableModules = ["overlay"]
        #expect(codes(host, "overlay2") == ["FS_UPPER"])
    }

    /// On a plain filesystem overlay2, where the kernel does more by itself that.
    @Test func whatIsBest() throws {
        for (place, best) in [
            (HostFacts.Filesystem.ext4, "overlay2"), (.xfs, "overlay2"), (.btrfs, "btrfs"), (.tmpfs, nil),
            (.xfsWithoutTypes, nil), (.overlay, nil),
        ] {
            let chosen = try? DriverSelection.select(HostFacts.with(place).assess(), .init(path: "/root"))
            #expect(chosen?.driver == best)
        }
    }

    @Test func onBtrfs() {
        #expect(status(.with(.btrfs), "btrfs") == .available)
        #expect(codes(.with(.btrfs), "btrfs") == ["FS_BTRFS"])
    }

    /// Whatever a driver would say: nobody has a root there.
    @Test(arguments: [
        (HostFacts.Filesystem.nfs, "FS_NETWORK"), (.fuse, "FS_FUSE"), (.proc, "FS_PSEUDO"), (.vfat, "FS_FOREIGN"),
        (.squashfs, "FS_READ_ONLY"), (.readOnly, "FS_READ_ONLY"),
    ]) func placesForNoRoot(_ place: HostFacts.Filesystem, _ code: String) {
        for judgement in HostFacts.with(place).assess() {
            #expect(judgement.status == .unavailable && !judgement.opens && judgement.remedy != nil)
            #expect(judgement.reasons.map(\.code.rawValue) == [code])
            #expect(judgement.reasons[0].message.contains("/root"))
        }
    }

    @Test func aFileIsNoPlaceForARoot() {
        var host = HostFacts.with(.btrfs)
        host.isOccupied = true
        for judgement in host.assess() {
            #expect(judgement.reasons.map(\.code) == [.notDirectory] && judgement.status == .unavailable)
        }
    }

    @Test(arguments: [
        (HostFacts.Filesystem.tmpfs, "FS_VOLATILE"), (.full, "FS_NO_SPACE"), (.withoutInodes, "FS_NO_SPACE"),
    ]) func placesThatAreNotChosen(_ place: HostFacts.Filesystem, _ code: String) {
        for judgement in HostFacts.with(place).assess() {
            #expect(judgement.status != .available)
            if judgement.status == .limited { #expect(judgement.reasons.last?.code.rawValue == code) }
        }
    }

    @Test func whatIsMissingIsSaid() {
        var host = HostFacts.with()
        host.kernelFilesystems = ["ext4"]
        #expect(codes(host, "btrfs") == ["BTRFS_MISSING"])
        host.availableModules = ["btrfs"]
        #expect(codes(host, "btrfs") == ["FS_NOT_BTRFS", "LOOP_ONLY"])
        host.tools = [:]
        host.hasLoop = false
        #expect(codes(host, "btrfs") == ["FS_NOT_BTRFS", "LOOP_MISSING", "TOOL_MISSING"])
        #expect(codes(host, "devicemapper") == ["TOOL_MISSING"])
        host.deviceMapper = nil
        #expect(codes(host, "devicemapper") == ["DM_MISSING"])
        host.availableModules = ["dm_mod"]
        #expect(codes(host, "devicemapper") == ["DM_NOT_LOADED"])
    }

    /// A root that is there needs no mkfs.
    @Test func openingNeedsLessThanMaking() {
        var host = HostFacts.with()
        host.tools = [:]
        for driver in ["btrfs", "devicemapper"] {
            let judgement = host.assess().first { $0.driver == driver }
            #expect(judgement?.status == .unavailable && judgement?.opens == true)
        }
    }

    @Test func withoutTheSuperuser() {
        var host = HostFacts.with()
        host.privilege = .user
        host.deviceMapper = .init(version: nil, targets: [:])
        #expect(codes(host, "devicemapper") == ["NEEDS_ROOT", "DM_NEEDS_POOL"])
        host.privilege = .superuser
        #expect(codes(host, "devicemapper") == ["DM_NO_NODE", "DM_NEEDS_POOL"])
        host.deviceMapper?.version = "4.48.0"
        #expect(codes(host, "devicemapper") == ["THIN_POOL_MISSING"])
    }

    @Test func insideAContainer() {
        var host = HostFacts.with(.btrfs)
        host.privilege = .contained
        #expect(codes(host, "btrfs") == ["CONTAINED"] && codes(host, "devicemapper") == ["CONTAINED"])
        #expect(status(host, "btrfs") == .unavailable && status(host, "vfs") == .limited)
    }

    /// Nothing is taken by itself, but what could be is named.
    @Test func freePoolsAndDevicesAreSuggested() {
        var host = HostFacts.with()
        host.deviceMapper?.pools = [
            .init(name: "mine"), .init(name: "used", transactionID: 7), .init(name: "sick", needsCheck: true),
            .init(name: "busy", users: ["x"]),
        ]
        host.freeDevices = [.init(path: "/dev/sdz", bytes: 1 << 40)]
        let judgement = host.assess().first { $0.driver == "devicemapper" }
        #expect(judgement?.status == .limited)
        #expect(judgement?.remedy?.hasSuffix("nothing seems to use --pool mine, --data /dev/sdz") == true)
    }

    /// Every driver has a place in the order of preference, and every place a reason.
    @Test func theOrderOfPreferenceIsWhole() {
        let order = DriverRegistry.order
        #expect(Set(order.map(\.driver)) == ["btrfs", "zfs", "devicemapper", "overlay2", "aufs", "vfs"])
        #expect(order.count == 6 && order.allSatisfy { !$0.reason.isEmpty })
        #expect(order.last?.driver == "vfs")
        let places = DriverRegistry.drivers.map { driver in order.firstIndex { $0.driver == driver.name } }
        #expect(places.allSatisfy { $0 != nil } && places.compactMap { $0 } == places.compactMap { $0 }.sorted())
        #expect(HostFacts.with().assess().map(\.driver) == DriverRegistry.drivers.map { $0.name })
    }
}

@Suite struct ReasonCodeTests {
    /// Scripts rely on them; all are written down beside what they mean.
    @Test func codesAreUniqueAndDocumented() {
        let codes = ReasonCode.allCases.map(\.rawValue)
        #expect(Set(codes).count == codes.count)
        for code in ReasonCode.allCases {
            #expect(code.rawValue.wholeMatch(of: #/[A-Z][A-Z0-9]*(_[A-Z0-9]+)*/#) != nil, "\(code)")
            #expect(code.meaning.hasSuffix(".") && code.meaning.count > 15, "\(code)")
        }
        #expect(Set(ReasonCode.allCases.map(\.meaning)).count == codes.count)
    }
}

@Suite struct FilesystemKindTests {
    /// Docker's table, the names that its documentation gives them.
    @Test(
        arguments: [
            (0x6175_6673, "aufs"), (0x9123_683E, "btrfs"), (0x28CD_3D45, "cramfs"), (0xF15F, "ecryptfs"),
            (0xEF53, "ext4"),
            (0xF2F5_2010, "f2fs"), (0x4750_4653, "gpfs"), (0x72B6, "jffs2"), (0x3153_464A, "jfs"), (0x6969, "nfs"),
            (0x8584_58F6, "ramfs"), (0x5265_4973, "reiserfs"), (0x517B, "smbfs"), (0x7371_7368, "squashfs"),
            (0x0102_1994, "tmpfs"), (0xA501_FCF5, "vxfs"), (0x5846_5342, "xfs"), (0x2FC1_2FC1, "zfs"),
            (0x794C_7630, "overlay"), (0x6573_5546, "fuse"), (0x0102_1997, "9p"), (0xFF53_4D42, "cifs"),
        ] as [(UInt64, String)]) func names(_ magic: UInt64, _ name: String)
    {
        #expect(FilesystemKind(magic: magic)?.name == name)
    }

    @Test func kernelVersions() {
        #expect(KernelVersion(release: "6.1.0-18-amd64") == KernelVersion(6, 1))
        #expect(KernelVersion(release: "6.18.44-fc-v657") > KernelVersion(6, 8))
        #expect(KernelVersion(release: "5.4") < KernelVersion(5, 10))
        #expect(KernelVersion(release: "6.12-rc1") == KernelVersion(6, 12))
        #expect(KernelVersion(release: "unknown") == KernelVersion(0, 0))
    }
}
