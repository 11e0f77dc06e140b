import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage
import ThinPool

/// A thin device per layer, with a filesystem inside, snapshots of each other in one pool.
///
/// The thin id is the layer's number. Id 0 is the base: a filesystem made once, of which empty layers are snapshots.
/// All devices are activated with one length, larger than any filesystem in them: the filesystem's own size is the
/// layer's, so that no size has to be kept beside it, and what is not mapped costs nothing.
public struct DeviceMapperDriver: StorageDriver {
    public static let name = "devicemapper"

    /// Where the base is made before it gets its own id: it has that only when it is whole.
    private static let unfinishedBase = ThinPool.largestID
    private static let base: UInt64 = 0
    /// Bytes; the most that ext4 holds with blocks of 4 KiB.
    private static let deviceBytes: UInt64 = 16 << 40

    let ground: PoolGround
    let blockBytes: UInt64
    var pool: ThinPool { ground.pool }
    var filesystem: LayerFilesystem { LayerFilesystem(type: ground.filesystem) }

    public static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration {
        try PoolPlan.make(root, options)
    }

    public static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        let ground = PoolGround(root, configuration)
        try ground.build()
        let device = ground.prefix + "base"
        try attempt("make base in", ground.pool.name) {
            let pool = ground.pool
            if try !ground.devices().contains(where: { $0.id == base }) {
                // What a build that did not end has left of it is made anew.
                try DeviceMapper.removePatiently(device)
                try pool.deletePatiently(unfinishedBase)
                try pool.createThin(unfinishedBase)
                try pool.activate(unfinishedBase, as: device, uuid: ground.uuid("base"), bytes: deviceBytes)
                try LayerFilesystem(type: ground.filesystem).make(
                    on: DeviceMapper.path(device), bytes: ground.defaultBytes)
                try DeviceMapper.removePatiently(device)
                try pool.createSnapshot(base, of: unfinishedBase)
            }
            try pool.deletePatiently(unfinishedBase)
        }
    }

    public init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        let ground = PoolGround(root, configuration)
        guard DeviceMapper.isInKernel else {
            throw StorageError(
                .unavailable, "open pool", ground.pool.name, "the kernel has no device-mapper",
                hint: "modprobe dm_thin_pool")
        }
        try ground.activate()
        let (status, table) = try attempt("open pool", ground.pool.name) {
            (try ground.pool.status(), try ground.pool.table())
        }
        // A pool that has failed does not tell whose it is.
        guard status.mode == .failed || status.transactionID == ground.owner else {
            throw StorageError(
                .failedPrecondition, "open pool", ground.pool.name,
                "it belongs to another root or program (transaction id \(status.transactionID))")
        }
        self.ground = ground
        blockBytes = table.blockSectors * ThinPool.sectorSize
    }

    public static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try PoolGround(root, configuration).destroy()
    }

    // MARK: Life cycle

    public func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        guard layer.rawValue < Self.unfinishedBase else {
            throw StorageError(
                .resourceExhausted, "create", objectName(layer), "a thin pool has numbers for 16,777,214 layers only",
                hint: "make a new root, and import the layers there")
        }
        try attempt("create", objectName(layer)) { try PoolHealth.requireRoom(try pool.status(), pool.name) }
        if let parent {
            // Others may be activating the parent now, whose device then has no table yet.
            let info = try attempt("look up", objectName(parent)) { try DeviceMapper.info(objectName(parent)) }
            if let info, info.hasTable, !info.isReadOnly {
                guard info.isDeferredRemove else {
                    throw StorageError(
                        .failedPrecondition, "create", objectName(layer), "its parent is active for writing",
                        errno: .resourceBusy)
                }
                // The kernel has it to remove, and may have others before it.
                try removeDevice(of: parent)
            }
        }
        if let limit, limit > Self.deviceBytes {
            throw StorageError(
                .invalidArgument, "create", objectName(layer), "a layer has \(ByteCount(Self.deviceBytes)) at most")
        }
        do throws(StorageError) {
            try attempt("create", objectName(layer)) {
                if parent == nil, let limit, limit != ground.defaultBytes {
                    try makeEmpty(layer, bytes: limit)
                } else {
                    try fresh(layer) { () throws(SystemError) in
                        try pool.createSnapshot(layer.rawValue, of: parent?.rawValue ?? Self.base)
                    }
                    if parent != nil, let limit { try resize(layer, to: limit) }
                }
            }
        } catch {
            try? remove(layer)
            throw error
        }
    }

    public func commit(_ layer: LayerNumber) throws(StorageError) {
        try removeDevice(of: layer)
        try attempt("commit", objectName(layer)) {
            try activateSettled(layer)
            // A flush of the device commits the pool's metadata, which until then is a cache.
            let device = try BlockDevice(path(layer))
            try device.descriptor.synchronize()
            try DeviceMapper.removeDeferred(objectName(layer))
        }
    }

    /// The kernel keeps no mark of a committed thin device, which is only ever activated read-only. One that a snapshot
    /// cut short has left suspended goes on.
    public func reopen(_ layer: LayerNumber) throws(StorageError) {
        guard let info = try info(layer), info.isSuspended else { return }
        try attempt("reopen", objectName(layer)) { try DeviceMapper.resume(objectName(layer)) }
    }

    public func remove(_ layer: LayerNumber) throws(StorageError) {
        try removeDevice(of: layer)
        unlink(ground.nameIndex(layer))
        try attempt("remove", objectName(layer)) {
            if case .loop = ground.backing { discard(layer) }
            try pool.deletePatiently(layer.rawValue)
        }
    }

    // MARK: Activation

    public func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        if let info = try info(layer) {
            try attempt("activate", objectName(layer)) {
                if info.isReadOnly != readOnly {
                    do throws(SystemError) {
                        try DeviceMapper.removePatiently(objectName(layer))
                    } catch {
                        guard error.errno == .resourceBusy else { throw error }
                        throw StorageError(
                            .failedPrecondition, "activate", objectName(layer),
                            "it is in use for \(info.isReadOnly ? "reading only" : "writing")", errno: .resourceBusy,
                            hint: "unmount it first")
                    }
                    try activate(layer, readOnly: readOnly)
                } else if info.isDeferredRemove, try !DeviceMapper.cancelDeferredRemove(objectName(layer)) {
                    try activate(layer, readOnly: readOnly)
                }
            }
        } else {
            do throws(SystemError) {
                try activate(layer, readOnly: readOnly)
            } catch {
                guard error.errno == .noData else { throw StorageError(error, "activate", objectName(layer)) }
                throw StorageError(
                    .notFound, "activate", objectName(layer), "the pool has no such thin device", errno: .noData)
            }
        }
        let options = filesystem.mountOptions(readOnly: readOnly)
        return [Mount(type: filesystem.type, source: path(layer), options: options)]
    }

    public func release(_ layer: LayerNumber) throws(StorageError) {
        guard try info(layer) != nil else { return }
        try attempt("release", objectName(layer)) {
            try DeviceMapper.removeDeferred(objectName(layer))
        }
    }

    public func deactivate(_ layer: LayerNumber) throws(StorageError) {
        if let info = try info(layer), !info.isGoing { try removeDevice(of: layer) }
    }

    // MARK: Reading

    public func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        try attempt("usage", objectName(layer)) {
            let blocks = try ground.withMetadata { metadata throws(SystemError) in
                try metadata.blocks(of: layer.rawValue)
            }
            return LayerUsage(exclusiveBytes: blocks.written * blockBytes, referencedBytes: blocks.mapped * blockBytes)
        }
    }

    public func objects() throws(StorageError) -> [LayerNumber] {
        let devices = try attempt("list", pool.name) { try ground.devices() }
        return devices.map(\.id).filter { $0 != Self.base && $0 != Self.unfinishedBase }.map { LayerNumber($0) }
    }

    public func objectName(_ layer: LayerNumber) -> String { "\(ground.prefix)\(layer)" }

    public func status() throws(StorageError) -> DriverStatus {
        let (status, table) = try attempt("status", pool.name) { (try pool.status(), try pool.table()) }
        let total = status.totalDataBlocks * blockBytes
        let used = status.usedDataBlocks * blockBytes
        let space = DriverSpace(
            totalBytes: total, usedBytes: used, freeBytes: total - used,
            metadataTotalBytes: status.totalMetadataBlocks * 4096, metadataUsedBytes: status.usedMetadataBlocks * 4096)
        let details: [DriverStatus.Detail] = [
            .init("pool", pool.name), .init("backing", ground.backing.name), .init("state", status.mode.rawValue),
            .init("dataDevice", table.data),
            .init("metadataDevice", table.metadata), .init("blockSize", ByteCount(blockBytes).description),
            .init("filesystem", ground.filesystem), .init("layerSize", ByteCount(ground.defaultBytes).description),
            .init("whenFull", status.errorsIfNoSpace ? "error" : "wait"),
        ]
        do throws(StorageError) {
            try PoolHealth.requireRoom(status, pool.name)
        } catch {
            return DriverStatus(
                health: error.kind == .resourceExhausted ? .degraded : .failed, message: error.message, space: space,
                details: details)
        }
        if case .loop = ground.backing {
            return DriverStatus(
                health: .degraded, message: "on loop files: for trying out, slower than a device of its own",
                space: space, details: details)
        }
        if !status.errorsIfNoSpace {
            return DriverStatus(
                health: .degraded, message: "when the pool is full, writes wait (no error_if_no_space)", space: space,
                details: details)
        }
        return DriverStatus(health: .ok, space: space, details: details)
    }

    // MARK: Parts

    func path(_ layer: LayerNumber) -> String { DeviceMapper.path(objectName(layer)) }

    /// Nil while the layer's device is not active.
    func info(_ layer: LayerNumber) throws(StorageError) -> DMInfo? {
        try attempt("look up", objectName(layer)) {
            try DeviceMapper.infoUnlessUnfinished(objectName(layer))
        }
    }

    /// - Throws: `.failedPrecondition` with EBUSY when it is in use.
    private func removeDevice(of layer: LayerNumber) throws(StorageError) {
        guard try info(layer) != nil else { return }
        try attempt("deactivate", objectName(layer), hint: "unmount it first") {
            try DeviceMapper.removePatiently(objectName(layer))
        }
    }

    func activate(_ layer: LayerNumber, readOnly: Bool) throws(SystemError) {
        try pool.activate(
            layer.rawValue, as: objectName(layer), uuid: ground.uuid(layer.description), bytes: Self.deviceBytes,
            readOnly: readOnly)
    }

    /// Activates a layer read-only that nobody has active, with nothing in its journal that is not in its place.
    func activateSettled(_ layer: LayerNumber) throws {
        if filesystem.tellsOfReplay {
            try activate(layer, readOnly: true)
            guard try filesystem.needsReplay(on: path(layer)) else { return }
            try DeviceMapper.removePatiently(objectName(layer))
        }
        try activate(layer, readOnly: false)
        try filesystem.replay(on: path(layer))
        try DeviceMapper.removePatiently(objectName(layer))
        try activate(layer, readOnly: true)
    }

    /// Makes a thin device; one of this id that a killed call has left goes first.
    func fresh(
        _ layer: LayerNumber, _ make: () throws(SystemError) -> Void
    ) throws {
        do throws(SystemError) {
            try make()
        } catch {
            guard error.errno == .fileExists else { throw error }
            try removeDevice(of: layer)
            try pool.deletePatiently(layer.rawValue)
            try make()
        }
    }

    /// An empty layer of another size than the base's.
    private func makeEmpty(_ layer: LayerNumber, bytes: UInt64) throws {
        let smallest = LayerFilesystem.smallest(filesystem.type)
        guard bytes >= smallest else {
            throw StorageError(
                .invalidArgument, "create", objectName(layer),
                "a layer with \(filesystem.type) needs \(ByteCount(smallest)) at least, not \(ByteCount(bytes))")
        }
        try fresh(layer) { () throws(SystemError) in try pool.createThin(layer.rawValue) }
        try activate(layer, readOnly: false)
        try filesystem.make(on: path(layer), bytes: bytes)
        try removeDevice(of: layer)
    }

    /// Gives a snapshot the size that was asked for, which can only be larger than its parent's.
    private func resize(_ layer: LayerNumber, to bytes: UInt64) throws {
        try activate(layer, readOnly: false)
        let now = try filesystem.size(on: path(layer))
        guard bytes >= now else {
            throw StorageError(
                .invalidArgument, "create", objectName(layer),
                "its parent's filesystem has \(ByteCount(now)), and devicemapper layers only grow",
                hint: "ask for \(ByteCount(now)) or more, or give the parent a limit")
        }
        // Blocks of 4 KiB: less than one more is no growth.
        if bytes / 4096 > now / 4096 { try filesystem.grow(on: path(layer), to: bytes) }
        try removeDevice(of: layer)
    }

    /// Gives the blocks of a layer in a loop file back to the host's filesystem, shared ones excepted. A failure
    /// costs space on the host until the file goes, nothing else.
    private func discard(_ layer: LayerNumber) {
        guard (try? activate(layer, readOnly: false)) != nil else { return }
        if let size = try? filesystem.size(on: path(layer)), let device = try? BlockDevice(path(layer), writable: true)
        {
            try? device.discard(from: 0, length: size)
        }
        try? DeviceMapper.removePatiently(objectName(layer))
    }
}
