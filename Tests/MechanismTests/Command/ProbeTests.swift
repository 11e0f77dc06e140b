import Fixtures
import Foundation
import Lamina
import LinuxSystem
import Testing

/// `lamina probe` on real filesystems, users and namespaces.
@Suite(.enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct ProbeTests {
    /// What the tests read of the JSON.
    private struct Answer: Decodable {
        struct Filesystem: Decodable {
            let type, magic, mountPoint: String
            let readOnly, projectQuota: Bool
            let dType, reflink: Bool?
        }
        struct Driver: Decodable {
            struct Reason: Decodable { let code, message: String }
            let name, status: String
            let reasons: [Reason]
            let remedy: String?
        }
        struct Selected: Decodable { let driver, rule: String }
        struct Refused: Decodable { let message: String }
        struct DeviceMapper: Decodable {
            struct Pool: Decodable {
                let name, mode, owner: String?
                let users: [String]
            }
            let version: String?
            let targets: [String: String]
            let pools: [Pool]
        }
        struct ZFS: Decodable {
            let moduleVersion: String?
            let pools: [String: String]
        }
        struct Btrfs: Decodable { let quota: String? }
        struct Device: Decodable { let path: String }
        let filesystem: Filesystem
        let privilege: String
        let container: String?
        let drivers: [Driver]
        let selected: Selected?
        let refused: Refused?
        let deviceMapper: DeviceMapper?
        let btrfs: Btrfs?
        let zfs: ZFS
        let freeDevices: [Device]
        let tools: [String: String]
        let unseen: [String]

        func codes(_ driver: String) -> [String] {
            drivers.first { $0.name == driver }?.reasons.map(\.code) ?? []
        }
        func status(_ driver: String) -> String? { drivers.first { $0.name == driver }?.status }
    }

    private func probe(
        _ path: String, through wrapper: [String] = [], environment: [String: String]? = nil
    ) throws -> Answer {
        let result = try LaminaTool.run(
            wrapper + [LaminaTool.path, "probe", path, "--json"], environment: environment)
        try #require(result.status == 0, "\(result.error)")
        #expect(result.error == "")
        return try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
    }

    /// In the guest on what only its kernel has.
    private static let places = Place.here.filter { !TestHost.isGuest || $0 == .xfsWithoutTypes }

    @Test(arguments: places) func onEveryFilesystem(_ place: Place) throws {
        try place.with { directory in
            let answer = try probe(directory + "/root")
            let facts = answer.filesystem
            #expect(facts.mountPoint == directory)
            // All drivers are there, whatever they say, in the order of preference.
            #expect(answer.drivers.map(\.name) == DriverRegistry.drivers.map { $0.name })
            #expect(answer.drivers.allSatisfy { !$0.reasons.isEmpty })
            switch place {
            case .ext4:
                #expect(facts.type == "ext4" && facts.magic == "0xef53")
                #expect(facts.dType == true && facts.reflink == false && !facts.projectQuota)
                #expect(answer.codes("btrfs").first == "FS_NOT_BTRFS")
                #expect(answer.selected?.driver == "overlay2" && answer.selected?.rule == "best")
            case .xfs:
                #expect(facts.type == "xfs" && facts.dType == true && facts.reflink == true)
                #expect(answer.selected?.driver == "overlay2" && answer.selected?.rule == "best")
            case .xfsWithoutTypes:
                #expect(facts.type == "xfs" && facts.dType == false && facts.reflink == false)
                #expect(answer.selected == nil && answer.codes("overlay2") == ["FS_NO_D_TYPE"])
            case .btrfs:
                #expect(facts.type == "btrfs" && facts.dType == true && facts.reflink == true)
                #expect(answer.selected?.driver == "btrfs" && answer.selected?.rule == "best")
            case .tmpfs:
                #expect(facts.type == "tmpfs" && facts.dType == true)
                #expect(answer.codes("vfs").contains("FS_VOLATILE") && answer.selected == nil)
            case .overlay:
                #expect(facts.type == "overlay" && answer.selected == nil)
                #expect(answer.status("vfs") == "limited")
            case .readOnly:
                #expect(facts.readOnly && answer.selected == nil)
                for driver in answer.drivers { #expect(answer.codes(driver.name) == ["FS_READ_ONLY"]) }
            case .fuse:
                #expect(facts.type.hasPrefix("fuse") && answer.selected == nil)
                for driver in answer.drivers { #expect(answer.codes(driver.name) == ["FS_FUSE"]) }
                #expect(answer.refused?.message.contains("which a process serves") == true)
            }
        }
    }

    /// What is refused leaves nothing behind, whatever is named.
    @Test(arguments: places.filter { [.fuse, .readOnly].contains($0) })
    func whatCannotHoldARootGetsNone(_ place: Place) throws {
        try place.with { directory in
            let lamina = LaminaTool(root: directory + "/root")
            for arguments in [
                ["init"], ["init", "--driver", "vfs"], ["init", "--loop", "512M"], ["layer", "create", "x"],
            ] {
                let result = try lamina.run(arguments)
                #expect(result.status == 1)
                #expect(result.error.contains(place == .fuse ? "which a process serves" : "is read-only"))
                #expect(directoryNames(directory)?.filter { $0 != "lost+found" } == [])
            }
        }
    }

    @Test(.enabled(if: TestHost.hasXFSQuota, "the kernel has no xfs with quotas")) func projectQuotas() throws {
        try withFilesystem("xfs", size: 320 << 20, options: ["prjquota"]) { directory throws in
            #expect(try probe(directory).filesystem.projectQuota)
        }
        try withFilesystem("xfs", size: 320 << 20, options: ["pqnoenforce"]) { directory throws in
            #expect(try !probe(directory).filesystem.projectQuota)
        }
    }

    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func btrfsQuotas() throws {
        try Place.btrfs.with { directory throws in
            #expect(try probe(directory).btrfs?.quota == "off")
            try #require(Program("btrfs")).run(["quota", "enable", directory], on: directory)
            #expect(try ["qgroup", "inconsistent"].contains(probe(directory + "/root").btrfs?.quota))
        }
        #expect(try probe("/dev/shm").btrfs?.quota == nil)
    }

    /// The commands of zfs are not run: pools are what the kernel shows of them.
    @Test(.enabled(if: TestHost.hasZFS, "the kernel has no zfs")) func onZFS() throws {
        try withZFSPool { pool, directory throws in
            let target = directory + "/mounted"
            try runZFS("create", "-o", "mountpoint=\(target)", pool + "/root")
            let answer = try probe(target + "/below")
            #expect(answer.filesystem.type == "zfs" && answer.filesystem.mountPoint == target)
            #expect(answer.filesystem.dType == true)
            #expect(answer.selected?.driver == "zfs" && answer.selected?.rule == "best")
            #expect(answer.zfs.moduleVersion != nil && answer.zfs.pools[pool] == "ONLINE")
            #expect(try probe("/tmp").drivers.first { $0.name == "zfs" }?.remedy?.contains(pool) == true)
        }
    }

    @Test func deviceMapper() throws {
        let answer = try probe("/tmp")
        guard TestHost.hasDeviceMapper else {
            #expect(answer.deviceMapper == nil && answer.status("devicemapper") == "unavailable")
            #expect(["DM_MISSING", "DM_NOT_LOADED"].contains(answer.codes("devicemapper").first))
            return
        }
        #expect(answer.deviceMapper?.targets["thin-pool"] != nil && answer.status("devicemapper") == "limited")
        try CommandGround.devicemapper.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "x").status == 0)
            #expect(try lamina("layer", "mount", "x").status == 0)
            let id = try #require(try lamina("info", "--json").value("id"))
            let pool = try probe("/tmp").deviceMapper?.pools.first { $0.name == "lamina-\(id)-pool" }
            #expect(pool?.mode == "rw" && pool?.owner == "Lamina root \(id)" && pool?.users.count == 1)
        }
    }

    /// Judged as for the superuser, and what is not seen is said.
    @Test func withoutPrivilege() throws {
        try withCopyForAll { program in
            let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program]
            let result = try LaminaTool.run(nobody + ["probe", "/tmp", "--json"])
            try #require(result.status == 0, "\(result.error)")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
            #expect(answer.privilege == "user" && answer.drivers.count == DriverRegistry.drivers.count)
            #expect(answer.filesystem.type == (try probe("/tmp")).filesystem.type)
            if TestHost.hasDeviceMapper {
                #expect(answer.unseen.contains { $0.contains("superuser") })
                #expect(answer.codes("devicemapper").first == "NEEDS_ROOT")
            }
            let refused = try LaminaTool.run(nobody + ["init", "--root", "/tmp/lamina-nobody"])
            #expect(refused.status == 1 && refused.error.contains("superuser"))
            #expect(!exists("/tmp/lamina-nobody"))
            try CommandGround.vfs.withRoot { lamina throws in
                // The root is its owner's alone: its driver is not seen, and that is said.
                let hidden = try LaminaTool.run(nobody + ["probe", lamina.root, "--json"])
                let answer = try JSONDecoder().decode(Answer.self, from: Data(hidden.output.utf8))
                #expect(answer.unseen.contains { $0.contains(lamina.root) })
            }
        }
    }

    /// The programs that drivers run are not found by the PATH, and not needed for looking.
    @Test func withoutTools() throws {
        let all = try probe("/tmp", environment: ["PATH": "/nowhere"])
        #expect(all.tools["mkfs.ext4"] != nil)
        let hidden = try probe(
            "/tmp",
            through: [
                "/usr/bin/unshare", "--mount", "/bin/sh", "-c",
                "mount -t tmpfs tools /usr/sbin; [ -L /sbin ] || mount -t tmpfs tools /sbin; exec \"$0\" \"$@\"",
            ])
        #expect(hidden.tools["mkfs.ext4"] == nil && hidden.tools["mkfs.btrfs"] == nil)
        #expect(hidden.codes("btrfs").contains("TOOL_MISSING") || !TestHost.hasBtrfs)
        #expect(hidden.status("vfs") == "limited")
    }

    @Test(.enabled(if: TestHost.hasUserNamespaces, "no user namespaces here")) func insideAContainer() throws {
        let inside = try probe("/tmp", through: ["/usr/bin/unshare", "--user", "--map-root-user", "--mount"])
        #expect(inside.container != nil)
        try requireContained(inside)
    }

    /// As inside of a container that maps no users.
    @Test func withoutTheCapabilityToMount() throws {
        try requireContained(
            probe("/tmp", through: ["/usr/bin/setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]))
    }

    private func requireContained(_ answer: Answer) throws {
        #expect(answer.privilege == "contained" && answer.selected == nil)
        for driver in answer.drivers where driver.name != "vfs" {
            #expect(driver.status == "unavailable" && answer.codes(driver.name) == ["CONTAINED"])
        }
        #expect(answer.status("vfs") == "limited" && answer.freeDevices.isEmpty)
    }

    /// A disk without a signature is suggested; one that is mounted, and one that carries something, are not.
    @Test(.enabled(if: exists("/dev/scratch/blank"), "needs a scratch disk of the guest")) func freeDevices() throws {
        let disk = try #require(resolvedPath("/dev/scratch/blank"))
        #expect(try probe("/tmp").freeDevices.contains { $0.path == disk })
        try #require(Program("mkfs.ext4")).run(["-q", disk], on: disk)
        #expect(try !probe("/tmp").freeDevices.contains { $0.path == disk })
    }

    @Test func everythingIsExplained() throws {
        let text = try LaminaTool.run([LaminaTool.path, "probe", "/tmp", "--explain"]).output
        for rule in DriverSelection.Rule.allCases { #expect(text.contains(". \(rule.rawValue): ")) }
        for driver in DriverRegistry.drivers { #expect(text.contains(DriverRegistry.preference(driver.name))) }
        #expect(text.contains(ReasonCode.copies.meaning))
        #expect(try LaminaTool.run([LaminaTool.path, "probe", "/a", "--root", "/b"]).status == 2)
    }

    private func withCopyForAll(_ body: (String) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            try check(chmod(directory, 0o755), "chmod", directory)
            let program = directory + "/lamina"
            try #require(Program("cp")).run(["--reflink=auto", LaminaTool.path, program], on: program)
            try body(program)
        }
    }
}
