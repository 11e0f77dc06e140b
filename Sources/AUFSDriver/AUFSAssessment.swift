import StorageDriver

extension AUFSDriver {
    /// Filesystems that aufs takes no writable branch on, or that lose what it keeps there (aufs(5), "Branch Syntax";
    /// Docker refuses them too).
    private static let refusedFilesystems: Set = [
        "aufs", "overlay", "btrfs", "nfs", "fuse", "ramfs", "squashfs", "erofs",
    ]

    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(_ code: ReasonCode, _ message: String, _ remedy: String) -> DriverAssessment {
            DriverAssessment(driver: name, status: .unavailable, reasons: [.init(code, message)], remedy: remedy)
        }
        guard host.kernelFilesystems.contains("aufs") else {
            if host.availableModules.contains("aufs") {
                return unavailable(
                    .aufsNotLoaded, "the kernel has aufs as a module that is not loaded", "modprobe aufs")
            }
            return unavailable(
                .aufsMissing,
                "the kernel \(host.kernelRelease) has no aufs: Linux never took it in, and distributions have dropped it",
                "use another driver; lamina import-root --from aufs DIR takes old layers over")
        }
        if let reason = refusal(of: host.filesystem.type, at: host.path) {
            return unavailable(.notBranch, reason, "put --root on ext4 or xfs")
        }
        return DriverAssessment(
            driver: name, status: .available,
            reasons: [.init(.canBeBranch, "the kernel has aufs, and \(host.path) is on \(host.filesystem.type)")],
            strengths: "layers are plain directories, as old Docker hosts have them")
    }

    /// Why no branch can be on this filesystem; nil when one can.
    static func refusal(of filesystem: String, at path: String) -> String? {
        refusedFilesystems.contains(filesystem) ? "\(path) is on \(filesystem), which aufs cannot write layers to" : nil
    }
}
