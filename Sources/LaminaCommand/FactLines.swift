import Lamina

/// The facts of a host for people, a line each.
struct FactLines {
    private(set) var lines: [(key: String, value: String)] = []

    init(_ facts: HostFacts) {
        add("kernel", facts.kernelRelease)
        let container = facts.container.map { ", in a container (\($0))" } ?? ""
        add("process", facts.privilege.rawValue + container)
        addRoot(facts.path, facts.filesystem)
        let overlay = facts.overlay.map { Self.list($0.features.map(\.rawValue)) }
        add("overlay", overlay ?? "not in this kernel")
        add("btrfs", facts.btrfs.map(Self.btrfs) ?? "not in this kernel")
        add("zfs", Self.zfs(facts.zfs))
        add("aufs", facts.aufsVersion ?? "not in this kernel")
        add("device-mapper", facts.deviceMapper.map(Self.deviceMapper) ?? "not in this kernel now")
        for pool in facts.deviceMapper?.pools ?? [] { add("thin pool", Self.pool(pool)) }
        for device in facts.freeDevices { add("free device", "\(device.path), \(ByteCount(device.bytes))") }
        add("loop devices", facts.hasLoop ? "yes" : "no")
        add("tools", Self.list(facts.tools.keys))
        if let configuration = facts.kernelConfiguration {
            add("configuration", Self.list(configuration.map { "\($0.key)=\($0.value)" }))
        }
        for blind in facts.unseen { add("not seen", blind) }
    }

    private mutating func add(_ key: String, _ value: String) { lines.append((key, value)) }

    private mutating func addRoot(_ path: String, _ place: HostFacts.Filesystem) {
        let magic = "0x" + String(place.magic, radix: 16)
        let mode = place.isReadOnly ? ", read-only" : ""
        add("root", "\(path) on \(place.type) (\(magic), \(place.source) at \(place.mountPoint))\(mode)")
        let inodes = place.totalInodes > 0 ? ", \(place.freeInodes) of \(place.totalInodes) inodes free" : ""
        add("space", "\(ByteCount(place.freeBytes)) of \(ByteCount(place.totalBytes)) free" + inodes)
        let features: [(String, Bool?)] = [
            ("d_type", place.hasEntryTypes), ("reflink", place.hasReflink), ("project quota", place.hasProjectQuota),
            ("idmapped mounts", place.hasIDMappedMounts),
        ]
        add("features", features.map { "\($0.0) \(Self.word($0.1))" }.joined(separator: ", "))
    }

    private static func btrfs(_ facts: HostFacts.Btrfs) -> String {
        let quota = facts.quota.map { ", quota here: \($0)" } ?? ""
        return "simple quota \(word(facts.hasSimpleQuota)), send version \(facts.sendVersion)" + quota
    }

    private static func zfs(_ facts: HostFacts.ZFS) -> String {
        if let version = facts.moduleVersion { return "\(version), pools: \(list(facts.pools.keys))" }
        return facts.hasFuseDaemon ? "zfs-fuse" : "not in this kernel now"
    }

    private static func deviceMapper(_ facts: HostFacts.DeviceMapper) -> String {
        let targets = facts.targets.isEmpty ? "" : ": " + list(facts.targets.map { "\($0.key) \($0.value)" })
        return (facts.version ?? "in the kernel") + targets
    }

    private static func pool(_ pool: HostFacts.DeviceMapper.Pool) -> String {
        let mode = (pool.mode ?? "unknown") + (pool.needsCheck ? ", needs a check" : "")
        let users = pool.users.count == 1 ? "1 device" : "\(pool.users.count) devices"
        let owner = pool.isFree ? "nothing in it" : "of \(pool.owner ?? "somebody")"
        return "\(pool.name): \(mode), \(ByteCount(pool.usedBytes)) of \(ByteCount(pool.totalBytes)) used, "
            + "\(users) active, \(owner)"
    }

    private static func word(_ fact: Bool?) -> String { fact.map { $0 ? "yes" : "no" } ?? "unknown" }

    private static func list(_ words: some Sequence<String>) -> String {
        let words = words.sorted()
        return words.isEmpty ? "none" : words.joined(separator: ", ")
    }
}
