import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage
import ThinPool

/// The thin pool that a root's layers are in: named by the user, or made of block devices or of files.
struct PoolGround: Sendable {
    enum Backing: Sendable {
        /// A pool that the user has made, all of it ours while the root lives.
        case named(String)
        /// Made by us; with `metadata` nil, both parts are on `data`.
        case devices(data: String, metadata: String?)
        case loop(bytes: UInt64)

        /// As `DriverStatus` shows it.
        var name: String {
            switch self {
            case .named: "pool"
            case .devices: "devices"
            case .loop: "loop"
            }
        }
    }

    let root: RootLocation
    let backing: Backing
    /// Inside the layers: ext4 or xfs.
    let filesystem: String
    /// Size of the filesystem of layers without a limit, in bytes.
    let defaultBytes: UInt64
    /// Size of the metadata where the pool is on one device: what is behind it is data, also when the device grows.
    private let metadataBytes: UInt64?
    /// Of the devices as they were when they were given to us, by path.
    private let identities: [String: String]

    init(_ root: RootLocation, _ configuration: DriverConfiguration) {
        self.root = root
        filesystem = configuration["filesystem"] ?? "ext4"
        defaultBytes = configuration["defaultBytes"].flatMap { UInt64($0) } ?? PoolPlan.largestDefault
        metadataBytes = configuration["metadataBytes"].flatMap { UInt64($0) }
        identities = PoolPlan.identities(in: configuration)
        if let name = configuration["pool"] {
            backing = .named(name)
        } else if let data = configuration["data"] {
            backing = .devices(data: data, metadata: configuration["metadata"])
        } else {
            backing = .loop(bytes: configuration["loopBytes"].flatMap { UInt64($0) } ?? 0)
        }
    }

    /// The pool's transaction id while it is ours: the root's id, never 0. Claimed by compare-and-swap, so that two
    /// roots never share a pool.
    var owner: UInt64 { UInt64(root.id, radix: 16) ?? 1 }

    var pool: ThinPool {
        if case .named(let name) = backing { return ThinPool(name: name) }
        return ThinPool(name: prefix + "pool")
    }

    /// Begins the name of every dm device that is ours.
    var prefix: String { "lamina-\(root.id)-" }
    func uuid(_ part: String) -> String { "LAMINA-\(root.id)-\(part)" }

    var directory: String { root.path + "/devicemapper" }
    /// Held while the pool is being activated, and while its metadata snapshot is in use.
    var lock: String { directory + "/lock" }
    /// Indexes of the names in committed layers.
    private var nameIndexes: String { directory + "/names" }
    func nameIndex(_ layer: LayerNumber) -> String { "\(nameIndexes)/\(layer)" }
    private var dataFile: String { directory + "/data.img" }
    private var metadataFile: String { directory + "/metadata.img" }
    private var linearData: String { prefix + "data" }
    private var linearMetadata: String { prefix + "metadata" }

    // MARK: Making

    /// Makes the pool, unless it is there, and claims it.
    func build() throws(StorageError) {
        try attempt("make pool", pool.name) {
            try makeDirectory(directory)
            try makeDirectory(nameIndexes)
            if case .loop(let bytes) = backing {
                try makeSparseFile(dataFile, size: bytes)
                try makeSparseFile(metadataFile, size: PoolPlan.metadataBytes(for: bytes))
            }
        }
        try activate(isNew: true)
        try attempt("claim pool", pool.name) {
            if try pool.status().transactionID == owner { return }
            do throws(SystemError) {
                if try devices().isEmpty { return try pool.setTransactionID(from: 0, to: owner) }
            } catch {
                guard error.errno == .invalidArgument else { throw error }
            }
            throw StorageError(
                .failedPrecondition, "claim pool", pool.name, "another root or program uses it",
                hint: "give Lamina a pool of its own")
        }
    }

    /// Makes the pool active where it is not: after a reboot.
    func activate(isNew: Bool = false) throws(StorageError) {
        try attempt("open pool", pool.name) {
            if try DeviceMapper.info(pool.name)?.hasTable ?? false { return }
            if case .named = backing {
                throw StorageError(
                    .unavailable, "open pool", pool.name, "there is no such device-mapper device",
                    hint: "activate the pool (vgchange -ay, or as it was made)")
            }
            let lock = try FileLock.take(lock, byte: 0, .exclusive)
            defer { extendLifetime(lock) }
            if try DeviceMapper.infoUnlessUnfinished(pool.name) != nil { return }
            switch backing {
            case .named: break
            case .loop:
                // Free themselves again unless the pool has taken them.
                let data = try LoopDevice(file: dataFile)
                let metadata = try LoopDevice(file: metadataFile)
                try makePool(data: data.path, metadata: metadata.path, isNew: isNew)
                extendLifetime(data)
                extendLifetime(metadata)
            case .devices(let data, let metadata?):
                for device in [data, metadata] { try requireSame(device) }
                try makePool(data: data, metadata: metadata, isNew: isNew)
            case .devices(let data, nil):
                try requireSame(data)
                do {
                    try splitDevice(data)
                    try makePool(
                        data: DeviceMapper.path(linearData), metadata: DeviceMapper.path(linearMetadata), isNew: isNew)
                } catch {
                    // Nothing is to hold a device that may not be ours.
                    for part in [linearMetadata, linearData] { try? DeviceMapper.removePatiently(part) }
                    throw error
                }
            }
        }
    }

    /// - Parameter isNew: whether what is on the metadata device may be overwritten, unless it is this root's already.
    private func makePool(data: String, metadata: String, isNew: Bool) throws {
        let superblock = try? ThinSuperblock(of: metadata)
        if let superblock, superblock.transactionID == owner {
            if superblock.dataBlocks > (try BlockDevice(data).size()) / PoolPlan.blockBytes {
                throw StorageError(
                    .failedPrecondition, "open pool", pool.name, "\(data) is smaller than the pool's data",
                    hint: "is it the right device?")
            }
            if let check = Program("thin_check") {
                try attempt("check pool", pool.name, hint: "thin_repair mends a copy of the metadata (\(metadata))") {
                    try check.run(["-q", metadata], on: metadata)
                }
            }
        } else if isNew {
            // A pool's metadata is made anew where the first block is zero.
            try Self.zeroFirstBlock(of: metadata)
        } else {
            let (kind, reason): (StorageError.Kind, String) =
                superblock == nil
                ? (.dataLoss, "does not begin with a pool's metadata")
                : (.failedPrecondition, "has another root's pool")
            throw StorageError(
                kind, "open pool", pool.name, "\(metadata) \(reason)",
                hint: "is it the right device? thin_repair mends a copy of the metadata")
        }
        let bytes = try BlockDevice(data).size()
        let blocks = bytes / PoolPlan.blockBytes
        // New blocks are zeroed (no skip_block_zeroing): what removed layers had must not shine through. A full pool
        // fails writes at once instead of holding them for a minute.
        let table = ThinPoolTable(
            metadata: metadata, data: data, blockSectors: PoolPlan.blockBytes / ThinPool.sectorSize,
            lowWaterBlocks: blocks / 10, features: [.errorIfNoSpace])
        let target = DMTarget(
            length: blocks * PoolPlan.blockBytes / ThinPool.sectorSize, type: "thin-pool",
            parameters: table.parameters)
        try DeviceMapper.create(pool.name, uuid: uuid("pool"), [target])
    }

    /// A device that had something to know it by must have it still.
    private func requireSame(_ device: String) throws {
        if let known = identities[device], try DeviceIdentity.read(device) != known {
            throw StorageError(
                .failedPrecondition, "open pool", pool.name, "\(device) is another device than when the root was made",
                hint: "it was \(known); names of disks may change with a reboot: make roots with one of /dev/disk/by-id"
            )
        }
    }

    /// Fails with EBUSY while something has the device.
    private static func zeroFirstBlock(of path: String) throws {
        let device = try BlockDevice(path, writable: true, exclusively: true)
        try [UInt8](repeating: 0, count: 4096).withUnsafeBytes { zeros in
            try device.descriptor.writeFully(zeros, at: 0, to: path)
        }
        try device.descriptor.synchronize()
    }

    /// Metadata at the beginning of the device, data behind it.
    private func splitDevice(_ device: String) throws {
        let bytes = try BlockDevice(device).size()
        let sectors = bytes / ThinPool.sectorSize
        let metadata = (metadataBytes ?? PoolPlan.metadataBytes(for: bytes)) / ThinPool.sectorSize
        for (name, part, start, length) in [
            (linearMetadata, "metadata", 0, metadata), (linearData, "data", metadata, sectors - metadata),
        ] where try DeviceMapper.infoUnlessUnfinished(name) == nil {
            let target = DMTarget(length: length, type: "linear", parameters: "\(device) \(start)")
            try DeviceMapper.create(name, uuid: uuid(part), [target])
        }
    }

    // MARK: Unmaking

    /// Removes every device and thin device of this root, and gives the pool back or takes it down.
    func destroy() throws(StorageError) {
        try attempt("remove pool", pool.name) {
            var wasActive = false
            if DeviceMapper.isInKernel {
                wasActive = try DeviceMapper.info(pool.name)?.hasTable ?? false
                let mine = [pool.name, linearData, linearMetadata]
                for name in try DeviceMapper.names() where name.hasPrefix(prefix) && !mine.contains(name) {
                    try DeviceMapper.removePatiently(name)
                }
                if case .named = backing {
                    try giveBack()
                } else {
                    for name in mine { try DeviceMapper.removePatiently(name) }
                }
            }
            if case .devices(let data, let metadata) = backing {
                // Only what this root has written: the device may be another one by now, or never have been ours.
                let device = metadata ?? data
                if wasActive || (try? ThinSuperblock(of: device))?.transactionID == owner {
                    try Self.zeroFirstBlock(of: device)
                }
            }
            for name in directoryNames(nameIndexes) ?? [] { unlink("\(nameIndexes)/\(name)") }
            rmdir(nameIndexes)
            for file in [dataFile, metadataFile, lock] { unlink(file) }
            rmdir(directory)
        }
    }

    /// Empties a pool that the user has made, if it is ours.
    private func giveBack() throws {
        guard try DeviceMapper.info(pool.name) != nil, try pool.status().transactionID == owner else { return }
        for device in try devices() { try pool.deletePatiently(device.id) }
        try pool.setTransactionID(from: owner, to: 0)
    }

    // MARK: Metadata

    /// All thin devices of the pool.
    func devices() throws(SystemError) -> [ThinDeviceDetails] {
        try withMetadata { metadata throws(SystemError) in try metadata.devices() }
    }

    func withMetadata<Result>(
        _ body: (ThinMetadata) throws(SystemError) -> Result
    ) throws(SystemError) -> Result {
        let lock = try FileLock.take(lock, byte: 1, .exclusive)
        defer { extendLifetime(lock) }
        let device = try Self.node(of: try pool.table().metadata)
        return try ThinMetadata.withSnapshot(of: pool, device: device, body)
    }

    /// The node of a block device that a table names by number.
    private static func node(of device: String) throws(SystemError) -> String {
        guard !device.hasPrefix("/") else { return device }
        if let name = readText("/sys/dev/block/\(device)/dm/name") { return DeviceMapper.path(String(name.dropLast())) }
        let lines = (readText("/sys/dev/block/\(device)/uevent") ?? "").split(separator: "\n")
        guard let name = lines.first(where: { $0.hasPrefix("DEVNAME=") }) else {
            throw SystemError("find node of", device, .noSuchFileOrDirectory)
        }
        return "/dev/" + name.dropFirst("DEVNAME=".count)
    }
}
