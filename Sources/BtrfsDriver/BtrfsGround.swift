import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The btrfs filesystem that a root's subvolumes are on: the state root's own, or one in a file.
struct BtrfsGround: Sendable {
    /// Least size of a filesystem in a file: below about 109 MiB mkfs.btrfs refuses.
    static let smallestLoop: UInt64 = 128 << 20

    private let root: RootLocation
    /// Nil where the state root itself is on btrfs.
    private let loopBytes: UInt64?

    var isLoop: Bool { loopBytes != nil }
    var directory: String { root.path + "/btrfs" }
    var layers: String { directory + "/layers" }
    /// See `FlushOnCommit`.
    var flushMark: String { root.path + "/btrfs.flush" }
    private var image: String { root.path + "/btrfs.img" }
    private var label: String { "lamina-\(root.id)" }

    init(_ root: RootLocation, _ configuration: DriverConfiguration) {
        self.root = root
        loopBytes = configuration["loopBytes"].flatMap { UInt64($0) }
    }

    static func plan(_ root: RootLocation, _ options: DriverOptions) throws(StorageError) -> DriverConfiguration {
        func refuse(_ option: String) -> StorageError {
            StorageError(.invalidArgument, "init", root.path, "\(option) is not an option of the btrfs driver")
        }
        if options.filesystem != nil { throw refuse("--fs") }
        switch options.backing {
        case .pool: throw refuse("--pool")
        case .devices: throw refuse("--data")
        case .loop(let bytes):
            guard bytes >= smallestLoop else {
                throw StorageError(
                    .invalidArgument, "init", root.path,
                    "a btrfs filesystem in a file needs \(ByteCount(smallestLoop)) at least, not \(ByteCount(bytes))")
            }
            _ = try makeProgram(root)
            return ["loopBytes": String(bytes)]
        case nil:
            let filesystem = try attempt("init", root.path) { try FilesystemStatus(path: nearestDirectory(root.path)) }
            guard filesystem.typeName == "btrfs" else {
                throw StorageError(
                    .failedPrecondition, "init", root.path, "it is on \(filesystem.typeName), not on btrfs",
                    hint: "put --root on a btrfs filesystem, or try out with --loop SIZE")
            }
            return [:]
        }
    }

    /// Makes the filesystem if it is one in a file, and the directory of the layers.
    func build() throws(StorageError) {
        try attempt("make", directory) { try makeDirectory(directory) }
        if let loopBytes {
            let make = try Self.makeProgram(root)
            try attempt("make", image) {
                // An image that a killed build has left is not mounted and has no layers.
                unlink(image)
                try makeSparseFile(image, size: loopBytes)
                try make.run(["-q", "-f", "-K", "-L", label, image], on: image)
            }
            try activate()
        }
        try attempt("make", layers) { try makeDirectory(layers) }
    }

    /// Mounts the filesystem in a file where it is not mounted: after a reboot, or in another mount namespace.
    func activate() throws(StorageError) {
        guard isLoop, !isMounted else { return }
        try attempt("activate", image) {
            guard exists(image) else { throw SystemError("open", image, .noSuchFileOrDirectory) }
            let lock = try FileLock.take(image, byte: 0, .exclusive)
            defer { extendLifetime(lock) }
            guard !isMounted else { return }
            let device = try LoopDevice(file: image)
            try DetachedMount(Mount(type: "btrfs", source: device.path, options: ["discard=async"]))
                .attach(to: directory)
        }
    }

    /// Whether the layers' directory is on btrfs now; a build that did not end may not have come so far.
    var isThere: Bool { isLoop ? isMounted : exists(layers) }

    /// Removes what `build` made, the layers being gone.
    func remove() throws(StorageError) {
        if !isLoop || isMounted { rmdir(layers) }
        if isLoop, isMounted {
            try attempt("unmount", directory, hint: "end what uses it (fuser -vm \(directory))") {
                try unmount(directory)
            }
        }
        unlink(image)
        unlink(flushMark)
        rmdir(directory)
    }

    private var isMounted: Bool {
        guard let status = try? FileStatus(path: directory), status.isMountRoot else { return false }
        return (try? FilesystemStatus(path: directory).typeName) == "btrfs"
    }

    private static func makeProgram(_ root: RootLocation) throws(StorageError) -> Program {
        guard let program = Program("mkfs.btrfs") else {
            throw StorageError(
                .failedPrecondition, "init", root.path, "mkfs.btrfs is not installed", hint: "apt install btrfs-progs")
        }
        return program
    }
}
