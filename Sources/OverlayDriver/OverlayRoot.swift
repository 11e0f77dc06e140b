import LinuxSystem
import StorageDriver
import SystemPackage

/// Making and unmaking what the driver has in a root.
extension OverlayDriver {
    public static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration {
        try options.requireNone(of: name, root)
        let type = try attempt("init", root.path) { try FilesystemStatus(path: nearestDirectory(root.path)).typeName }
        guard !refusedFilesystems.contains(type) else {
            throw StorageError(
                .failedPrecondition, "init", root.path, "it is on \(type), which overlayfs cannot write layers to",
                hint: "put --root on ext4, xfs or btrfs")
        }
        return [:]
    }

    public static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        let ground = OverlayGround(root: root)
        try attempt("make", ground.directory) {
            for path in [ground.directory, ground.layers, ground.partials, ground.links] { try makeDirectory(path) }
            try makeDirectory(ground.empty, mode: 0o755)
            let directory = try FileDescriptor.openingDirectory(ground.directory)
            defer { directory.closeQuietly() }
            let type = try FilesystemStatus(path: ground.directory).typeName
            guard try directory.directoryEntries().allSatisfy({ $0.kind == .directory }) else {
                throw StorageError(
                    .failedPrecondition, "init", root.path,
                    "its \(type) keeps no file types in directories (d_type), which overlayfs needs",
                    hint: "make the filesystem anew (xfs: mkfs.xfs -n ftype=1, ext4: mkfs.ext4 -O filetype)")
            }
            // Also shows that overlayfs works here at all.
            do throws(SystemError) {
                _ = try NativeDiff(ground: ground).isProven()
            } catch {
                throw StorageError(
                    .failedPrecondition, "init", root.path, "overlayfs cannot be used on this \(type): \(error)",
                    errno: error.errno, hint: "dmesg may say why")
            }
        }
    }

    public static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        let ground = OverlayGround(root: root)
        guard exists(ground.directory) else { return }
        let driver = OverlayDriver(ground)
        let names = [ground.layers, ground.partials].flatMap { directoryNames($0) ?? [] }
        // Children before their parents.
        for number in names.compactMap({ UInt64($0) }).sorted(by: >) { try driver.remove(LayerNumber(number)) }
        try attempt("destroy", ground.directory) {
            let directory = try FileDescriptor.openingDirectory(root.path)
            defer { directory.closeQuietly() }
            try directory.removeEntry(EntryName("overlay2"))
        }
    }
}
