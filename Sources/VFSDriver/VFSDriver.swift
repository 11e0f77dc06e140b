import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// A plain directory per layer, a copy of its parent's. Works everywhere, costs the most; chosen only when named.
///
/// `<root>/vfs/active/<number>` is a layer that can be written, `<root>/vfs/committed/<number>` one that is mounted
/// read-only only, and `<root>/vfs/partial/<number>` what a copy that did not end has left.
public struct VFSDriver: StorageDriver {
    public static let name = "vfs"
    public static let needsHostPrivilege = false

    private enum State: String, CaseIterable {
        case active, committed, partial
    }

    private let base: String
    private let rootID: UInt32

    public static func assess(_ host: HostFacts) -> DriverAssessment {
        let shares = host.filesystem.hasReflink ?? false
        return DriverAssessment(
            driver: name, status: .limited,
            reasons: [.init(.copies, "every layer is a full copy of its parent: only when named, --driver vfs")],
            strengths: "needs nothing of the kernel" + (shares ? "; copies share their data here" : ""))
    }

    public static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration {
        try options.requireNone(of: name, root)
        return [:]
    }

    public static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try attempt("make", root.path + "/vfs") {
            try makeDirectory(root.path + "/vfs")
            for state in State.allCases { try makeDirectory("\(root.path)/vfs/\(state)") }
        }
    }

    public init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        base = root.path + "/vfs"
        rootID = UInt32(root.id, radix: 16) ?? 0
        guard exists(base) else {
            throw StorageError(.unavailable, "open", base, "the layers' directory is missing", errno: .current)
        }
    }

    public static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        guard exists(root.path + "/vfs") else { return }
        try attempt("destroy", root.path + "/vfs") {
            let directory = try FileDescriptor.openingDirectory(root.path)
            defer { directory.closeQuietly() }
            try directory.removeEntry(EntryName("vfs"))
        }
    }

    public func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        try remove(layer)
        let partial = path(layer, .partial)
        do throws(StorageError) {
            try attempt("create", path(layer, .active)) {
                try check(mkdir(partial, 0o700), "mkdir", partial)
                let target = try FileDescriptor.openingDirectory(partial)
                defer { target.closeQuietly() }
                // The kernel applies the process's umask to mkdir.
                try check(fchmod(target.rawValue, 0o755), "chmod", partial)
                if let limit { try setLimit(limit, layer, target) }
                if let parent {
                    let committed = path(parent, .committed)
                    let source = try FileDescriptor.openingDirectory(
                        exists(committed) ? committed : path(parent, .active))
                    defer { source.closeQuietly() }
                    try TreeCopy.run(from: source, to: target)
                }
                try check(rename(partial, path(layer, .active)), "rename", partial)
            }
        } catch {
            try? remove(layer)
            throw error
        }
    }

    public func commit(_ layer: LayerNumber) throws(StorageError) {
        if exists(path(layer, .committed)) { return }
        try deactivate(layer)
        try attempt("commit", path(layer, .active)) {
            let tree = try FileDescriptor.openingDirectory(path(layer, .active))
            defer { tree.closeQuietly() }
            try tree.synchronizeFilesystem()
            try move(layer, .active, .committed)
        }
    }

    public func reopen(_ layer: LayerNumber) throws(StorageError) {
        try attempt("reopen", objectName(layer)) {
            if exists(path(layer, .active)) { return }
            try move(layer, .committed, .active)
        }
    }

    public func remove(_ layer: LayerNumber) throws(StorageError) {
        try deactivate(layer)
        for state in State.allCases where exists(path(layer, state)) {
            try attempt("remove", path(layer, state)) {
                let directory = try FileDescriptor.openingDirectory("\(base)/\(state)")
                defer { directory.closeQuietly() }
                let name = EntryName(layer.description)
                let project = try directory.openEntry(name, flags: O_DIRECTORY).closing { ProjectQuota(of: $0) }
                try project?.lift(on: directory)
                try directory.removeEntry(name)
            }
        }
    }

    public func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        let isCommitted = exists(path(layer, .committed))
        let source = path(layer, isCommitted ? .committed : .active)
        guard exists(source) else {
            throw StorageError(.notFound, "activate", source, "there is no such directory", errno: .current)
        }
        return [Mount(type: "bind", source: source, options: ["rbind"] + (readOnly || isCommitted ? ["ro"] : []))]
    }

    /// A directory is always active.
    public func release(_ layer: LayerNumber) throws(StorageError) {}

    public func deactivate(_ layer: LayerNumber) throws(StorageError) {
        let table = MountTable.current()
        guard let holder = table.entry(holding: base) else { return }
        let inside = holder.pathInFilesystem(of: base)
        for state in State.allCases {
            let tree = "\(inside)/\(state)/\(layer)"
            if let mounted = table.entries.first(where: { $0.device == holder.device && $0.shows(tree) }) {
                throw .mounted("deactivate", path(layer, state), at: mounted.target)
            }
        }
    }

    public func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        try attempt("usage", objectName(layer)) {
            let tree = try FileDescriptor.openingDirectory(objectName(layer))
            defer { tree.closeQuietly() }
            let size = try TreeSize(of: tree)
            return LayerUsage(exclusiveBytes: size.bytes, referencedBytes: size.bytes, inodes: size.inodes)
        }
    }

    public func objects() throws(StorageError) -> [LayerNumber] {
        var numbers: Set<LayerNumber> = []
        for state in State.allCases {
            guard let names = directoryNames("\(base)/\(state)") else {
                throw StorageError(.unavailable, "list", "\(base)/\(state)", "it cannot be read", errno: .current)
            }
            numbers.formUnion(names.compactMap { UInt64($0).map { LayerNumber($0) } })
        }
        return Array(numbers)
    }

    public func objectName(_ layer: LayerNumber) -> String {
        path(layer, exists(path(layer, .committed)) ? .committed : .active)
    }

    public func status() throws(StorageError) -> DriverStatus {
        let filesystem = try attempt("status", base) { try FilesystemStatus(path: base) }
        let space = DriverSpace(
            totalBytes: filesystem.totalBytes, usedBytes: filesystem.totalBytes - filesystem.freeBytes,
            freeBytes: filesystem.freeBytes)
        return DriverStatus(
            health: filesystem.isReadOnly ? .failed : .degraded,
            message: filesystem.isReadOnly ? "the filesystem is read-only" : "every layer is a full copy of its parent",
            space: space, details: [.init("directory", base), .init("filesystem", filesystem.typeName)])
    }

    private func path(_ layer: LayerNumber, _ state: State) -> String { "\(base)/\(state)/\(layer)" }

    /// Moves the layer between its states; on the disk when this returns.
    private func move(_ layer: LayerNumber, _ from: State, _ to: State) throws(SystemError) {
        try check(rename(path(layer, from), path(layer, to)), "rename", path(layer, from))
        for state in [from, to] {
            let directory = try FileDescriptor.openingDirectory("\(base)/\(state)")
            defer { directory.closeQuietly() }
            try directory.synchronize()
        }
    }

    /// A project quota on everything below the directory.
    private func setLimit(
        _ limit: UInt64, _ layer: LayerNumber, _ directory: FileDescriptor
    ) throws(StorageError) {
        do throws(SystemError) {
            let type = try FilesystemStatus(path: base).typeName
            // The kernel lets the superuser pass the quotas of ext4.
            guard type == "xfs" else { throw SystemError("quota", base, .notSupported) }
            try ProjectQuota(root: rootID, layer: layer.rawValue).limit(directory, to: limit)
        } catch {
            throw StorageError(
                .unimplemented, "create", path(layer, .active),
                "the vfs driver cannot hold a size limit on this filesystem", errno: error.errno,
                hint: "use xfs mounted with prjquota, or the btrfs or devicemapper driver")
        }
    }
}
