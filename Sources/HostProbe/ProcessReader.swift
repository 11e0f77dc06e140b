import Glibc
import LinuxSystem
import StorageDriver

/// What this process may do, and whether it is in a container.
enum ProcessReader {
    /// CAP_SYS_ADMIN (linux/capability.h), without which nothing is mounted.
    private static let administration: UInt64 = 1 << 21

    static func privilege() -> HostFacts.Privilege {
        guard geteuid() == 0 else { return .user }
        let status = readText("/proc/self/status") ?? ""
        let capabilities = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
            .flatMap { UInt64($0.dropFirst("CapEff:".count).filter { !$0.isWhitespace }, radix: 16) }
        if isInUserNamespace { return .contained }
        return (capabilities ?? UInt64.max) & administration != 0 ? .superuser : .contained
    }

    /// What shows a container: the files that its runtime makes, and the map of users.
    static func container() -> String? {
        if exists("/run/.containerenv") { return "podman" }
        if exists("/.dockerenv") { return "docker" }
        if let name = getenv("container").map({ String(cString: $0) }), !name.isEmpty { return name }
        return isInUserNamespace ? "user namespace" : nil
    }

    /// The first namespace maps all users to themselves.
    private static var isInUserNamespace: Bool {
        let map = (readText("/proc/self/uid_map") ?? "").split(whereSeparator: \.isWhitespace)
        return !map.isEmpty && map != ["0", "0", "4294967295"]
    }
}
