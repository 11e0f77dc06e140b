import StorageDriver

extension DeviceMapperDriver {
    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(_ reasons: [DriverAssessment.Reason], _ remedy: String) -> DriverAssessment {
            DriverAssessment(driver: name, status: .unavailable, reasons: reasons, remedy: remedy)
        }
        guard let mapper = host.deviceMapper else {
            if host.availableModules.contains("dm_mod") {
                return unavailable(
                    [.init("DM_NOT_LOADED", "the kernel has device-mapper as a module that is not loaded")],
                    "modprobe dm_thin_pool")
            }
            return unavailable(
                [.init("DM_MISSING", "the kernel \(host.kernelRelease) has no device-mapper")],
                "run a kernel with device-mapper (modules dm_mod and dm_thin_pool)")
        }
        var reasons: [DriverAssessment.Reason] = []
        if host.isRoot {
            if mapper.targets["thin-pool"] == nil, !host.availableModules.contains("dm_thin_pool") {
                return unavailable(
                    [.init("THIN_POOL_MISSING", "device-mapper \(mapper.version ?? "") has no thin-pool target")],
                    "modprobe dm_thin_pool, or a kernel that has it")
            }
        } else {
            reasons.append(.init("NEEDS_ROOT", "the targets of device-mapper are shown to the superuser only"))
        }
        if host.tools["mkfs.ext4"] == nil, host.tools["mkfs.xfs"] == nil {
            return unavailable(
                reasons + [.init("TOOL_MISSING", "neither mkfs.ext4 nor mkfs.xfs is installed")],
                "apt install e2fsprogs")
        }
        reasons.append(.init("DM_NEEDS_POOL", "a pool or a block device must be named: --pool, --data or --loop"))
        if host.tools["thin_check"] == nil {
            reasons.append(
                .init(
                    "THIN_CHECK_MISSING",
                    "pools are not checked before they are used (package thin-provisioning-tools)"))
        }
        if !host.hasLoop { reasons.append(.init("LOOP_MISSING", "there are no loop devices")) }
        return DriverAssessment(
            driver: name, status: .limited, reasons: reasons,
            remedy: "lamina init --pool NAME, or --data DEVICE",
            strengths: "a block device per layer, limits that hold, space shared in blocks of 64 KiB",
            worksOnLoop: host.hasLoop)
    }
}
