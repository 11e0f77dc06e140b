import StorageDriver

extension DeviceMapperDriver {
    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(
            _ code: ReasonCode, _ message: String, _ remedy: String, opens: Bool = false
        ) -> DriverAssessment {
            DriverAssessment(
                driver: name, status: .unavailable, reasons: [.init(code, message)], remedy: remedy, opens: opens)
        }
        guard let mapper = host.deviceMapper else {
            if host.availableModules.contains("dm_mod") {
                return unavailable(
                    .deviceMapperNotLoaded, "the kernel has device-mapper as a module that is not loaded",
                    "modprobe dm_thin_pool")
            }
            return unavailable(
                .deviceMapperMissing, "the kernel \(host.kernelRelease) has no device-mapper",
                "run a kernel with device-mapper (modules dm_mod and dm_thin_pool)")
        }
        var reasons: [DriverAssessment.Reason] = []
        switch host.privilege {
        case .superuser where mapper.version == nil:
            reasons.append(
                .init(.deviceMapperNoNode, "its targets are not known: /dev/mapper/control is made with the first pool")
            )
        case .superuser where mapper.targets["thin-pool"] == nil && !host.availableModules.contains("dm_thin_pool"):
            return unavailable(
                .thinPoolMissing, "device-mapper \(mapper.version ?? "") has no thin-pool target",
                "modprobe dm_thin_pool, or a kernel that has it")
        case .superuser: break
        case .contained, .user:
            reasons.append(.init(.needsRoot, "the targets of device-mapper are shown to the superuser only"))
        }
        if host.tools["mkfs.ext4"] == nil, host.tools["mkfs.xfs"] == nil {
            return unavailable(
                .toolMissing, "neither mkfs.ext4 nor mkfs.xfs is installed", "apt install e2fsprogs", opens: true)
        }
        let free =
            mapper.pools.filter(\.isFree).map { "--pool \($0.name)" } + host.freeDevices.map { "--data \($0.path)" }
        reasons.append(.init(.needsPool, "a pool or a block device must be named: --pool, --data or --loop"))
        if host.tools["thin_check"] == nil {
            reasons.append(
                .init(
                    .thinCheckMissing,
                    "pools are not checked before they are used (package thin-provisioning-tools)"))
        }
        if !host.hasLoop { reasons.append(.init(.loopMissing, "there are no loop devices")) }
        let remedy =
            free.isEmpty
            ? "lamina init --pool NAME, or --data DEVICE"
            : "lamina init --pool NAME, or --data DEVICE; nothing seems to use \(free.joined(separator: ", "))"
        return DriverAssessment(
            driver: name, status: .limited, reasons: reasons, remedy: remedy,
            strengths: "a block device per layer, limits that hold, space shared in blocks of 64 KiB",
            worksOnLoop: host.hasLoop)
    }
}
