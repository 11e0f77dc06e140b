import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The dataset that a root's layers are datasets of: below one that the user names or that the state root is on, or a
/// pool in a file.
struct ZFSGround: Sendable {
    enum Backing: Sendable {
        /// The dataset above ours.
        case dataset(String)
        case loop(bytes: UInt64)
    }

    let root: RootLocation
    let backing: Backing

    init(_ root: RootLocation, _ configuration: DriverConfiguration) {
        self.root = root
        if let dataset = configuration["dataset"] {
            backing = .dataset(dataset)
        } else {
            backing = .loop(bytes: configuration["loopBytes"].flatMap { UInt64($0) } ?? 0)
        }
    }

    var isLoop: Bool { if case .loop = backing { true } else { false } }

    /// Holds the layers, and is all ours: the root's id is in its name, and in a property by which we know it.
    var container: String {
        switch backing {
        case .dataset(let above): "\(above)/lamina-\(root.id)"
        case .loop: "lamina-\(root.id)"
        }
    }

    var pool: String { String(container.prefix { $0 != "/" }) }
    /// Where the container takes its space from.
    var above: String { if case .dataset(let above) = backing { above } else { container } }

    /// The dataset of a layer.
    func dataset(_ layer: LayerNumber) -> String { "\(container)/\(layer)" }
    /// The snapshot that a committed layer is: what is mounted, and what its children are clones of.
    func committed(_ layer: LayerNumber) -> String { "\(dataset(layer))@layer" }
    /// The snapshot of an active layer that one copy of it is a clone of.
    func source(of copy: LayerNumber, in layer: LayerNumber) -> String {
        dataset(layer) + Self.sourceSuffix(of: copy)
    }
    static func sourceSuffix(of copy: LayerNumber) -> String { "@copy-\(copy)" }

    /// The layer whose dataset has this name; nil for what is not a layer.
    func layer(named dataset: String) -> LayerNumber? {
        guard dataset.hasPrefix(container + "/") else { return nil }
        return UInt64(dataset.dropFirst(container.count + 1)).map { LayerNumber($0) }
    }

    private var directory: String { root.path + "/zfs" }
    private var image: String { directory + "/pool.img" }

    // MARK: Making

    /// Whose the container is: the root's id. Names of user properties have a colon (zfsprops(7)).
    private static let owner = "lamina:root"

    /// What a layer's filesystem must be whatever the dataset above is: nothing that mounts it by itself, files as Linux
    /// has them, and no snapshots of other programs (`com.sun:auto-snapshot`, as zfs-auto-snapshot reads it), which
    /// would keep the space of layers that are removed.
    private var properties: [String] {
        [
            "mountpoint=legacy", "canmount=on", "readonly=off", "atime=off", "xattr=sa", "acltype=posixacl",
            "setuid=on", "devices=on", "exec=on", "snapdir=hidden", "casesensitivity=sensitive", "normalization=none",
            "utf8only=off", "com.sun:auto-snapshot=false", "\(Self.owner)=\(root.id)",
        ]
    }

    /// Makes the pool if it is one in a file, and the container; takes those that an earlier build has made.
    func build() throws(StorageError) {
        let zfs = try ZFSCommands("make", container)
        if try isThere(zfs) { return }
        try attempt("make", container) {
            switch backing {
            case .dataset:
                try zfs.create(container, properties)
            case .loop(let bytes):
                try makeDirectory(directory)
                // An image that a killed build has left is no pool's yet, or that of none that is imported.
                unlink(image)
                try makeSparseFile(image, size: bytes)
                try zfs.createPool(pool, in: image, properties)
            }
        }
    }

    /// Imports the pool in a file where it is not: after a reboot.
    /// - Throws: `.unavailable` where the pool or the container is not there.
    func activate(_ zfs: ZFSCommands) throws(StorageError) {
        if try isThere(zfs) { return }
        if isLoop {
            try importPool(zfs)
            if try isThere(zfs) { return }
        }
        throw StorageError(
            .unavailable, "open", container, "there is no such dataset, or its pool is not imported",
            hint: isLoop ? nil : "zpool import \(pool)")
    }

    private func importPool(_ zfs: ZFSCommands) throws(StorageError) {
        let hint = "zpool import -f -N -d \(image) \(pool), once no other host has it"
        try attempt("import pool", pool, hint: hint) {
            if try zfs.isImported(pool) { return }
            let lock = try FileLock.take(image, byte: 0, .exclusive)
            defer { extendLifetime(lock) }
            if try zfs.isImported(pool) { return }
            try zfs.runPool(["import", "-N", "-o", "cachefile=none", "-d", image, pool], on: pool)
        }
    }

    /// Whether the container is there.
    /// - Throws: `.failedPrecondition` when it is somebody else's.
    private func isThere(_ zfs: ZFSCommands) throws(StorageError) -> Bool {
        let found = try attempt("look up", container) { try zfs.properties([Self.owner], of: [container])[container] }
        guard let found else { return false }
        if found[Self.owner] == root.id { return true }
        throw StorageError(
            .failedPrecondition, "look up", container, "it is there, and was not made by this root",
            hint: "zfs get \(Self.owner) \(container)")
    }

    // MARK: Unmaking

    /// Removes the container with all layers, and the pool in a file.
    /// - Throws: `.failedPrecondition` while a layer is mounted, or something that is not ours depends on one.
    func destroy() throws(StorageError) {
        do throws(StorageError) {
            let zfs = try ZFSCommands("destroy", container)
            if !isLoop, try attempt("destroy", container, { try !zfs.isImported(pool) }) {
                throw StorageError(
                    .unavailable, "destroy", container, "its pool is not imported", hint: "zpool import \(pool)")
            }
            if try isThere(zfs) {
                try requireUnmounted()
                try attempt("destroy", container, hint: "zfs list -t all -r \(container)") {
                    if isLoop {
                        try zfs.destroy([], isPool: true, on: pool)
                    } else {
                        try zfs.destroy(["-r"], on: container)
                    }
                }
            }
        } catch {
            // A file is ours whether the kernel has zfs or not; a pool in it that is imported must go first.
            if !isLoop || ZFSCommands.isInKernel { throw error }
        }
        unlink(image)
        rmdir(directory)
    }

    /// `zfs destroy` would unmount by itself what is not in use.
    private func requireUnmounted() throws(StorageError) {
        let mounted = MountTable.current().entries.first { $0.type == "zfs" && $0.source.hasPrefix(container + "/") }
        if let mounted { throw .mounted("destroy", mounted.source, at: mounted.target) }
    }
}

extension ZFSCommands {
    fileprivate func create(_ dataset: String, _ properties: [String]) throws(SystemError) {
        try run(["create"] + properties.flatMap { ["-o", $0] } + [dataset], on: dataset)
    }

    /// A pool in a file: of the sectors that disks have now, not in the list of pools that are imported at boot, which
    /// may come before the file's filesystem; space of what is removed goes back to the file's filesystem (autotrim),
    /// and a file that cannot be written any more makes writes fail instead of wait.
    fileprivate func createPool(_ pool: String, in file: String, _ properties: [String]) throws(SystemError) {
        let options = ["ashift=12", "cachefile=none", "autotrim=on", "failmode=continue"].flatMap { ["-o", $0] }
        try runPool(["create"] + options + properties.flatMap { ["-O", $0] } + [pool, file], on: pool)
    }

    fileprivate func isImported(_ pool: String) throws(SystemError) -> Bool {
        try poolProperties(["health"], of: pool) != nil
    }
}
