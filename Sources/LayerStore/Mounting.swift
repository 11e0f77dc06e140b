import GRDB
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

extension LayerStore {
    /// Mounts a layer, read-only if it is committed or a view.
    /// - Parameter target: an empty directory; nil for a path of the layer's own below the root.
    /// - Returns: the path, and how it was mounted.
    public func mount(
        _ name: LayerName, at target: String? = nil, readOnly: Bool = false
    ) throws(StorageError) -> (target: String, mounts: [Mount]) {
        try withLayer(name, "mount") { layer throws(StorageError) in
            let isReadOnly = readOnly || layer.kind != .active
            let path = try mountPoint(target, for: layer)
            let mark = try InFlight(layer.object, in: layout)
            let (row, mounts) = try activate(layer, target: path, readOnly: isReadOnly, "mount")
            do throws(StorageError) {
                try attempt("mount", name.text) {
                    for mount in mounts { try DetachedMount(mount).attach(to: path) }
                }
            } catch {
                if (try? unrecord([row], of: layer)) != nil { mark.done() }
                throw error
            }
            mark.done()
            return (path, mounts)
        }
    }

    /// Activates a layer for a caller that mounts it by itself; `release` undoes it. Repeating it changes nothing.
    public func mounts(_ name: LayerName, readOnly: Bool = false) throws(StorageError) -> [Mount] {
        try withLayer(name, "activate") { layer throws(StorageError) in
            let mark = try InFlight(layer.object, in: layout)
            let isReadOnly = readOnly || layer.kind != .active
            let mounts = try activate(layer, target: nil, readOnly: isReadOnly, "activate").mounts
            mark.done()
            return mounts
        }
    }

    /// Undoes `mounts`.
    /// - Throws: `.failedPrecondition` when the layer was not activated.
    public func release(_ name: LayerName) throws(StorageError) {
        try withLayer(name, "release") { layer throws(StorageError) in
            let rows = try rows(of: layer).filter { $0.target == nil }
            if rows.isEmpty {
                throw StorageError(.failedPrecondition, "release", name.text, "it is not activated by layer mounts")
            }
            try unrecord(rows, of: layer)
        }
    }

    /// Unmounts a layer everywhere.
    /// - Throws: `.failedPrecondition` when it is not mounted, or in use (EBUSY).
    public func unmount(_ name: LayerName) throws(StorageError) {
        try withLayer(name, "unmount") { layer throws(StorageError) in
            let rows = try rows(of: layer).filter { $0.target != nil }
            if rows.isEmpty { throw StorageError(.failedPrecondition, "unmount", name.text, "it is not mounted") }
            for row in rows { try unmount(row, of: layer) }
        }
    }

    /// Unmounts the layer that is mounted at a path.
    /// - Throws: `.notFound` when none of this root is.
    public func unmount(target: String) throws(StorageError) {
        let path = resolvedPath(target) ?? target
        let found = try records.read("unmount", path) { db throws in
            try MountRecord.at(path, in: db).last.flatMap { row in try LayerRecords.find(row.layer, in: db) }
        }
        guard let found else {
            throw StorageError(.notFound, "unmount", target, "no layer of \(root.path) is mounted there")
        }
        try withLayer(found.name, "unmount") { layer throws(StorageError) in
            for row in try rows(of: layer) where row.target == path { try unmount(row, of: layer) }
        }
    }

    /// Where the layer is mounted now, and whether it is activated.
    public func mountsInForce(of layer: Layer) throws(StorageError) -> [LayerMount] {
        let table = MountTable.current()
        return try rows(of: layer).filter { $0.isInForce(table) }
            .map { LayerMount(target: $0.target, isReadOnly: $0.isReadOnly) }
    }

    /// Runs `body` on the root directory of a layer, mounted where nobody sees it unless it can be read without. The mount
    /// is gone after it, and also when this process is killed.
    /// - Parameters:
    ///   - readOnly: nothing is written; required for what is not active.
    ///   - isLocked: whether the caller holds the layer's exclusive lock; else it is held while the layer is activated
    ///     and while it is let go, but not meanwhile.
    func withTree<Result>(
        of layer: Layer, readOnly: Bool, isLocked: Bool = true, _ operation: String,
        _ body: (FileDescriptor) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        if readOnly, let trees = driver as? any OpenTrees {
            let root = try named(layer.name) { () throws(StorageError) in try trees.openTree(layer.object) }
            defer { root.closeQuietly() }
            return try body(root)
        }
        let mark = try InFlight(layer.object, in: layout)
        let result: Result
        do throws(StorageError) {
            let root = try withObject(of: layer, isLocked: isLocked, operation) { () throws(StorageError) in
                let mounts = try named(layer.name) { () throws(StorageError) in
                    try driver.mounts(layer.object, readOnly: readOnly)
                }
                return try openTree(mounts, operation, layer.name)
            }
            defer { root.closeQuietly() }
            result = try body(root)
        } catch {
            if (try? settle(layer, isLocked: isLocked)) != nil { mark.done() }
            throw error
        }
        try settle(layer, isLocked: isLocked)
        mark.done()
        return result
    }

    /// Lets the driver deactivate what no recorded mount needs.
    private func settle(_ layer: Layer, isLocked: Bool) throws(StorageError) {
        try withObject(of: layer, isLocked: isLocked, "release") { () throws(StorageError) in
            let rows = try records.read("release", layer.name.text) { db in
                try MountRecord.all(ofObject: layer.object, in: db)
            }
            if rows.isEmpty { try driver.release(layer.object) }
        }
    }

    /// The root of a tree that only this process sees, for as long as the descriptor is open.
    func openTree(
        _ mounts: [Mount], _ operation: String, _ name: LayerName
    ) throws(StorageError) -> FileDescriptor {
        try attempt(operation, name.text) {
            guard let mount = mounts.first, mounts.count == 1 else {
                throw StorageError(.unimplemented, operation, name.text, "its driver stacks several mounts")
            }
            return try DetachedMount(mount).openRoot()
        }
    }

    /// Refuses when the layer is mounted or activated, and says where.
    func requireUnmounted(_ layer: Layer, _ operation: String) throws(StorageError) {
        let table = MountTable.current()
        let rows = try rows(of: layer)
        if let row = rows.first(where: { $0.isInForce(table) }) {
            let name = layer.name
            if let target = row.target {
                throw StorageError(
                    .failedPrecondition, operation, name.text, "it is mounted at \(target)", errno: .resourceBusy,
                    hint: "lamina layer umount \(name)")
            }
            throw StorageError(
                .failedPrecondition, operation, name.text, "it is activated by layer mounts", errno: .resourceBusy,
                hint: "lamina layer release \(name)")
        }
        if !rows.isEmpty { try unrecord(rows, of: layer) }
    }

    private func rows(of layer: Layer) throws(StorageError) -> [MountRecord] {
        try records.read("read mounts of", layer.name.text) { db in try MountRecord.all(ofLayer: layer.number, in: db) }
    }

    /// Activates the layer's object, and records the mount that is about to be made. The caller holds a mark.
    private func activate(
        _ layer: Layer, target: String?, readOnly: Bool, _ operation: String
    ) throws(StorageError) -> (row: MountRecord, mounts: [Mount]) {
        try withObject(of: layer, isLocked: true, operation) { () throws(StorageError) in
            let mounts = try named(layer.name) { () throws(StorageError) in
                try driver.mounts(layer.object, readOnly: readOnly)
            }
            let row = try records.write(operation, layer.name.text) { db in
                if target == nil {
                    let earlier = try MountRecord.all(ofLayer: layer.number, in: db)
                    if let same = earlier.first(where: { $0.target == nil }) { return same }
                }
                return try MountRecord.insert(layer, target: target, readOnly: readOnly, in: db)
            }
            return (row, mounts)
        }
    }

    private func unmount(_ row: MountRecord, of layer: Layer) throws(StorageError) {
        guard let target = row.target else { return }
        if row.isInForce(MountTable.current()) {
            try attempt("unmount", target, hint: "end what uses it (fuser -vm \(target))") {
                try LinuxSystem.unmount(target)
            }
        }
        try unrecord([row], of: layer)
        if target == layout.mountPoint(layer.number) { rmdir(target) }
    }

    /// Takes rows out of the records, and lets the driver deactivate what nobody needs any more.
    private func unrecord(_ rows: [MountRecord], of layer: Layer) throws(StorageError) {
        let mark = try InFlight(layer.object, in: layout)
        try records.write("release", layer.name.text) { db in for row in rows { try row.delete(db) } }
        try settle(layer, isLocked: true)
        mark.done()
    }

    /// Holds the lock of the object, which for a view is another layer's than the view's own.
    /// - Parameter isLocked: whether the caller holds the layer's own lock.
    private func withObject<Result>(
        of layer: Layer, isLocked: Bool, _ operation: String, _ body: () throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        if isLocked, layer.object == layer.number { return try body() }
        return try layout.withLock(layer.object, .exclusive, operation, body)
    }

    /// The directory to mount at: the user's, which must be there and empty, or the layer's own, which is made.
    private func mountPoint(_ target: String?, for layer: Layer) throws(StorageError) -> String {
        let table = MountTable.current()
        guard let target else {
            let path = layout.mountPoint(layer.number)
            if table.entry(at: path) != nil {
                throw StorageError(
                    .failedPrecondition, "mount", layer.name.text, "it is mounted at \(path) already",
                    errno: .resourceBusy, hint: "lamina layer umount \(layer.name)")
            }
            try attempt("mount", layer.name.text) { try makeDirectories(path) }
            return path
        }
        guard let path = resolvedPath(target) else {
            throw StorageError(
                .notFound, "mount", target, "there is no such directory", errno: .noSuchFileOrDirectory,
                hint: "mkdir \(target)")
        }
        guard let names = directoryNames(path) else {
            throw StorageError(.invalidArgument, "mount", target, "it is not a directory", errno: .notDirectory)
        }
        if !names.isEmpty || table.entry(at: path) != nil {
            throw StorageError(
                .failedPrecondition, "mount", target, "the directory is not empty", errno: .directoryNotEmpty)
        }
        return path
    }
}

extension MountRecord {
    /// Whether something is mounted at the target; an activation is in force until it is released.
    func isInForce(_ table: MountTable) -> Bool {
        guard let target else { return true }
        return table.entry(at: target) != nil
    }
}
