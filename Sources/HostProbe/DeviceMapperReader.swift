import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage
import ThinPool

/// device-mapper, and the thin pools that are active.
enum DeviceMapperReader {
    /// Asks device-mapper only where the kernel has it already, and through its node only where that is there: opening
    /// it would load the module, and libdevmapper makes the node where it is missing.
    static func read(_ privilege: HostFacts.Privilege, unseen: inout [String]) -> HostFacts.DeviceMapper? {
        guard DeviceMapper.isInKernel else { return nil }
        let nothing = HostFacts.DeviceMapper(version: nil, targets: [:])
        guard privilege == .superuser else {
            unseen.append("device-mapper's targets and pools: they are shown to the superuser only")
            return nothing
        }
        guard (try? FileStatus(path: "/dev/mapper/control"))?.kind == .characterDevice,
            let version = try? DeviceMapper.version()
        else {
            unseen.append("device-mapper's targets and pools: its node /dev/mapper/control cannot be asked")
            return nothing
        }
        return HostFacts.DeviceMapper(
            version: version, targets: (try? DeviceMapper.targets()) ?? [:], pools: pools())
    }

    /// Each device is asked for its table once; those that sysfs shows on top of a pool are not, and there may be
    /// thousands.
    private static func pools() -> [HostFacts.DeviceMapper.Pool] {
        var pools: [HostFacts.DeviceMapper.Pool] = []
        var above: Set<String> = []
        // A pool is made before what is on it.
        let devices = (directoryNames("/sys/block") ?? []).filter { $0.hasPrefix("dm-") }
            .sorted { ($0.count, $0) < ($1.count, $1) }
        for device in devices where !above.contains(device) {
            guard let name = line("/sys/block/\(device)/dm/name"), let table = try? DeviceMapper.table(name),
                table.count == 1, table[0].type == "thin-pool"
            else { continue }
            let holders = directoryNames("/sys/block/\(device)/holders") ?? []
            above.formUnion(holders)
            pools.append(pool(name, device, table[0], users: holders.compactMap { line("/sys/block/\($0)/dm/name") }))
        }
        return pools
    }

    private static func pool(
        _ name: String, _ device: String, _ target: DMTarget, users: [String]
    ) -> HostFacts.DeviceMapper.Pool {
        let uuid = line("/sys/block/\(device)/dm/uuid") ?? ""
        let owner = ([name] + users).compactMap { Self.owner(name: $0, uuid: uuid) }.first
        var pool = HostFacts.DeviceMapper.Pool(name: name, mode: nil, owner: owner, users: users.sorted())
        if let status = try? ThinPool(name: name).status() {
            let block = (ThinPoolTable(parsing: target.parameters)?.blockSectors ?? 0) * ThinPool.sectorSize
            pool.mode = status.mode.rawValue
            pool.needsCheck = status.needsCheck
            pool.transactionID = status.transactionID
            pool.totalBytes = status.totalDataBlocks * block
            pool.usedBytes = status.usedDataBlocks * block
        }
        return pool
    }

    /// By what programs call their devices.
    static func owner(name: String, uuid: String) -> String? {
        if name.hasPrefix("lamina-") { return "Lamina root " + name.dropFirst("lamina-".count).prefix { $0 != "-" } }
        if name.hasPrefix("docker-") { return "Docker" }
        if uuid.hasPrefix("stratis-") { return "Stratis" }
        if uuid.hasPrefix("LVM-") { return "LVM" }
        return nil
    }
}
