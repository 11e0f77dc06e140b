import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage
import ThinPool

/// Reads the facts of this host. Changes nothing: opens no device whose opening would load a module, makes no file,
/// mounts nothing.
public enum HostReader {
    /// Tools that drivers run or that help an operator.
    static let tools = [
        "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "thin_check", "thin_repair", "dmsetup", "btrfs", "zfs", "zpool",
        "modprobe",
    ]

    /// - Parameter path: of the state root, which need not be there yet.
    public static func facts(for path: String) -> HostFacts {
        let release = readText("/proc/sys/kernel/osrelease")?.split(separator: "\n").first.map(String.init) ?? "unknown"
        let isRoot = geteuid() == 0
        var found: [String: String] = [:]
        for tool in tools { if let program = Program(tool) { found[tool] = program.path } }
        return HostFacts(
            kernelRelease: release, isRoot: isRoot, path: path, filesystem: filesystem(of: path),
            kernelFilesystems: kernelFilesystems(), availableModules: modules(of: release),
            deviceMapper: deviceMapper(isRoot: isRoot), hasLoop: exists("/dev/loop-control"), tools: found)
    }

    private static func filesystem(of path: String) -> HostFacts.Filesystem {
        let directory = nearestDirectory(path)
        guard let status = try? FilesystemStatus(path: directory) else {
            return HostFacts.Filesystem(
                type: "unknown", magic: 0, isReadOnly: false, totalBytes: 0, freeBytes: 0, freeInodes: 0)
        }
        return HostFacts.Filesystem(
            type: status.typeName, magic: status.magic, isReadOnly: status.isReadOnly, totalBytes: status.totalBytes,
            freeBytes: status.freeBytes, freeInodes: status.freeInodes, hasEntryTypes: hasEntryTypes(directory))
    }

    /// Looks at what is in the directory: nil where it is empty.
    private static func hasEntryTypes(_ directory: String) -> Bool? {
        guard let directory = try? FileDescriptor.openingDirectory(directory) else { return nil }
        let entries = directory.closing { try? $0.directoryEntries() }
        return entries?.first.map { $0.kind != nil }
    }

    private static func kernelFilesystems() -> Set<String> {
        let lines = (readText("/proc/filesystems") ?? "").split(separator: "\n")
        return Set(lines.compactMap { $0.split(separator: "\t").last.map(String.init) })
    }

    /// Names of modules that the running kernel has built in or could load, with `_` where files have `-`.
    private static func modules(of release: String) -> Set<String> {
        var names: Set<String> = []
        for list in ["modules.dep", "modules.builtin"] {
            for line in (readText("/lib/modules/\(release)/\(list)") ?? "").split(separator: "\n") {
                let path = line.prefix { $0 != ":" }
                let file = path.split(separator: "/").last ?? path
                names.insert(file.prefix { $0 != "." }.map { $0 == "-" ? "_" : String($0) }.joined())
            }
        }
        return names
    }

    /// Asks device-mapper only where the kernel has it already: opening its control node would load the module.
    private static func deviceMapper(isRoot: Bool) -> HostFacts.DeviceMapper? {
        guard DeviceMapper.isInKernel else { return nil }
        guard isRoot else { return HostFacts.DeviceMapper(version: nil, targets: [:]) }
        let targets = (try? DeviceMapper.targets()) ?? [:]
        return HostFacts.DeviceMapper(version: try? DeviceMapper.version(), targets: targets)
    }
}
