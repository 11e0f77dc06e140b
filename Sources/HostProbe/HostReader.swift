import Glibc
import LinuxSystem
import StorageDriver

/// Reads the facts of this host. Changes nothing: opens no device whose opening would load a module, makes no file,
/// mounts nothing, runs no program.
public enum HostReader {
    /// Tools that drivers run or that help an operator, and the runtimes that containers are run with.
    static let tools = [
        "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "thin_check", "thin_repair", "dmsetup", "btrfs", "zfs", "zpool",
        "zfs-fuse", "modprobe", "crun", "runc",
    ]

    public static var kernelRelease: String { line("/proc/sys/kernel/osrelease") ?? "unknown" }

    /// - Parameter path: of the state root, which need not be there yet.
    public static func facts(for path: String) -> HostFacts {
        var unseen: [String] = []
        let kernel = KernelReader()
        let privilege = ProcessReader.privilege()
        let mounts = MountTable.current()
        let place = FilesystemReader(path: path, mounts: mounts, version: kernel.version)
        if kernel.configuration == nil {
            unseen.append("the kernel's configuration: neither /proc/config.gz nor /boot has it")
        }
        if place.filesystem == nil { unseen.append("the filesystem of \(path): it cannot be reached") }
        if !place.isReadable {
            unseen.append("whether a driver has state in \(path): this user cannot look into \(place.directory)")
        }
        let overlay = kernel.overlay()
        let btrfs = kernel.btrfs(quotaOf: place.entry)
        let mapper = DeviceMapperReader.read(privilege, unseen: &unseen)
        var free: [HostFacts.FreeDevice] = []
        if privilege != .contained {
            free = BlockDeviceReader(mounts).free(canOpen: privilege == .superuser, unseen: &unseen)
        } else {
            unseen.append("free block devices: they are the host's, and this is a container")
        }
        var tools: [String: String] = [:]
        for tool in Self.tools { if let program = Program(tool) { tools[tool] = program.path } }
        return HostFacts(
            kernelRelease: kernel.release, privilege: privilege, path: path, isOccupied: place.isOccupied,
            filesystem: place.filesystem ?? HostFacts.Filesystem(type: "unknown", magic: 0),
            kernelFilesystems: kernel.filesystems, availableModules: kernel.modules,
            kernelConfiguration: kernel.configuration, container: ProcessReader.container(), overlay: overlay,
            btrfs: btrfs, zfs: kernel.zfs(), aufsVersion: kernel.aufsVersion(), deviceMapper: mapper,
            freeDevices: free, hasLoop: exists("/dev/loop-control"), tools: tools, unseen: unseen)
    }
}

/// The first line of a small file of /proc or /sys; nil where there is none.
func line(_ file: String) -> String? {
    readText(file)?.split(separator: "\n", maxSplits: 1).first.map(String.init)
}
