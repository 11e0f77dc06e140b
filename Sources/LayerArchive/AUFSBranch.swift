import LinuxSystem
import StorageDriver
import SystemPackage

/// A writable branch of aufs: files as they are, and names for what is gone, which OCI has taken from it (aufs(5),
/// "Whiteout"): `.wh.NAME`, and `.wh..wh..opq` in a directory that hides all that is below.
struct AUFSBranch {
    private(set) var changes: [TreeChange] = [.init(kind: .modified, path: .root)]
    private(set) var warnings = Warnings()

    /// Walks all of the branch.
    init(_ root: FileDescriptor) throws {
        try walk(root, .root)
    }

    private mutating func walk(_ directory: FileDescriptor, _ path: EntryPath) throws {
        for name in try directory.entries() {
            let status = try directory.status(of: name)
            if name.bytes.starts(with: Whiteout.prefix) {
                try whiteout(name, status, path)
                continue
            }
            changes.append(TreeChange(kind: .added, path: path.appending(name.bytes)))
            guard status.kind == .directory else { continue }
            let below = try directory.openEntry(name, flags: directoryFlag)
            defer { below.closeQuietly() }
            try walk(below, path.appending(name.bytes))
        }
    }

    /// Of the names that begin with `.wh..wh.`, one says something of the layer; the others are aufs's own: links that it
    /// keeps beside their names (plnk), open files without one (orph), its mark of a branch (aufs). A directory is what
    /// was being removed when the host stopped.
    private mutating func whiteout(_ name: EntryName, _ status: FileStatus, _ path: EntryPath) throws {
        let place = path.appending(name.bytes)
        if name.bytes.starts(with: Whiteout.internalPrefix), name.bytes != Whiteout.opaque { return }
        guard status.kind == .regular else {
            warnings.add("/\(place.text): left over by aufs, not taken")
            return
        }
        // A tar's writer puts the prefix before what is gone.
        let gone = path.appending(Array(name.bytes.dropFirst(Whiteout.prefix.count)))
        changes.append(TreeChange(kind: .deleted, path: gone))
    }
}

extension LayerArchive {
    /// Writes a branch of aufs as an OCI layer. The same branch gives the same bytes.
    public static func writeAUFSBranch(
        _ branch: FileDescriptor, into output: FileDescriptor
    ) throws(StorageError) -> WrittenDiff {
        try attempt("read", "aufs branch") {
            let found = try AUFSBranch(branch)
            let stream = ArchiveOutput(output, compression: .none, progress: nil)
            let writer = DiffWriter(branch, stream)
            try writer.write(found.changes)
            let digests = try stream.finish()
            return WrittenDiff(
                diffID: digests.plain, digest: digests.packed, bytes: stream.written,
                warnings: found.warnings.lines + writer.warnings.lines)
        }
    }
}
