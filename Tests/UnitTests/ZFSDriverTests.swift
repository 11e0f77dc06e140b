import Lamina
import Testing

@testable import ZFSDriver

@Suite struct ZFSAssessmentTests {
    /// A host that has everything, the root being on ext4.
    private func assess(_ change: (inout HostFacts) -> Void) -> DriverAssessment {
        var host = HostFacts(
            kernelRelease: "6.1.0", isRoot: true, path: "/var/lib/lamina",
            filesystem: .init(
                type: "ext4", magic: 0xEF53, isReadOnly: false, totalBytes: 1 << 40, freeBytes: 1 << 39,
                freeInodes: 1 << 20),
            kernelFilesystems: ["ext4", "zfs"], availableModules: [], deviceMapper: nil, hasLoop: true,
            tools: ["zfs": "/sbin/zfs", "zpool": "/sbin/zpool"])
        change(&host)
        return ZFSDriver.assess(host)
    }

    private func codes(_ change: (inout HostFacts) -> Void) -> [String] { assess(change).reasons.map(\.code) }

    @Test func aPoolMustBeNamedElsewhere() {
        let there = assess { _ in }
        #expect(there.status == .limited && there.worksOnLoop && there.remedy?.contains("--pool") == true)
        #expect(there.reasons.map(\.code) == ["FS_NOT_ZFS", "ZFS_NEEDS_POOL"])
        #expect(assess { $0.filesystem.type = "zfs" }.status == .available)
        let readOnly = assess {
            $0.filesystem.type = "zfs"
            $0.filesystem.isReadOnly = true
        }
        #expect(readOnly.status == .unavailable && readOnly.reasons.map(\.code) == ["FS_READ_ONLY"])
        #expect(!assess { $0.filesystem.isReadOnly = true }.worksOnLoop)
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
