import StorageDriver

extension ZFSDriver {
    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(_ code: String, _ message: String, _ remedy: String) -> DriverAssessment {
            DriverAssessment(
                driver: name, status: .unavailable, reasons: [.init(code, message)], remedy: remedy)
        }
        guard host.supports(filesystem: "zfs") else {
            return unavailable(
                "ZFS_MISSING", "the kernel \(host.kernelRelease) has no zfs",
                "install OpenZFS for this kernel (apt install zfs-dkms, from contrib)")
        }
        guard host.kernelFilesystems.contains("zfs") else {
            return unavailable("ZFS_NOT_LOADED", "the kernel has zfs as a module that is not loaded", "modprobe zfs")
        }
        if host.tools["zfs"] == nil || host.tools["zpool"] == nil {
            return unavailable(
                "TOOL_MISSING", "the commands zfs and zpool are not installed (package zfsutils-linux)",
                "apt install zfsutils-linux")
        }
        let strengths = "snapshots of any size at once, checksums of all data, limits that hold"
        if host.filesystem.type == "zfs" {
            if let reason = host.readOnlyReason {
                return unavailable(reason.code, reason.message, "choose a --root that can be written, or --pool")
            }
            return DriverAssessment(
                driver: name, status: .available, reasons: [.init("FS_ZFS", "\(host.path) is on zfs")],
                strengths: strengths)
        }
        return DriverAssessment(
            driver: name, status: .limited,
            reasons: [
                .init("FS_NOT_ZFS", "\(host.path) is on \(host.filesystem.type)"),
                .init("ZFS_NEEDS_POOL", "a pool or dataset must be named: --driver zfs --pool NAME, or --loop"),
            ],
            remedy: "put --root on zfs, or lamina init --driver zfs --pool NAME", strengths: strengths,
            worksOnLoop: host.readOnlyReason == nil)
    }
}
