import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// The overlay of a layer: mounted once in its `merged` while anybody uses it.
extension OverlayDriver {
    public func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] {
        let merged = ground.merged(layer)
        guard let status = try? FileStatus(path: merged) else {
            throw StorageError(.notFound, "activate", objectName(layer), "there is no such directory", errno: .current)
        }
        let isWritable = !readOnly && !ground.isCommitted(layer)
        try attempt("activate", objectName(layer)) {
            if !status.isMountRoot { try mountMerged(layer, isReadOnly: !isWritable) }
            guard isWritable, try FilesystemStatus(path: merged).isReadOnly else { return }
            do throws(SystemError) {
                try reconfigureFilesystem(merged, "rw")
            } catch {
                // Where it could not make its work directory, overlayfs has mounted read-only and said so to nobody.
                guard error.errno == .readOnlyFileSystem else { throw error }
                try unmountMerged(layer)
                throw StorageError(
                    .resourceExhausted, "activate", objectName(layer),
                    "overlayfs cannot write to it: the filesystem is full or read-only, or the layer's limit is reached",
                    errno: .noSpace)
            }
        }
        return [Mount(type: "bind", source: merged, options: ["rbind"] + (isWritable ? [] : ["ro"]))]
    }

    public func release(_ layer: LayerNumber) throws(StorageError) {
        try attempt("release", objectName(layer)) { try unmountMerged(layer) }
    }

    public func deactivate(_ layer: LayerNumber) throws(StorageError) {
        let merged = ground.merged(layer)
        let mounted = MountTable.current().entries.first { isOverlay($0, of: layer) && $0.target != merged }
        if let mounted { throw .mounted("deactivate", objectName(layer), at: mounted.target) }
        try attempt("deactivate", objectName(layer), hint: "end what uses it (fuser -vm \(merged))") {
            if try isMounted(merged) { try unmount(merged) }
        }
        try requireUnused(layer, "deactivate")
    }

    private func isOverlay(_ entry: MountTable.Entry, of layer: LayerNumber) -> Bool {
        entry.type == "overlay" && entry.source == ground.source(layer)
    }

    /// Mounts the overlay in `merged`: the one that there is, where somebody has kept it after a release, for two that
    /// write to one directory do not see each other's changes.
    private func mountMerged(_ layer: LayerNumber, isReadOnly: Bool) throws {
        for entry in MountTable.current().entries where isOverlay(entry, of: layer) && entry.root == "/" {
            let tree = try DetachedMount(Mount(type: "bind", source: entry.target, options: []))
            // Something else may be mounted over it.
            guard try tree.root.status().device == entry.device else { continue }
            try tree.makeWritable()
            return try tree.attach(to: ground.merged(layer), isPrivate: true)
        }
        try requireUnused(layer, "activate")
        try DetachedMount(try ground.stack(layer, isReadOnly: isReadOnly))
            .attach(to: ground.merged(layer), isPrivate: true)
    }

    func isMounted(_ path: String) throws(SystemError) -> Bool {
        exists(path) ? try FileStatus(path: path).isMountRoot : false
    }

    func unmountMerged(_ layer: LayerNumber) throws(SystemError) {
        let merged = ground.merged(layer)
        if try isMounted(merged) { try unmount(merged, lazily: true) }
    }

    /// Asks the kernel whether an overlay anywhere, also in another mount namespace or one that was unmounted lazily,
    /// writes to the layer's directory: with `index=on`, a second one is refused.
    /// - Throws: `.failedPrecondition` with EBUSY when one does.
    private func requireUnused(_ layer: LayerNumber, _ operation: String) throws(StorageError) {
        // What no mount has filled has never been mounted, or was not since the last time that this was asked.
        guard let names = directoryNames(ground.work(layer)), !names.isEmpty else { return }
        let source = ground.source(layer)
        let stack = OverlayStack(
            directory: ground.links, source: source, lowers: ["../empty"], upper: ground.upper(layer),
            options: OverlayGround.options.filter { $0 != "index=off" } + ["index=on"], isReadOnly: true)
        let hint = "grep -l \(source) /proc/[0-9]*/mountinfo names processes whose mount namespaces have it"
        try attempt(operation, objectName(layer), hint: hint) {
            // The end of an overlay that was written to takes as long as its filesystem takes to get it to the disk. The
            // kernel's log gets a line for each refusal.
            try patiently(attempts: 30, pause: 200_000) { () throws(SystemError) in
                do throws(SystemError) {
                    _ = try DetachedMount(stack)
                } catch {
                    // Of a full disk, say. That it is in use would have been found before.
                    guard error.errno == .resourceBusy else { return }
                    throw error
                }
            }
        }
        try attempt(operation, objectName(layer)) {
            let directory = try FileDescriptor.openingDirectory(ground.layer(layer))
            defer { directory.closeQuietly() }
            try? directory.removeExtendedAttribute(OverlayAttribute.origin, of: EntryName("diff"))
            let work = try directory.openEntry(EntryName("work"), flags: O_DIRECTORY)
            defer { work.closeQuietly() }
            for name in try work.entries() { try work.removeEntry(name) }
        }
    }
}
