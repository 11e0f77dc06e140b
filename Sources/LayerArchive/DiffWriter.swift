import LinuxSystem
import StorageDriver
import SystemPackage

/// Writes the changes between two trees as an OCI layer: what was added or modified whole, what is gone as whiteouts.
final class DiffWriter {
    private(set) var warnings: [String] = []
    private let tar: TarWriter
    private let output: ArchiveOutput
    /// Where the first link of an inode stands in the tar.
    private var firstLinks: [UInt64: [UInt8]] = [:]

    init(_ output: ArchiveOutput) {
        self.output = output
        tar = TarWriter(output)
    }

    func run(from parent: FileDescriptor?, to child: FileDescriptor) throws {
        let status = try child.status()
        let rootChanged =
            try parent.map { parent in
                try !TreeComparison.areEqual(.itself, parent, parent.status(), child, status)
            } ?? true
        if rootChanged {
            try tar.header([0x2E, 0x2F], status, xattrs: Self.kept(child.extendedAttributes(of: .itself)))
        }
        let comparison = TreeComparison { _, path, status, directory in
            if let status {
                try self.member(path, status, in: directory)
            } else {
                try self.tar.whiteout(path.parent.appending(Whiteout.prefix + path.name).bytes)
            }
        }
        try comparison.directory(parent, child, .root)
        try tar.end()
    }

    private func member(_ path: EntryPath, _ status: FileStatus, in directory: FileDescriptor) throws {
        let name = EntryName(path.name)
        if path.name.starts(with: Whiteout.prefix) {
            throw StorageError(
                .failedPrecondition, "diff", "/" + path.text,
                "a name that begins with .wh. has no place in an OCI layer")
        }
        if status.kind == .socket {
            warnings.append("/\(path.text): sockets are not kept")
            return
        }
        if status.kind != .directory, status.linkCount > 1 {
            if let first = firstLinks[status.inode] {
                return try tar.header(path.bytes, status, linkName: first, isHardLink: true)
            }
            firstLinks[status.inode] = path.bytes
        }
        let bytes = status.kind == .directory ? path.bytes + [UInt8(ascii: "/")] : path.bytes
        let target = status.kind == .symlink ? try directory.readLink(name) : []
        let xattrs = Self.kept(try directory.extendedAttributes(of: name))
        guard status.kind == .regular else {
            return try tar.header(bytes, status, linkName: target, xattrs: xattrs)
        }
        let file = try directory.openEntry(name)
        defer { file.closeQuietly() }
        try tar.header(bytes, status, xattrs: xattrs)
        try copy(file, size: status.size, path)
        try tar.pad(after: status.size)
    }

    private func copy(_ file: FileDescriptor, size: UInt64, _ path: EntryPath) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)
        defer { buffer.deallocate() }
        var rest = size
        while rest > 0 {
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(rest, UInt64(buffer.count)))])
            let count = try file.read(into: piece)
            if count == 0 {
                throw StorageError(.aborted, "diff", "/" + path.text, "it became shorter while it was read")
            }
            try output.write(UnsafeRawBufferPointer(rebasing: piece[..<count]))
            rest -= UInt64(count)
        }
    }

    /// Without what belongs to a mechanism and not to the layer: notes of overlayfs, properties of btrfs.
    private static func kept(_ xattrs: ExtendedAttributes) -> ExtendedAttributes {
        xattrs.filter { !$0.key.hasPrefix("trusted.overlay.") && !$0.key.hasPrefix("btrfs.") }
    }
}
