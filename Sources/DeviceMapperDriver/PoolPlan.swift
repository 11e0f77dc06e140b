import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage
import ThinPool

/// Judges what the user wants a pool to be made of. Makes nothing.
enum PoolPlan {
    /// The least block that dm-thin takes, for snapshots that are written a little.
    static let blockBytes: UInt64 = 64 << 10
    static let largestDefault: UInt64 = 10 << 30
    static let smallestPool: UInt64 = 64 << 20

    /// The kernel document's guide is 48 bytes a block and 2 MiB at least; more leaves room for many snapshots, which
    /// have trees of their own. Above 15.875 GiB the kernel uses none.
    static func metadataBytes(for data: UInt64) -> UInt64 {
        let guide = data / blockBytes * 48 * 2
        let bytes = min(max(guide, min(32 << 20, data / 8)), 15 << 30)
        let unit: UInt64 = 1 << 20
        return (bytes + unit - 1) / unit * unit
    }

    static func make(_ root: RootLocation, _ options: DriverOptions) throws(StorageError) -> DriverConfiguration {
        func fail(_ kind: StorageError.Kind, _ reason: String, hint: String? = nil) -> StorageError {
            StorageError(kind, "init", root.path, reason, hint: hint)
        }
        guard DeviceMapper.isInKernel else {
            throw fail(
                .failedPrecondition, "the kernel has no device-mapper",
                hint: "modprobe dm_thin_pool, or a kernel that has it")
        }
        let filesystem = options.filesystem ?? "ext4"
        guard ["ext4", "xfs"].contains(filesystem) else {
            throw fail(.invalidArgument, "--fs is ext4 or xfs, not \(filesystem)")
        }
        guard Program("mkfs.\(filesystem)") != nil else {
            throw fail(
                .failedPrecondition, "mkfs.\(filesystem) is not installed",
                hint: "apt install \(filesystem == "xfs" ? "xfsprogs" : "e2fsprogs")")
        }
        var configuration = ["filesystem": filesystem]
        let bytes: UInt64
        switch options.backing {
        case nil:
            throw fail(
                .invalidArgument, "devicemapper needs a pool or a device",
                hint: "--pool NAME, --data DEVICE, or --loop SIZE to try out in a file")
        case .loop(let size):
            guard size >= smallestPool else {
                throw fail(.invalidArgument, "a pool needs \(ByteCount(smallestPool)) at least, not \(ByteCount(size))")
            }
            bytes = size
            configuration["loopBytes"] = String(size)
        case .pool(let name):
            let plain = name.hasPrefix("/dev/mapper/") ? String(name.dropFirst("/dev/mapper/".count)) : name
            bytes = try checkPool(plain)
            configuration["pool"] = plain
        case .devices(let data, let metadata):
            // Links of /dev/disk lead to the same disk in every boot: they are kept.
            let devices = [data, metadata].compactMap { $0.map(absolutePath) }
            bytes = try checkDevice(devices[0], force: options.force)
            if devices.count == 2 {
                _ = try checkDevice(devices[1], atLeast: 2 << 20, force: options.force)
                let nodes = try attempt("init", data) { try devices.map { path in try FileStatus(path: path).node } }
                if nodes[0] == nodes[1] { throw fail(.invalidArgument, "--data and --metadata are the same") }
            } else {
                configuration["metadataBytes"] = String(metadataBytes(for: bytes))
            }
            for (key, device) in zip(["data", "metadata"], devices) {
                configuration[key] = device
                configuration[key + "Identity"] = try attempt("init", device) { try DeviceIdentity.read(device) }
            }
        }
        configuration["defaultBytes"] = String(max(min(bytes, largestDefault), LayerFilesystem.smallest(filesystem)))
        return configuration
    }

    /// What the devices of a configuration were known by when it was made, by path.
    static func identities(in configuration: DriverConfiguration) -> [String: String] {
        var identities: [String: String] = [:]
        for key in ["data", "metadata"] {
            if let path = configuration[key] { identities[path] = configuration[key + "Identity"] }
        }
        return identities
    }

    /// - Returns: the pool's size in bytes.
    private static func checkPool(_ name: String) throws(StorageError) -> UInt64 {
        func refuse(_ kind: StorageError.Kind, _ reason: String, hint: String? = nil) -> StorageError {
            StorageError(kind, "init", name, reason, hint: hint)
        }
        return try attempt("init", name) {
            guard !name.isEmpty, !name.contains("/"), try DeviceMapper.info(name) != nil else {
                throw refuse(.notFound, "there is no device-mapper device of this name", hint: "dmsetup ls")
            }
            let types = try DeviceMapper.table(name).map(\.type)
            guard types == ["thin-pool"] else {
                throw refuse(.invalidArgument, "it is no thin pool but \(types.joined(separator: ", "))")
            }
            let pool = ThinPool(name: name)
            let status = try pool.status()
            try PoolHealth.requireWritable(status, name)
            if status.transactionID != 0 || status.usedDataBlocks != 0 {
                throw refuse(
                    .failedPrecondition,
                    "another root or program uses it (transaction id \(status.transactionID), "
                        + "\(status.usedDataBlocks) data blocks in use)", hint: "give Lamina a pool of its own")
            }
            return status.totalDataBlocks * (try pool.table().blockSectors) * ThinPool.sectorSize
        }
    }

    /// - Returns: the device's size in bytes.
    private static func checkDevice(
        _ path: String, atLeast: UInt64 = smallestPool, force: Bool
    ) throws(StorageError) -> UInt64 {
        func refuse(_ kind: StorageError.Kind, _ reason: String, hint: String? = nil) -> StorageError {
            StorageError(kind, "init", path, reason, hint: hint)
        }
        return try attempt("init", path) {
            if !exists(path) { throw refuse(.notFound, "there is no such device") }
            if try FileStatus(path: path).kind != .blockDevice {
                throw refuse(.invalidArgument, "it is no block device")
            }
            // Opened exclusively: fails while it is mounted or part of another device, whatever --force says.
            let device: BlockDevice
            do throws(SystemError) {
                device = try BlockDevice(path, exclusively: true)
            } catch {
                guard error.errno == .resourceBusy else { throw error }
                throw StorageError(.failedPrecondition, "init", path, "it is in use", errno: .resourceBusy)
            }
            if try device.isReadOnly() { throw refuse(.failedPrecondition, "it is read-only") }
            let size = try device.size()
            if size < atLeast {
                throw refuse(.invalidArgument, "it has \(ByteCount(size)), \(ByteCount(atLeast)) are needed")
            }
            if !force, let found = try BlockSignature.find(on: device) {
                throw refuse(
                    .failedPrecondition, "it carries \(found)", hint: "--force overwrites it, and all that is on it")
            }
            return size
        }
    }
}
