import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// A directory per layer, a branch of an aufs mount, for kernels that have aufs: those of old Docker hosts. No kernel
/// that is tested has it: nothing here but the values of mounts is proven by tests.
///
/// `<root>/aufs/active/<number>` is a branch that can be written, `<root>/aufs/committed/<number>` one that no mount
/// writes to, `<root>/aufs/partial/<number>` what a creation that did not end has left, and
/// `<root>/aufs/parents/<number>` names the parents, nearest first, one number a line.
public struct AUFSDriver: StorageDriver {
    public static let name = "aufs"

    private enum State: String, CaseIterable {
        case active, committed, partial
    }

    private let root: RootLocation
    private var base: String { root.path + "/aufs" }

    public static func plan(
        _ root: RootLocation, _ options: DriverOptions
    ) throws(StorageError) -> DriverConfiguration {
        try options.requireNone(of: name, root)
        func refuse(_ reason: String, hint: String) -> StorageError {
            StorageError(.failedPrecondition, "init", root.path, reason, hint: hint)
        }
        guard isInKernel else {
            throw refuse(
                "the kernel has no aufs",
                hint: "use another driver; lamina import-root --from aufs DIR takes old layers over")
        }
        let type = try attempt("init", root.path) { try FilesystemStatus(path: nearestDirectory(root.path)).typeName }
        if let reason = refusal(of: type, at: root.path) { throw refuse(reason, hint: "put --root on ext4 or xfs") }
        if root.path.contains(where: { BranchStack.separators.contains($0) }) {
            throw refuse(
                "aufs takes no path with one of \(BranchStack.separators)", hint: "choose another --root")
        }
        return [:]
    }

    static var isInKernel: Bool { (readText("/proc/filesystems") ?? "").contains("\taufs\n") }

    public static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        try attempt("make", root.path + "/aufs") {
            for part in [""] + State.allCases.map({ "/\($0)" }) + ["/parents"] {
                try makeDirectory(root.path + "/aufs" + part)
            }
        }
    }

    public init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        self.root = root
        guard exists(root.path + "/aufs") else {
            throw StorageError(
                .unavailable, "open", root.path + "/aufs", "the layers' directory is missing", errno: .current)
        }
        guard Self.isInKernel else {
            throw StorageError(.unavailable, "open", base, "the kernel has no aufs", hint: "modprobe aufs")
        }
    }

    public static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        guard exists(root.path + "/aufs") else { return }
        let mounted = MountTable.current().entries.first { entry in
            entry.type == "aufs" && entry.source.hasPrefix("lamina-\(root.id)-")
        }
        if let mounted { throw .mounted("destroy", mounted.source, at: mounted.target) }
        try attempt("destroy", root.path + "/aufs") {
            let directory = try FileDescriptor.openingDirectory(root.path)
            defer { directory.closeQuietly() }
            try directory.removeEntry(EntryName("aufs"))
        }
    }

    // MARK: Life cycle

    public func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        if limit != nil {
            throw StorageError(
                .unimplemented, "create", path(layer, .active), "the aufs driver cannot hold a size limit",
                hint: "use the btrfs, zfs or devicemapper driver")
        }
        try remove(layer)
        do throws(StorageError) {
            try attempt("create", path(layer, .active)) {
                let isCopy = parent.map { !exists(path($0, .committed)) } ?? false
                let parents = try parent.map { try (isCopy ? [] : [$0]) + self.parents(of: $0) } ?? []
                if let refusal = stack(layer, parents, isWritable: true).refusal {
                    throw StorageError(
                        .failedPrecondition, "create", path(layer, .active), refusal,
                        hint: "make one layer of them: import what tar -c makes of a mount of the topmost")
                }
                let partial = path(layer, .partial)
                try check(mkdir(partial, 0o700), "mkdir", partial)
                let target = try FileDescriptor.openingDirectory(partial)
                defer { target.closeQuietly() }
                // The kernel applies the process's umask to mkdir.
                try check(fchmod(target.rawValue, 0o755), "chmod", partial)
                if let parent {
                    let source = try FileDescriptor.openingDirectory(objectName(parent))
                    defer { source.closeQuietly() }
                    if isCopy {
                        try TreeCopy.run(from: source, to: target)
                    } else {
                        // The root of a mount is the topmost branch's.
                        try target.copyAttributes(of: .itself, from: .itself, in: source, try source.status())
                    }
                }
                try writeText(parents.map { "\($0)\n" }.joined(), to: list(layer))
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
                try directory.removeEntry(EntryName(layer.description))
            }
        }
        unlink(list(layer))
    }

    /// Moves the layer between its states; on the disk when this returns.
    private func move(_ layer: LayerNumber, _ from: State, _ to: State) throws(SystemError) {
        try check(rename(path(layer, from), path(layer, to)), "rename", path(layer, from))
        for state in [from, to] {
            let directory = try FileDescriptor.openingDirectory("\(base)/\(state)")
            defer { directory.closeQuietly() }
            try directory.synchronize()
        }
    }

    // MARK: Mounting

    public func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        guard exists(objectName(layer)) else {
            throw StorageError(
                .notFound, "activate", objectName(layer), "there is no such directory", errno: .current)
        }
        let isWritable = !readOnly && !exists(path(layer, .committed))
        let parents = try attempt("activate", objectName(layer)) { try self.parents(of: layer) }
        let stack = self.stack(layer, parents, isWritable: isWritable)
        // aufs makes it anew, and refuses one that is there: a kill has left it.
        unlink(stack.numbers)
        return [Mount(type: "aufs", source: source(layer), options: stack.options)]
    }

    /// A directory is always active.
    public func release(_ layer: LayerNumber) throws(StorageError) {}

    public func deactivate(_ layer: LayerNumber) throws(StorageError) {
        let mounted = MountTable.current().entries.first { $0.type == "aufs" && $0.source == source(layer) }
        if let mounted { throw .mounted("deactivate", objectName(layer), at: mounted.target) }
    }

    private func source(_ layer: LayerNumber) -> String { "lamina-\(root.id)-\(layer)" }

    private func stack(_ layer: LayerNumber, _ parents: [LayerNumber], isWritable: Bool) -> BranchStack {
        BranchStack(
            top: objectName(layer), isWritable: isWritable, lowers: parents.map { path($0, .committed) },
            numbers: "\(base)/xino-\(layer)")
    }

    // MARK: Reading

    public func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        try attempt("usage", objectName(layer)) {
            let own = try bytes(of: layer)
            let inherited = try parents(of: layer).reduce(0) { try $0 + bytes(of: $1) }
            return LayerUsage(exclusiveBytes: own, referencedBytes: own + inherited)
        }
    }

    /// On the disk, of what is in the layer's own directory.
    private func bytes(of layer: LayerNumber) throws(SystemError) -> UInt64 {
        let directory = try FileDescriptor.openingDirectory(objectName(layer))
        defer { directory.closeQuietly() }
        return try TreeSize(of: directory).bytes
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
            message: filesystem.isReadOnly
                ? "the filesystem is read-only: see the kernel's log (dmesg)"
                : "aufs is no part of Linux any more: move to another driver with lamina migrate",
            space: space, details: [.init("directory", base), .init("filesystem", filesystem.typeName)])
    }

    private func path(_ layer: LayerNumber, _ state: State) -> String { "\(base)/\(state)/\(layer)" }
    private func list(_ layer: LayerNumber) -> String { "\(base)/parents/\(layer)" }

    /// All that lie below the layer, nearest first.
    private func parents(of layer: LayerNumber) throws(SystemError) -> [LayerNumber] {
        guard let text = readText(list(layer)) else { throw SystemError.last("read", list(layer)) }
        return text.split(separator: "\n").compactMap { UInt64($0).map { LayerNumber($0) } }
    }
}
