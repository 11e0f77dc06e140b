import Glibc
import LinuxSystem
import StorageDriver

/// Block devices that nothing seems to use, from sysfs and from what udev has found on them.
struct BlockDeviceReader {
    /// A pool needs that much at least.
    private static let smallest: UInt64 = 64 << 20
    /// Drivers of memory, of files and of media that are taken out, and dm devices, which somebody has made on purpose.
    private static let ignored = ["loop", "ram", "zram", "sr", "fd", "nbd", "dm-", "mtdblock"]
    /// Devices that are read for a signature where udev knows nothing; each costs a read of the disk.
    private static let mostReads = 16

    private let mounts: MountTable
    private let swaps: String

    init(_ mounts: MountTable) {
        self.mounts = mounts
        swaps = readText("/proc/swaps") ?? ""
    }

    /// - Parameter canOpen: whether devices may be read.
    func free(canOpen: Bool, unseen: inout [String]) -> [HostFacts.FreeDevice] {
        var free: [HostFacts.FreeDevice] = []
        var unknown: [String] = []
        var reads = 0
        for name in candidates() {
            let (directory, path) = ("/sys/class/block/\(name)", "/dev/\(name)")
            guard let bytes = line(directory + "/size").flatMap({ UInt64($0) }).map({ $0 * 512 }),
                bytes >= Self.smallest, let number = line(directory + "/dev").flatMap({ DeviceNumber($0) }),
                !isUsed(directory, path, number)
            else { continue }
            switch Self.isSigned(number) {
            case true?: continue
            case false?: free.append(.init(path: path, bytes: bytes))
            case nil where canOpen && reads < Self.mostReads:
                reads += 1
                if Self.isBlank(path, number) { free.append(.init(path: path, bytes: bytes)) }
            case nil:
                unknown.append(path)
            }
        }
        if !unknown.isEmpty {
            let what = canOpen ? "there are too many to read" : "the superuser alone can read them"
            unseen.append("whether \(unknown.joined(separator: ", ")) carry something: \(what)")
        }
        return free
    }

    /// Disks without partitions, and partitions.
    private func candidates() -> [String] {
        var names: [String] = []
        for disk in (directoryNames("/sys/block") ?? []).sorted()
        where !Self.ignored.contains(where: { disk.hasPrefix($0) }) {
            guard line("/sys/block/\(disk)/removable") != "1", line("/sys/block/\(disk)/hidden") != "1" else {
                continue
            }
            let partitions = (directoryNames("/sys/block/\(disk)") ?? [])
                .filter { $0.hasPrefix(disk) && exists("/sys/block/\(disk)/\($0)/partition") }.sorted()
            names += partitions.isEmpty ? [disk] : partitions
        }
        return names
    }

    private func isUsed(_ directory: String, _ path: String, _ number: DeviceNumber) -> Bool {
        line(directory + "/ro") == "1" || directoryNames(directory + "/holders")?.isEmpty != true
            || mounts.entries.contains { $0.device == number || $0.source == path } || swaps.contains(path + " ")
    }

    /// Whether the device can be read and carries no signature.
    private static func isBlank(_ path: String, _ number: DeviceNumber) -> Bool {
        do throws(SystemError) {
            let device = try BlockDevice(path)
            guard try device.number() == number else { return false }
            return try BlockSignature.find(on: device) == nil
        } catch {
            return false
        }
    }

    /// Whether udev has found a filesystem or a partition table; nil where it keeps nothing of the device.
    private static func isSigned(_ number: DeviceNumber) -> Bool? {
        guard let data = readText("/run/udev/data/b\(number)") else { return nil }
        return data.contains("E:ID_FS_TYPE=") || data.contains("E:ID_PART_TABLE_TYPE=")
    }
}
