import LinuxSystem
import StorageDriver
import SystemPackage

/// A dataset per layer, a clone of its parent's snapshot, through the commands `zfs` and `zpool`.
///
/// The datasets are `<container>/<number>`. A committed layer is the snapshot `@layer` of its dataset: that is what is
/// mounted and what children are clones of, and no snapshot can be written. Its dataset is read-only besides. Nothing
/// is mounted by zfs itself (`mountpoint=legacy`).
///
/// What changed between a layer and its parent is for a walk to find: `zfs diff` tells one name of a file that has
/// several, and none where that one is gone, so that hard links would be missed.
public struct ZFSDriver: StorageDriver {
    public static let name = "zfs"

    let ground: ZFSGround
    let zfs: ZFSCommands

    public static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration {
        try ZFSPlan.make(root, options)
    }

    public static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try ZFSGround(root, configuration).build()
    }

    public init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        ground = ZFSGround(root, configuration)
        do throws(StorageError) {
            zfs = try ZFSCommands("open", ground.container)
        } catch {
            throw StorageError(.unavailable, error.operation, error.object, error.message, hint: error.hint)
        }
        try ground.activate(zfs)
    }

    public static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try ZFSGround(root, configuration).destroy()
    }

    // MARK: Life cycle

    public func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        let container = ground.container
        let parents = parent.map { [ground.dataset($0), ground.committed($0)] } ?? []
        let found = try look(["used", "available", "referenced"], [container, ground.dataset(layer)] + parents)
        try requireRoom(found[container]!, for: layer)
        if found[ground.dataset(layer)] != nil { try remove(layer) }
        if let parent, found[ground.dataset(parent)] == nil { throw missing(parent, "create") }
        let inherited = parents.first.map { found[$0]!.bytes("referenced") } ?? 0
        if let limit, limit < inherited {
            throw StorageError(
                .invalidArgument, "create", objectName(layer),
                "its parent has \(ByteCount(inherited)): a limit of \(ByteCount(limit)) is below that")
        }
        // What the layer reaches, its parent's part included and its own snapshots left out: that is refquota.
        let options = limit.map { ["-o", "refquota=\($0)"] } ?? []
        do throws(StorageError) {
            if let parent {
                let isCommitted = found[ground.committed(parent)] != nil
                try clone(isCommitted ? nil : parent, ground.committed(parent), as: layer, options)
            } else {
                try attempt("create", objectName(layer)) {
                    try zfs.run(["create"] + options + [ground.dataset(layer)], on: container)
                }
            }
        } catch {
            try? remove(layer)
            throw error
        }
    }

    /// - Parameter active: the layer to be copied when it is not committed: of that, a snapshot is made that goes with
    ///   the copy (`-d`).
    private func clone(
        _ active: LayerNumber?, _ snapshot: String, as copy: LayerNumber, _ options: [String]
    ) throws(StorageError) {
        try attempt("create", objectName(copy)) {
            guard let active else {
                return try zfs.run(["clone"] + options + [snapshot, ground.dataset(copy)], on: snapshot)
            }
            let snapshot = ground.source(of: copy, in: active)
            try zfs.run(["snapshot", snapshot], on: snapshot)
            try zfs.run(["clone"] + options + [snapshot, ground.dataset(copy)], on: snapshot)
            try zfs.run(["destroy", "-d", snapshot], on: snapshot)
        }
    }

    public func commit(_ layer: LayerNumber) throws(StorageError) {
        try deactivate(layer)
        let found = try look(["readonly"], [ground.dataset(layer), ground.committed(layer)])
        if found[ground.committed(layer)] != nil { return }
        if found[ground.dataset(layer)] == nil { throw missing(layer, "commit") }
        try attempt("commit", objectName(layer)) {
            // Each ends when its transaction group, with all that was written before, is on the disks.
            try zfs.run(["set", "readonly=on", ground.dataset(layer)], on: ground.dataset(layer))
            try zfs.run(["snapshot", ground.committed(layer)], on: ground.dataset(layer))
        }
    }

    public func reopen(_ layer: LayerNumber) throws(StorageError) {
        let found = try look(["readonly"], [ground.dataset(layer), ground.committed(layer)])
        guard let own = found[ground.dataset(layer)] else { throw missing(layer, "reopen") }
        try attempt("reopen", objectName(layer)) {
            if found[ground.committed(layer)] != nil { try zfs.destroy([], on: ground.committed(layer)) }
            if own["readonly"] == "on" {
                try zfs.run(["inherit", "readonly", ground.dataset(layer)], on: ground.dataset(layer))
            }
        }
    }

    public func remove(_ layer: LayerNumber) throws(StorageError) {
        try deactivate(layer)
        let own = ground.dataset(layer)
        let found = try attempt("remove", objectName(layer)) {
            try zfs.properties(["type", "clones", "origin"], below: own, types: "filesystem,volume,snapshot")
        }
        guard let dataset = found[own] else {
            _ = try look([], [own])
            return try removeSources(of: layer)
        }
        for (name, properties) in found where name != own {
            guard properties["type"] == "snapshot" else {
                throw inUse(layer, "there is a dataset in it that is not ours: \(name)")
            }
            for clone in (properties["clones"] ?? "").split(separator: ",").map(String.init) where clone != "-" {
                // A copy of it while it was active takes its place: what both have becomes the copy's. What it was copied
                // from itself, and was not gone when a kill came, takes that back.
                guard let other = ground.layer(named: clone),
                    name == ground.source(of: other, in: layer) || name == ground.source(of: layer, in: layer)
                else {
                    throw inUse(layer, "\(clone) is a clone of it")
                }
                try attempt("remove", objectName(layer)) { try zfs.run(["promote", clone], on: clone) }
            }
        }
        try attempt("remove", objectName(layer)) { try zfs.destroy(["-r"], on: own) }
        if let origin = dataset["origin"], origin.hasSuffix(ZFSGround.sourceSuffix(of: layer)) {
            // Mostly gone with its only clone; not when a kill came between the clone and `destroy -d`.
            _ = try? zfs.run(["destroy", "-d", origin], on: origin)
        }
    }

    /// Removes what a kill between the snapshot of an active layer and its clone has left.
    private func removeSources(of copy: LayerNumber) throws(StorageError) {
        try attempt("remove", objectName(copy)) {
            let snapshots = try zfs.properties(["clones"], below: ground.container, depth: 2, types: "snapshot")
            for name in snapshots.keys where name.hasSuffix(ZFSGround.sourceSuffix(of: copy)) {
                try zfs.destroy([], on: name)
            }
        }
    }

    // MARK: Mounting

    public func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        let found = try look(["readonly"], [ground.dataset(layer), ground.committed(layer)])
        guard let own = found[ground.dataset(layer)] else { throw missing(layer, "activate") }
        if found[ground.committed(layer)] != nil {
            return [Mount(type: "zfs", source: ground.committed(layer), options: ["ro"])]
        }
        let isReadOnly = readOnly || own["readonly"] == "on"
        return [Mount(type: "zfs", source: ground.dataset(layer), options: isReadOnly ? ["ro"] : [])]
    }

    /// A dataset is always active.
    public func release(_ layer: LayerNumber) throws(StorageError) {}

    public func deactivate(_ layer: LayerNumber) throws(StorageError) {
        if let mounted = mount(of: layer) { throw .mounted("deactivate", objectName(layer), at: mounted.target) }
    }

    private func mount(of layer: LayerNumber) -> MountTable.Entry? {
        let own = ground.dataset(layer)
        return MountTable.current().entries.first { entry in
            entry.type == "zfs" && (entry.source == own || entry.source.hasPrefix(own + "@"))
        }
    }

    // MARK: Reading

    public func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        let names = [ground.dataset(layer), ground.committed(layer)]
        var found = try look(["used", "referenced"], names)
        if found[ground.committed(layer)] == nil {
            // What was written a moment ago is counted when it is on the disks.
            try attempt("usage", objectName(layer)) { try zfs.runPool(["sync", ground.pool], on: ground.pool) }
            found = try look(["used", "referenced"], names)
        }
        guard let own = found[ground.dataset(layer)] else { throw missing(layer, "usage") }
        return LayerUsage(exclusiveBytes: own.bytes("used"), referencedBytes: own.bytes("referenced"))
    }

    public func objects() throws(StorageError) -> [LayerNumber] {
        let found = try attempt("list", ground.container) {
            try zfs.properties([], below: ground.container, depth: 1, types: "filesystem")
        }
        guard found[ground.container] != nil else { throw containerIsMissing() }
        return found.keys.compactMap(ground.layer)
    }

    public func objectName(_ layer: LayerNumber) -> String { ground.dataset(layer) }

    public func status() throws(StorageError) -> DriverStatus {
        let pool = try attempt("status", ground.pool) {
            try zfs.poolProperties(["health", "readonly", "size", "allocated"], of: ground.pool)
        }
        let health = pool?["health"] ?? "missing"
        var details: [DriverStatus.Detail] = [
            .init("backing", ground.isLoop ? "loop" : "dataset"), .init("pool", ground.pool),
            .init("poolHealth", health), .init("dataset", ground.container),
        ]
        // Anything else would wait for a pool that waits for its devices.
        guard health == "ONLINE" || health == "DEGRADED" else {
            let space = DriverSpace(totalBytes: 0, usedBytes: 0, freeBytes: 0)
            return DriverStatus(
                health: .failed, message: "the pool is \(health): see zpool status \(ground.pool)", space: space,
                details: details)
        }
        let above = ground.above
        let found = try look(["used", "available", "compression", "encryption"], [above, ground.container])
        let (used, free) = (found[above]?.bytes("used") ?? 0, found[ground.container]!.bytes("available"))
        for key in ["compression", "encryption"] {
            if let value = found[ground.container]?[key], value != "-" { details.append(.init(key, value)) }
        }
        let space = DriverSpace(totalBytes: used + free, usedBytes: used, freeBytes: free)
        func status(_ health: DriverStatus.Health, _ message: String?) -> DriverStatus {
            DriverStatus(health: health, message: message, space: space, details: details)
        }
        if pool?["readonly"] == "on" { return status(.failed, "the pool is imported read-only") }
        if health == "DEGRADED" {
            return status(.degraded, "a device of the pool is broken: see zpool status \(ground.pool)")
        }
        if free < Self.reserve(of: used + free) {
            return status(.degraded, "the pool is nearly full: remove layers, or give it more devices")
        }
        return ground.isLoop
            ? status(.degraded, "a pool in a file: for trying out, slower than one on devices") : status(.ok, nil)
    }

    // MARK: Errors

    /// Properties of those of these that are there.
    /// - Throws: when the container does not answer: then nothing is known.
    private func look(
        _ properties: [String], _ names: [String]
    ) throws(StorageError) -> [String: ZFSCommands.Properties] {
        let container = ground.container
        let found = try attempt("look up", container) { try zfs.properties(properties, of: [container] + names) }
        guard found[container] != nil else { throw containerIsMissing() }
        return found
    }

    /// zfs keeps a part of the pool by which removal always works (slop space); writes that find no room fail at once.
    /// New layers are refused a little before that.
    private static func reserve(of total: UInt64) -> UInt64 { min(total / 20, 1 << 30) }

    private func requireRoom(_ container: ZFSCommands.Properties, for layer: LayerNumber) throws(StorageError) {
        let free = container.bytes("available")
        if free < Self.reserve(of: container.bytes("used") + free) {
            throw StorageError(
                .resourceExhausted, "create", objectName(layer), "the pool \(ground.pool) has \(ByteCount(free)) free",
                errno: .noSpace, hint: "remove layers, or give the pool more devices (zpool add)")
        }
    }

    private func containerIsMissing() -> StorageError {
        StorageError(
            .unavailable, "look up", ground.container, "the dataset is not there any more, or its pool does not answer",
            hint: "zpool status \(ground.pool)")
    }

    private func missing(_ layer: LayerNumber, _ operation: String) -> StorageError {
        StorageError(.notFound, operation, objectName(layer), "there is no such dataset")
    }

    private func inUse(_ layer: LayerNumber, _ reason: String) -> StorageError {
        StorageError(
            .failedPrecondition, "remove", objectName(layer), reason, errno: .resourceBusy,
            hint: "zfs list -t all -r \(ground.dataset(layer))")
    }
}

extension ZFSDriver: LiveSnapshots {
    public func snapshot(_ layer: LayerNumber, as copy: LayerNumber) throws(StorageError) {
        if let mounted = mount(of: layer) {
            // What programs have written through memory maps is not zfs's yet.
            try attempt("snapshot", objectName(layer)) {
                let directory = try FileDescriptor.openingDirectory(mounted.target)
                defer { directory.closeQuietly() }
                try directory.synchronizeFilesystem()
            }
        }
        try create(copy, from: layer, limit: nil)
        do throws(StorageError) {
            try attempt("snapshot", objectName(copy)) {
                try zfs.run(["set", "readonly=on", ground.dataset(copy)], on: ground.dataset(copy))
            }
        } catch {
            try? remove(copy)
            throw error
        }
    }
}
