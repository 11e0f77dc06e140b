import CISAL
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// What the running kernel has, and what it could load.
struct KernelReader {
    /// Options of its build that matter to drivers.
    private static let options: Set<String> = [
        "MODULES", "USER_NS", "BLK_DEV_LOOP", "BLK_DEV_DM", "DM_THIN_PROVISIONING", "BTRFS_FS", "BTRFS_FS_POSIX_ACL",
        "EXT4_FS", "QUOTA", "QFMT_V2", "XFS_FS", "XFS_QUOTA", "XFS_SUPPORT_V4", "OVERLAY_FS", "OVERLAY_FS_REDIRECT_DIR",
        "OVERLAY_FS_REDIRECT_ALWAYS_FOLLOW", "OVERLAY_FS_INDEX", "OVERLAY_FS_METACOPY", "TMPFS_XATTR", "FUSE_FS",
        "AUFS_FS", "ZFS",
    ]

    let release: String
    let version: KernelVersion
    let configuration: [String: String]?
    let filesystems: Set<String>
    /// With `_` where the names of their files have `-`.
    let modules: Set<String>

    init() {
        release = HostReader.kernelRelease
        version = KernelVersion(release: release)
        configuration = Self.configuration(release)
        let lines = (readText("/proc/filesystems") ?? "").split(separator: "\n")
        filesystems = Set(lines.compactMap { $0.split(separator: "\t").last.map(String.init) })
        modules = Self.modules(release)
    }

    func overlay() -> HostFacts.Overlay? {
        guard filesystems.contains("overlay") || modules.contains("overlay") else { return nil }
        var facts = HostFacts.Overlay(features: [])
        for feature in HostFacts.Overlay.Feature.allCases {
            let value = line("/sys/module/overlay/parameters/\(feature.rawValue)")
            if value != nil || version >= feature.since { facts.features.insert(feature) }
            if value == "Y" { facts.enabled.insert(feature) }
        }
        return facts
    }

    /// - Parameter entry: the mount that the state root is on.
    func btrfs(quotaOf entry: MountTable.Entry?) -> HostFacts.Btrfs? {
        guard filesystems.contains("btrfs") || modules.contains("btrfs") else { return nil }
        let directory = "/sys/fs/btrfs"
        var facts = HostFacts.Btrfs(
            hasSimpleQuota: version >= KernelVersion(6, 7), sendVersion: version >= KernelVersion(6, 0) ? 2 : 1)
        if let features = directoryNames(directory + "/features") {
            facts.features = Set(features)
            facts.hasSimpleQuota = facts.features.contains("simple_quota")
            facts.sendVersion = line(directory + "/features/send_stream_version").flatMap { Int($0) } ?? 1
        }
        if let entry, entry.type == "btrfs" {
            // Named as in /sys/block, whatever the mounted node is called.
            let number = (try? FileStatus(path: entry.source))?.node
            let device = number.flatMap { resolvedPath("/sys/dev/block/\($0)") }?.split(separator: "/").last ?? ""
            let identity = (directoryNames(directory) ?? []).first { exists("\(directory)/\($0)/devices/\(device)") }
            if let identity { facts.quota = Self.quota("\(directory)/\(identity)/qgroups") }
        }
        return facts
    }

    /// The directory is there while quotas are enabled; what is in it has grown with the kernel.
    private static func quota(_ directory: String) -> String {
        guard exists(directory), line(directory + "/enabled") != "0" else { return "off" }
        if line(directory + "/inconsistent") == "1" { return "inconsistent" }
        return line(directory + "/mode") ?? "qgroup"
    }

    func zfs() -> HostFacts.ZFS {
        var pools: [String: String] = [:]
        let directory = "/proc/spl/kstat/zfs"
        for name in directoryNames(directory) ?? [] {
            if let state = line("\(directory)/\(name)/state") { pools[name] = state }
        }
        // The socket's file outlives its daemon; the kernel's list of what is bound does not.
        let sockets = readText("/proc/net/unix") ?? ""
        return HostFacts.ZFS(
            moduleVersion: line("/sys/module/zfs/version"), hasFuseDaemon: sockets.contains("/run/zfs/zfs_socket"),
            pools: pools)
    }

    func aufsVersion() -> String? {
        guard filesystems.contains("aufs") else { return nil }
        return line("/sys/module/aufs/version") ?? line("/sys/fs/aufs/version") ?? "unknown"
    }

    // MARK: Files of the kernel's build

    private static func modules(_ release: String) -> Set<String> {
        var names: Set<String> = []
        for list in ["modules.dep", "modules.builtin"] {
            for line in (readText("/lib/modules/\(release)/\(list)") ?? "").utf8.split(separator: UInt8(ascii: "\n")) {
                let path = line.prefix { $0 != UInt8(ascii: ":") }
                let file = path.lastIndex(of: UInt8(ascii: "/")).map { path[path.index(after: $0)...] } ?? path
                let name = file.prefix { $0 != UInt8(ascii: ".") }
                names.insert(
                    String(decoding: name.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : $0 }, as: UTF8.self))
            }
        }
        return names
    }

    /// From the kernel itself, or from the file that distributions keep beside it.
    private static func configuration(_ release: String) -> [String: String]? {
        guard let text = inflated("/proc/config.gz") ?? readText("/boot/config-\(release)") else { return nil }
        var values: [String: String] = [:]
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) where line.starts(with: "CONFIG_".utf8) {
            let parts = line.dropFirst("CONFIG_".utf8.count).split(separator: UInt8(ascii: "="), maxSplits: 1)
            guard parts.count == 2 else { continue }
            let name = String(decoding: parts[0], as: UTF8.self)
            if options.contains(name) { values[name] = String(decoding: parts[1], as: UTF8.self) }
        }
        return values
    }

    /// A gzip file of one member, whose last four bytes tell its size (RFC 1952).
    private static func inflated(_ file: String) -> String? {
        guard let descriptor = try? FileDescriptor.opening(file) else { return nil }
        defer { descriptor.closeQuietly() }
        var packed: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor.rawValue, &chunk, chunk.count)
            if count <= 0 { break }
            packed += chunk[..<count]
        }
        guard packed.count > 18 else { return nil }
        let size = packed.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        // No kernel has a configuration of more than a few hundred KB.
        guard size < 16 << 20 else { return nil }
        let state = UnsafeMutablePointer<inflate_state>.allocate(capacity: 1)
        defer { state.deallocate() }
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
        return packed.withUnsafeMutableBufferPointer { input -> String? in
            state.pointee.next_in = input.baseAddress
            state.pointee.avail_in = UInt32(input.count)
            let bytes = [UInt8](unsafeUninitializedCapacity: size) { output, count in
                state.pointee.next_out = output.baseAddress
                state.pointee.avail_out = UInt32(size)
                let isWhole = isal_inflate(state) == 0
                count = isWhole ? size - Int(state.pointee.avail_out) : 0
            }
            return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
        }
    }
}
