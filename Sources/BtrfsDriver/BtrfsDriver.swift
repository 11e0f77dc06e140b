import Glibc
import LinuxSystem
import StorageDriver
import Subvolume
import SystemPackage

/// A subvolume per layer, a snapshot of the parent's; committed ones have the read-only property.
///
/// The subvolumes are `<root>/btrfs/layers/<number>`. `<root>/btrfs` is a directory where the state root itself is on
/// btrfs, or the mount point of a filesystem in the sparse file `<root>/btrfs.img`.
public struct BtrfsDriver: StorageDriver {
    public static let name = "btrfs"

    private let ground: BtrfsGround
    /// `<root>/btrfs/layers`. Open for as long as the driver lives.
    let layers: DirectoryHandle
    /// The block device of the filesystem, for mounting its subvolumes.
    private let device: String
    /// Path of `layers` inside the filesystem, by which the kernel names what is mounted.
    private let pathInFilesystem: String

    var flushOnCommit: FlushOnCommit {
        FlushOnCommit(device: device, directory: ground.directory, mark: ground.flushMark)
    }

    /// A filesystem in a file may not be mounted now.
    public static func hasState(in root: String) -> Bool {
        exists(root + "/btrfs.img") || directoryNames(root + "/btrfs").map { !$0.isEmpty } ?? false
    }

    public static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration {
        try BtrfsGround.plan(root, options)
    }

    public static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try BtrfsGround(root, configuration).build()
    }

    public init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        ground = BtrfsGround(root, configuration)
        try ground.activate()
        let directory = ground.directory
        let path = ground.layers
        layers = try attempt("open", path) { DirectoryHandle(try .openingDirectory(path)) }
        guard let mount = MountTable.current().entry(holding: directory), mount.type == "btrfs" else {
            throw StorageError(.unavailable, "open", directory, "it is not on a mounted btrfs filesystem")
        }
        device = mount.source
        pathInFilesystem = mount.pathInFilesystem(of: path)
        try attempt("open", path) { try flushOnCommit.endAbandoned() }
    }

    public static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        let ground = BtrfsGround(root, configuration)
        // Opening takes back what a killed snapshot has left set.
        if ground.isThere, exists(ground.flushMark) { _ = try BtrfsDriver(root, configuration) }
        if ground.isThere, let directory = try? FileDescriptor.openingDirectory(ground.layers) {
            defer { directory.closeQuietly() }
            for name in directoryNames(ground.layers) ?? [] {
                try attempt("destroy", "\(ground.layers)/\(name)") { try destroySubvolume(name, in: directory) }
            }
        }
        try ground.remove()
    }

    public func create(
        _ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?
    ) throws(StorageError) {
        try make(layer, "create") {
            if let parent {
                let source = try open(parent)
                defer { source.closeQuietly() }
                try refuseNested(in: source, of: parent, "create a layer from")
                try Subvolume.snapshot(of: source, layer.description, in: layers.descriptor)
            } else {
                try Subvolume.create(layer.description, in: layers.descriptor)
            }
            let subvolume = try open(layer)
            defer { subvolume.closeQuietly() }
            // The kernel applies the process's umask.
            if parent == nil { try check(fchmod(subvolume.rawValue, 0o755), "chmod", objectName(layer)) }
            if let limit {
                try QuotaGroup.limit(try Subvolume.info(subvolume).id, to: limit, on: layers.descriptor)
            }
        }
    }

    /// Runs `body`, which makes a subvolume for the layer; one that a killed call has left goes first.
    func make(_ layer: LayerNumber, _ operation: String, _ body: () throws -> Void) throws(StorageError) {
        try remove(layer)
        do throws(StorageError) {
            try attempt(operation, objectName(layer), body)
        } catch {
            try? remove(layer)
            throw error
        }
    }

    public func commit(_ layer: LayerNumber) throws(StorageError) {
        try deactivate(layer)
        try attempt("commit", objectName(layer)) {
            let subvolume = try open(layer)
            defer { subvolume.closeQuietly() }
            if try Subvolume.isReadOnly(subvolume) { return }
            try refuseNested(in: subvolume, of: layer, "commit")
            try subvolume.synchronizeFilesystem()
            try Subvolume.setReadOnly(true, subvolume)
        }
    }

    public func reopen(_ layer: LayerNumber) throws(StorageError) {
        try attempt("reopen", objectName(layer)) {
            let subvolume = try open(layer)
            defer { subvolume.closeQuietly() }
            try Subvolume.setReadOnly(false, subvolume)
        }
    }

    public func remove(_ layer: LayerNumber) throws(StorageError) {
        guard exists(objectName(layer)) else { return }
        try deactivate(layer)
        try attempt("remove", objectName(layer)) {
            try Self.destroySubvolume(layer.description, in: layers.descriptor)
        }
    }

    public func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        let id = try attempt("activate", objectName(layer)) {
            let subvolume = try open(layer)
            defer { subvolume.closeQuietly() }
            return try Subvolume.info(subvolume).id
        }
        return [Mount(type: "btrfs", source: device, options: ["subvolid=\(id)"] + (readOnly ? ["ro"] : []))]
    }

    /// A subvolume is always active.
    public func release(_ layer: LayerNumber) throws(StorageError) {}

    public func deactivate(_ layer: LayerNumber) throws(StorageError) {
        if let mount = mounts(of: layer).first { throw .mounted("deactivate", objectName(layer), at: mount.target) }
    }

    public func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        try attempt("usage", objectName(layer)) {
            let subvolume = try open(layer)
            defer { subvolume.closeQuietly() }
            // What was written a moment ago has no extents yet.
            if try !Subvolume.isReadOnly(subvolume) { try subvolume.synchronizeFilesystem() }
            let usage = try SubvolumeUsage(of: subvolume)
            return LayerUsage(
                exclusiveBytes: usage.writtenBytes, referencedBytes: usage.referencedBytes, inodes: usage.inodes)
        }
    }

    public func objects() throws(StorageError) -> [LayerNumber] {
        guard let names = directoryNames(ground.layers) else {
            throw StorageError(.unavailable, "list", ground.layers, "it cannot be read", errno: .current)
        }
        return names.compactMap { UInt64($0).map { LayerNumber($0) } }
    }

    public func objectName(_ layer: LayerNumber) -> String { "\(ground.layers)/\(layer)" }

    public func status() throws(StorageError) -> DriverStatus {
        let (filesystem, groups) = try attempt("status", ground.directory) {
            (try FilesystemStatus(path: ground.directory), try QuotaGroup.all(on: layers.descriptor))
        }
        let space = DriverSpace(
            totalBytes: filesystem.totalBytes, usedBytes: filesystem.totalBytes - filesystem.freeBytes,
            freeBytes: filesystem.freeBytes)
        let details: [DriverStatus.Detail] = [
            .init("backing", ground.isLoop ? "loop" : "filesystem"), .init("device", device),
            .init("mountPoint", ground.directory), .init("quota", groups.isEmpty ? "off" : "on"),
        ]
        if filesystem.isReadOnly {
            return DriverStatus(
                health: .failed, message: "the filesystem is read-only: see the kernel's log (dmesg)", space: space,
                details: details)
        }
        return DriverStatus(
            health: ground.isLoop ? .degraded : .ok,
            message: ground.isLoop ? "on a loop file: for trying out, slower than a filesystem of its own" : nil,
            space: space, details: details)
    }

    func open(_ layer: LayerNumber) throws(SystemError) -> FileDescriptor {
        try layers.descriptor.openBeneath(layer.description, flags: O_DIRECTORY | O_NOFOLLOW)
    }

    /// Where the layer, or a part of it, is mounted.
    func mounts(of layer: LayerNumber) -> [MountTable.Entry] {
        let path = "\(pathInFilesystem)/\(layer)"
        return MountTable.current().entries.filter { entry in
            entry.type == "btrfs" && entry.source == device && entry.shows(path)
        }
    }

    /// Refuses a layer in which programs have made subvolumes. A snapshot has an empty directory in the place of each,
    /// so that what is in them would silently be in no child and no diff.
    func refuseNested(in subvolume: FileDescriptor, of layer: LayerNumber, _ operation: String) throws {
        guard let nested = try Subvolume.nested(in: subvolume).first else { return }
        throw StorageError(
            .failedPrecondition, operation, objectName(layer),
            "/\(nested) is a btrfs subvolume of its own inside it: what is in there would be left out",
            hint: "mount the layer, and make a directory of it, or remove it (btrfs subvolume delete)")
    }

    private static func destroySubvolume(_ name: String, in directory: FileDescriptor) throws(SystemError) {
        let subvolume = try directory.openBeneath(name, flags: O_DIRECTORY | O_NOFOLLOW)
        let id: UInt64
        do {
            defer { subvolume.closeQuietly() }
            id = try Subvolume.info(subvolume).id
        }
        try Subvolume.destroy(name, in: directory)
        try QuotaGroup.sweep(after: id, on: directory)
    }
}
