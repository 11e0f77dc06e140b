import Lamina
import Testing

@testable import ZFSDriver

@Suite struct ZFSAssessmentTests {
    /// A host that has everything, the root being on ext4.
    private func assess(_ change: (inout HostFacts) -> Void) -> DriverAssessment {
        var host = HostFacts(
            kernelRelease: "6.1.0", privilege: .superuser, path: "/var/lib/lamina",
            filesystem: .init(type: "ext4", magic: 0xEF53, totalBytes: 1 << 40, freeBytes: 1 << 39),
            kernelFilesystems: ["ext4", "zfs"], hasLoop: true,
            tools: ["zfs": "/sbin/zfs", "zpool": "/sbin/zpool"])
        change(&host)
        return ZFSDriver.assess(host)
    }

    private func codes(_ change: (inout HostFacts) -> Void) -> [String] { assess(change).reasons.map(\.code.rawValue) }

    @Test func aPoolMustBeNamedElsewhere() {
        let there = assess { _ in }
        #expect(there.status == .limited && there.worksOnLoop && there.remedy?.contains("--pool") == true)
        #expect(there.reasons.map(\.code.rawValue) == ["FS_NOT_ZFS", "ZFS_NEEDS_POOL"])
        #expect(assess { $0.filesystem.type = "zfs" }.status == .available)
        #expect(assess { $0.zfs.pools = ["tank": "ONLINE"] }.remedy?.hasSuffix("(imported: tank)") == true)
    }

    @Test func whatIsMissingIsSaid() {
        #expect(codes { $0.kernelFilesystems = ["ext4"] } == ["ZFS_MISSING"])
        #expect(
            codes {
                $0.kernelFilesystems = ["ext4"]
                $0.availableModules = ["zfs"]
            } == ["ZFS_NOT_LOADED"])
        #expect(codes { $0.tools["zpool"] = nil } == ["TOOL_MISSING"])
    }

    @Test(arguments: ["tank", "tank/a", "tank/a b/c-d_e.f:g", "A1/2"])
    func names(_ name: String) { #expect(ZFSPlan.isName(name)) }

    @Test(arguments: ["", "-r", "tank/", "/tank", "tank//a", "tank/-a", "tank@a", "tank/a#b", "tank/é", "..", "a\nb"])
    func noNames(_ name: String) { #expect(!ZFSPlan.isName(name)) }

    /// With the longest name that is taken, all that are made of it fit.
    @Test func namesFit() {
        let above = String(repeating: "x", count: ZFSPlan.longestName)
        let ground = ZFSGround(RootLocation(path: "/r", id: "12345678"), ["dataset": above])
        let largest = LayerNumber(.max)
        #expect(ground.source(of: largest, in: largest).utf8.count <= 255)
        #expect(ground.layer(named: ground.dataset(largest)) == largest)
        #expect(ground.layer(named: "\(ground.container)/1/2") == nil && ground.layer(named: "other/1") == nil)
    }
}
