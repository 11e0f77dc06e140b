import StorageDriver

extension ZFSDriver {
    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(_ code: ReasonCode, _ message: String, _ remedy: String) -> DriverAssessment {
            DriverAssessment(driver: name, status: .unavailable, reasons: [.init(code, message)], remedy: remedy)
        }
        guard host.supports(filesystem: "zfs") else {
            return unavailable(
                .zfsMissing, "the kernel \(host.kernelRelease) has no zfs",
                "install OpenZFS for this kernel (apt install zfs-dkms, from contrib)")
        }
        guard host.kernelFilesystems.contains("zfs") else {
            return unavailable(.zfsNotLoaded, "the kernel has zfs as a module that is not loaded", "modprobe zfs")
        }
        if host.tools["zfs"] == nil || host.tools["zpool"] == nil {
            return unavailable(
                .toolMissing, "the commands zfs and zpool are not installed (package zfsutils-linux)",
                "apt install zfsutils-linux")
        }
        let strengths = "snapshots of any size at once, checksums of all data, limits that hold"
        if host.filesystem.type == "zfs" {
            return DriverAssessment(
                driver: name, status: .available, reasons: [.init(.onZFS, "\(host.path) is on zfs")],
                strengths: strengths)
        }
        let pools = host.zfs.pools.isEmpty ? "" : " (imported: \(host.zfs.pools.keys.sorted().joined(separator: ", ")))"
        return DriverAssessment(
            driver: name, status: .limited,
            reasons: [
                .init(.notZFS, "\(host.path) is on \(host.filesystem.type)"),
                .init(.zfsNeedsPool, "a pool or dataset must be named: --driver zfs --pool NAME, or --loop"),
            ],
            remedy: "put --root on zfs, or lamina init --driver zfs --pool NAME" + pools, strengths: strengths,
            worksOnLoop: true)
    }
}
