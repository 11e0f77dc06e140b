import Fixtures
import Glibc
import Lamina
import SystemPackage
import Testing

/// What a driver of the conformance suite stands on. A new driver is one case more.
enum Ground: String, CaseIterable, CustomTestStringConvertible {
    case btrfs = "btrfs in a file"
    case btrfsNative = "btrfs under the root"
    case devicemapper = "devicemapper in files"
    case devicemapperXFS = "devicemapper with xfs"
    case overlayExt4 = "overlay2 on ext4"
    case overlayXFS = "overlay2 on xfs"
    case overlayBtrfs = "overlay2 on btrfs"
    case zfs = "zfs in a file"
    case zfsDataset = "zfs in a dataset"
    case vfs = "vfs"
    case vfsQuota = "vfs on xfs with project quota"

    /// Those that this machine can give; the suite counts the others as skipped, by their own tests.
    static let here = allCases.filter { $0.missing == nil && TestHost.isWanted($0.rawValue) }

    var testDescription: String { rawValue }

    var type: any StorageDriver.Type {
        let name = rawValue.prefix { $0 != " " }
        return DriverRegistry.drivers.first { $0.name == name }!
    }

    var options: DriverOptions {
        switch self {
        case .btrfs: DriverOptions(backing: .loop(bytes: 512 << 20))
        case .devicemapper, .zfs: DriverOptions(backing: .loop(bytes: 1 << 30))
        case .devicemapperXFS: DriverOptions(backing: .loop(bytes: 1 << 30), filesystem: "xfs")
        default: DriverOptions()
        }
    }

    /// Why this machine cannot give it; nil when it can.
    var missing: String? {
        guard TestHost.hasLoop else { return "needs root and loop devices" }
        // Emulated, a ground takes minutes.
        if TestHost.isGuest, [.btrfs, .btrfsNative, .overlayBtrfs, .vfs].contains(self) {
            return "it needs nothing that only the guest has"
        }
        switch self {
        case .btrfs, .btrfsNative, .overlayBtrfs: return TestHost.hasBtrfs ? nil : "the kernel has no btrfs"
        case .devicemapper, .devicemapperXFS:
            return TestHost.hasDeviceMapper ? nil : "the kernel has no device-mapper"
        case .zfs, .zfsDataset: return TestHost.hasZFS ? nil : "the kernel has no zfs"
        case .overlayExt4, .overlayXFS, .vfs: return nil
        case .vfsQuota: return TestHost.hasXFSQuota ? nil : "the kernel has no xfs with quotas"
        }
    }

    /// Whether each step is a process of its own, which takes its time in the guest: for tests of many steps.
    var isSlow: Bool { self == .zfs || self == .zfsDataset }

    /// Whether the driver holds size limits here; else it must refuse them.
    var holdsLimits: Bool {
        switch self {
        case .vfs, .overlayBtrfs: false
        case .overlayExt4: TestHost.hasExt4Quota
        case .overlayXFS: TestHost.hasXFSQuota
        default: true
        }
    }

    /// Bytes of the smallest limit that the driver takes.
    var smallLimit: UInt64 { self == .devicemapperXFS ? 300 << 20 : 32 << 20 }

    /// Makes a root for the time of `body`, and requires that nothing of it is left after it.
    func withRoot(_ body: (any StorageDriver, RootLocation) throws -> Void) throws {
        switch self {
        case .btrfsNative, .overlayBtrfs:
            try withFilesystem("btrfs", size: 512 << 20) { try run(at: $0 + "/root", body) }
        case .overlayExt4:
            let (make, options) = holdsLimits ? (TestHost.ext4QuotaFeatures, ["prjquota"]) : ([], [])
            try withFilesystem("ext4", size: 512 << 20, options: options, makeArguments: make) {
                try run(at: $0 + "/root", body)
            }
        case .overlayXFS, .vfsQuota:
            try withFilesystem("xfs", size: 400 << 20, options: holdsLimits ? ["prjquota"] : []) {
                try run(at: $0 + "/root", body)
            }
        case .zfsDataset:
            try withZFSPool { pool, directory in
                // Properties that would harm layers, and a root on a dataset.
                try runZFS(
                    "create", "-o", "mountpoint=legacy", "-o", "setuid=off", "-o", "devices=off", "-o", "atime=on",
                    "\(pool)/state")
                let target = directory + "/state"
                try makeDirectory(target)
                try DetachedMount(Mount(type: "zfs", source: "\(pool)/state", options: [])).attach(to: target)
                defer { #expect(throws: Never.self) { try unmount(target) } }
                try run(at: target + "/root", body)
                #expect(try zfsDatasets(below: pool) == [pool, "\(pool)/state"])
            }
        case .btrfs, .devicemapper, .devicemapperXFS, .zfs, .vfs:
            try withTemporaryDirectory { try run(at: $0 + "/root", body) }
        }
    }

    private func run(at path: String, _ body: (any StorageDriver, RootLocation) throws -> Void) throws {
        try makeDirectory(path)
        let root = RootLocation(path: path, id: "7e57" + String(UInt16.random(in: 0x1000...0xFFFF), radix: 16))
        let configuration = try type.plan(root, options)
        do {
            defer { #expect(throws: Never.self) { try type.destroy(root, configuration) } }
            try type.build(root, configuration)
            try body(try type.init(root, configuration), root)
        }
        #expect(directoryNames(path) == [])
        #expect(eventually { loopFiles(below: path).isEmpty })
        #expect(MountTable.current().entries.filter { $0.target.hasPrefix(path + "/") } == [])
        if TestHost.hasZFS { #expect(try zfsDatasets(below: "lamina-\(root.id)") == []) }
        if TestHost.hasDeviceMapper { #expect(try deviceMapperNames().filter { $0.contains(root.id) } == []) }
    }
}

extension StorageDriver {
    /// Runs `body` on the layer's root directory, mounted where only this process sees it.
    func withTree<Result>(
        _ layer: LayerNumber, readOnly: Bool = false, _ body: (FileDescriptor) throws -> Result
    ) throws -> Result {
        let mounts = try mounts(layer, readOnly: readOnly)
        defer { #expect(throws: Never.self) { try release(layer) } }
        let tree = try DetachedMount(mounts[0])
        let root = try tree.openRoot()
        defer { root.closeQuietly() }
        return try body(root)
    }
}

/// Writes a file, made with the given permissions.
func write(_ text: String, to name: String, in directory: FileDescriptor, permissions: UInt32 = 0o644) throws {
    let file = try directory.openBeneath(
        name, .writeOnly, flags: O_CREAT | O_TRUNC, permissions: permissions, noSymlinks: true)
    defer { file.closeQuietly() }
    var text = text
    try text.withUTF8 { try file.writeFully(UnsafeRawBufferPointer($0), to: name) }
}

func read(_ name: String, in directory: FileDescriptor) throws -> String {
    let file = try directory.openBeneath(name)
    defer { file.closeQuietly() }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
    return String(decoding: buffer[..<count], as: UTF8.self)
}
