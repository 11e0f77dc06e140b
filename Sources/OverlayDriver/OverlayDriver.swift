import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// A directory per layer, which the kernel's overlayfs lays on those of its parents (`OverlayGround` says where they
/// are).
///
/// While a layer is in use its overlay is mounted once, in a place of its own, and what users get is a bind mount of
/// that: all of them see the same, stacks of any height are mounted by any program, and nobody but the driver ever
/// has the directories and the options in hand.
public struct OverlayDriver: StorageDriver {
    public static let name = "overlay2"

    /// Most layers on each other: with all of them as lower directories the topmost, when committed, can be looked at.
    public static let deepestChain = OverlayStack.mostLowers

    let ground: OverlayGround

    public init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        ground = OverlayGround(root: root)
        guard exists(ground.layers) else {
            throw StorageError(.unavailable, "open", ground.layers, "the layers' directory is missing", errno: .current)
        }
    }

    /// Of a root that may be there in part.
    init(_ ground: OverlayGround) { self.ground = ground }

    public func objectName(_ layer: LayerNumber) -> String { ground.layer(layer) }

    // MARK: Life cycle

    public func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        try remove(layer)
        do throws(StorageError) {
            try attempt("create", objectName(layer)) {
                let below = try parent.flatMap { try ground.isCommitted($0) ? $0 : ground.parent(of: $0) }
                if let parent, parent != below { try requireNotMounted(parent) }
                if let below { try requireRoom(above: below) }
                let partial = ground.partial(layer)
                try check(mkdir(partial, 0o700), "mkdir", partial)
                let directory = try FileDescriptor.openingDirectory(partial)
                defer { directory.closeQuietly() }
                // What is made in the directory from here on is under the limit.
                if let limit { try setLimit(limit, layer, above: below, directory) }
                for name in ["diff", "work", "merged"] {
                    try directory.makeDirectory(EntryName(name), permissions: 0o755)
                }
                if let below { try directory.makeSymlink(EntryName("parent"), to: Array("../\(below)".utf8)) }
                try fill(directory, from: parent)
                let target = "../layers/\(layer)/diff"
                try check(symlink(target, ground.link(layer)), "symlink", ground.link(layer))
                try check(rename(partial, ground.layer(layer)), "rename", partial)
            }
        } catch {
            try? remove(layer)
            throw error
        }
    }

    public func commit(_ layer: LayerNumber) throws(StorageError) {
        try deactivate(layer)
        try attempt("commit", objectName(layer)) {
            let directory = try FileDescriptor.openingDirectory(ground.layer(layer))
            defer { directory.closeQuietly() }
            let before = FileStatus.Timestamp.now
            if !ground.isCommitted(layer) { try directory.removeEntry(EntryName("work")) }
            try directory.synchronizeFilesystem()
            // What changes in a layer made of this one has another time than all that is in this one. overlayfs gives a
            // copy the inode number of what it was copied from: only times tell the two apart.
            while FileStatus.Timestamp.now == before { usleep(500) }
        }
    }

    public func reopen(_ layer: LayerNumber) throws(StorageError) {
        try attempt("reopen", objectName(layer)) {
            guard exists(ground.layer(layer)) else {
                throw SystemError("open", ground.layer(layer), .noSuchFileOrDirectory)
            }
            guard ground.isCommitted(layer) else { return }
            try unmountMerged(layer)
            try makeDirectory(ground.work(layer))
        }
    }

    public func remove(_ layer: LayerNumber) throws(StorageError) {
        try deactivate(layer)
        try attempt("remove", objectName(layer)) {
            unlink(ground.link(layer))
            for place in [ground.layers, ground.partials] where exists("\(place)/\(layer)") {
                let directory = try FileDescriptor.openingDirectory(place)
                defer { directory.closeQuietly() }
                let name = EntryName(layer.description)
                let project = try directory.openEntry(name, flags: O_DIRECTORY).closing { ProjectQuota(of: $0) }
                try project?.lift(on: directory)
                try directory.removeEntry(name)
            }
        }
    }

    // MARK: Making layers

    private func requireNotMounted(_ parent: LayerNumber) throws {
        guard try isMounted(ground.merged(parent)) else { return }
        throw StorageError(
            .failedPrecondition, "create", objectName(parent), "it is active and mounted", errno: .resourceBusy)
    }

    private func requireRoom(above below: LayerNumber) throws {
        let depth = try ground.chain(from: below).count
        guard depth < Self.deepestChain else {
            throw StorageError(
                .failedPrecondition, "create", objectName(below),
                "\(depth) layers lie on each other, and overlayfs stacks no more than \(Self.deepestChain)",
                hint: "make one layer of them: import what tar -c makes of a mount of the topmost")
        }
    }

    /// Gives a new layer's directory what it begins with: its parent's attributes, or, of an active parent, a copy of
    /// all that it has.
    private func fill(_ directory: FileDescriptor, from parent: LayerNumber?) throws(SystemError) {
        let diff = try directory.openEntry(EntryName("diff"), flags: O_DIRECTORY)
        defer { diff.closeQuietly() }
        guard let parent else {
            // The kernel applies the process's umask.
            try check(fchmod(diff.rawValue, 0o755), "chmod", "diff")
            return
        }
        let source = try FileDescriptor.openingDirectory(ground.diff(parent))
        defer { source.closeQuietly() }
        if ground.isCommitted(parent) {
            try diff.copyAttributes(of: .itself, from: .itself, in: source, try source.status()) {
                !$0.hasPrefix(OverlayAttribute.prefix)
            }
        } else {
            try TreeCopy.run(from: source, to: diff)
            // Linux 6.6 and later give each overlay its own.
            try? diff.removeExtendedAttribute(OverlayAttribute.uuid, of: .itself)
        }
    }

    /// Limits what the layer itself has to what is left of `limit` besides its parents' bytes.
    private func setLimit(
        _ limit: UInt64, _ layer: LayerNumber, above below: LayerNumber?, _ directory: FileDescriptor
    ) throws {
        let inherited = try below.map { try usage($0).referencedBytes } ?? 0
        guard limit > inherited else {
            throw StorageError(
                .invalidArgument, "create", objectName(layer),
                "the parent has \(ByteCount(inherited)); a layer cannot be limited to \(ByteCount(limit))",
                hint: "ask for more than \(ByteCount(inherited))")
        }
        do throws(SystemError) {
            let root = UInt32(ground.root.id, radix: 16) ?? 0
            try ProjectQuota(root: root, layer: layer.rawValue).limit(directory, to: limit - inherited)
        } catch {
            guard error.errno == .notSupported else { throw error }
            throw StorageError(
                .unimplemented, "create", objectName(layer),
                "the filesystem of \(ground.directory) cannot hold a size limit: \(error.detail ?? "\(error.errno)")",
                errno: error.errno,
                hint: "mount it with prjquota (ext4: made with mkfs.ext4 -O quota,project), or use another driver")
        }
    }
}
