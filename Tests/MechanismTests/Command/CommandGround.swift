import Fixtures
import Lamina
import Testing

/// A root made by the command, for the tests of it.
enum CommandGround: String, CaseIterable {
    case btrfs, devicemapper, overlay2, zfs, vfs

    /// Those that this machine can give; in the guest, where each takes minutes, only those that are to be had nowhere
    /// else.
    static let here = allCases.filter { ground in
        let isNeeded = !TestHost.isGuest || ground == .devicemapper || ground == .zfs
        return isNeeded && ground.isThere && TestHost.isWanted(ground.rawValue)
    }

    var isThere: Bool {
        switch self {
        case .btrfs: TestHost.hasBtrfs
        case .devicemapper: TestHost.hasDeviceMapper
        case .overlay2: TestHost.hasLoop
        case .zfs: TestHost.hasZFS
        case .vfs: TestHost.isRoot
        }
    }

    /// The options that give it something to stand on.
    var backing: [String] {
        switch self {
        case .btrfs: ["--loop", "512M"]
        case .devicemapper, .zfs: ["--loop", "1G"]
        case .overlay2, .vfs: []
        }
    }

    /// Whether its driver copies layers that are mounted and written.
    var takesLiveSnapshots: Bool {
        DriverRegistry.drivers.contains { $0.name == rawValue && $0 is any LiveSnapshots.Type }
    }

    /// Whether layers can have a limit on it.
    var holdsLimits: Bool { self != .overlay2 && self != .vfs }

    /// Runs `body` with the command on a new root, and requires that `deinit --force` leaves nothing.
    /// - Parameters:
    ///   - backing: nil for the ground's own.
    ///   - forAll: the root is to be where any driver can have it.
    func withRoot(
        _ backing: [String]? = nil, forAll: Bool = false, _ body: (LaminaTool) throws -> Void
    ) throws {
        // What the tests run on may itself be an overlay, and in the guest one in memory that keeps no attributes.
        if self == .overlay2 || TestHost.isGuest && (forAll || self == .vfs) {
            return try withFilesystem("ext4", size: 3 << 30) { try run(below: $0, backing, body) }
        }
        try withTemporaryDirectory { try run(below: $0, backing, body) }
    }

    private func run(
        below directory: String, _ backing: [String]?, _ body: (LaminaTool) throws -> Void
    ) throws {
        let tool = LaminaTool(root: directory + "/root")
        let made = try tool.run(["init", "--driver", rawValue] + (backing ?? self.backing))
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
        #expect(MountTable.current().entries.filter { $0.target.hasPrefix(directory + "/") } == [])
    }
}
