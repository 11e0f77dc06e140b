import LinuxSystem
import SystemPackage

/// Directories on filesystems of every kind, for the time of `body`.
public enum Place: String, CaseIterable, Sendable {
    case ext4, xfs
    case xfsWithoutTypes = "xfs with ftype=0"
    case btrfs, tmpfs, overlay
    case readOnly = "read-only ext4"
    case fuse

    /// Those that this machine can give.
    public static let here = allCases.filter { place in
        switch place {
        case .ext4, .xfs, .tmpfs, .readOnly: TestHost.hasLoop
        case .xfsWithoutTypes: TestHost.hasOldXFS
        case .btrfs: TestHost.hasBtrfs
        case .overlay: TestHost.hasLoop && (readText("/proc/filesystems") ?? "").contains("\toverlay\n")
        case .fuse: TestHost.hasBindfs
        }
    }

    public func with<Result>(_ body: (String) throws -> Result) throws -> Result {
        switch self {
        case .ext4: try withFilesystem("ext4", size: 96 << 20, body)
        case .xfs: try withFilesystem("xfs", size: 320 << 20, body)
        case .xfsWithoutTypes:
            try withFilesystem("xfs", size: 320 << 20, makeArguments: ["-m", "crc=0", "-n", "ftype=0"], body)
        case .btrfs: try withFilesystem("btrfs", size: 256 << 20, body)
        case .readOnly: try withFilesystem("ext4", size: 96 << 20, options: ["ro"], body)
        case .tmpfs: try mounted(Mount(type: "tmpfs", source: "tmpfs", options: ["size=128M"]), body)
        case .overlay:
            // Upper directories on tmpfs, for the machine's own root may be an overlay.
            try Place.tmpfs.with { upper throws in
                for name in ["lower", "upper", "work"] { try makeDirectory("\(upper)/\(name)") }
                let options = ["lowerdir=\(upper)/lower", "upperdir=\(upper)/upper", "workdir=\(upper)/work"]
                return try mounted(Mount(type: "overlay", source: "overlay", options: options), body)
            }
        case .fuse:
            try withTemporaryDirectory { directory throws in
                let (source, target) = (directory + "/source", directory + "/mounted")
                for path in [source, target] { try makeDirectory(path) }
                guard let bindfs = Program("bindfs") else { throw SystemError("run", "bindfs", .noSuchFileOrDirectory) }
                try bindfs.run([source, target], on: target)
                // Its process ends with the mount.
                defer { try? unmount(target, lazily: true) }
                return try body(target)
            }
        }
    }

    private func mounted<Result>(_ mount: Mount, _ body: (String) throws -> Result) throws -> Result {
        try withTemporaryDirectory { directory in
            let target = directory + "/mounted"
            try makeDirectory(target)
            try DetachedMount(mount).attach(to: target)
            defer { try? unmount(target, lazily: true) }
            return try body(target)
        }
    }
}
