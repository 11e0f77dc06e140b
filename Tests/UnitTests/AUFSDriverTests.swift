import Lamina
import Testing

@testable import AUFSDriver

/// No kernel here has aufs: what it is told to mount is all that can be shown.
@Suite struct AUFSDriverTests {
    private func assess(_ change: (inout HostFacts) -> Void) -> DriverAssessment {
        var host = HostFacts(
            kernelRelease: "6.1.0", privilege: .superuser, path: "/var/lib/lamina",
            filesystem: .init(type: "ext4", magic: 0xEF53, totalBytes: 1 << 40, freeBytes: 1 << 39),
            kernelFilesystems: ["ext4"], hasLoop: true)
        change(&host)
        return AUFSDriver.assess(host)
    }

    private func codes(_ change: (inout HostFacts) -> Void) -> [String] { assess(change).reasons.map(\.code.rawValue) }

    @Test func kernelsWithoutItAreTold() {
        let gone = assess { _ in }
        #expect(gone.status == .unavailable && gone.reasons.map(\.code.rawValue) == ["AUFS_MISSING"])
        #expect(gone.remedy?.contains("import-root") == true)
        #expect(codes { $0.availableModules = ["aufs"] } == ["AUFS_NOT_LOADED"])
        #expect(assess { $0.kernelFilesystems.insert("aufs") }.status == .available)
        #expect(
            codes {
                $0.kernelFilesystems.insert("aufs")
                $0.filesystem.type = "btrfs"
            } == ["FS_NO_BRANCH"])
    }

    @Test func branchesLieOnEachOther() {
        let stack = BranchStack(top: "/r/active/3", isWritable: true, lowers: ["/r/c/2", "/r/c/1"], numbers: "/r/xino")
        #expect(
            stack.options == [
                "noplink", "dirperm1", "udba=none", "br=/r/active/3=rw", "append=/r/c/2=ro+wh", "append=/r/c/1=ro+wh",
                "xino=/r/xino",
            ])
        let still = BranchStack(top: "/r/c/1", isWritable: false, lowers: [], numbers: "/r/xino")
        #expect(still.options.contains("br=/r/c/1=ro+wh") && still.options.last == "ro")
        #expect(stack.refusal == nil)
    }

    @Test func moreThanAMountTakesIsRefused() {
        func refusal(_ count: Int, _ path: String) -> String? {
            let lowers = Array(repeating: path, count: count)
            return BranchStack(top: path, isWritable: true, lowers: lowers, numbers: "/x").refusal
        }
        #expect(refusal(126, "/r/1") == nil)
        #expect(refusal(127, "/r/1")?.contains("127") == true)
        #expect(refusal(100, "/var/lib/lamina/aufs/committed/1234")?.contains("options") == true)
    }
}
