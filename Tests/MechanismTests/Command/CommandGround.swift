import Fixtures
import Lamina
import Testing

/// A root made by the command, for the tests of it.
enum CommandGround: String, CaseIterable {
    case btrfs, devicemapper, vfs

    static let here = allCases.filter { ground in
        switch ground {
        case .btrfs: TestHost.hasBtrfs
        case .devicemapper: TestHost.hasDeviceMapper
        case .vfs: TestHost.isRoot
        }
    }

    /// Runs `body` with the command on a new root, and requires that `deinit --force` leaves nothing.
    func withRoot(_ body: (LaminaTool) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            let tool = LaminaTool(root: directory + "/root")
            let loop = self == .vfs ? [] : ["--loop", self == .btrfs ? "512M" : "1G"]
            let made = try tool.run(["init", "--driver", rawValue] + loop)
            try #require(made.status == 0, "\(made.error)")
            do {
                defer {
                    let gone = try? tool("deinit", "--force")
                    #expect(gone?.status == 0, "\(gone?.error ?? "")")
                }
                try body(tool)
            }
            #expect(!exists(tool.root))
            #expect(eventually { loopFiles(below: directory).isEmpty })
            #expect(MountTable.current().entries.filter { $0.target.hasPrefix(directory) } == [])
        }
    }
}
