import CArchive
import Glibc
import LinuxSystem
import StorageDriver

/// One member of a tar that somebody wrote: nothing in it is to be trusted.
struct TarEntry {
    let path: [UInt8]
    let kind: FileStatus.Kind
    /// Set for a hard link; `kind` is then meaningless.
    let hardLink: [UInt8]?
    let symlink: [UInt8]
    let permissions: UInt32
    let uid: UInt32
    let gid: UInt32
    let size: UInt64
    let modified: FileStatus.Timestamp
    let device: DeviceNumber
    let xattrs: ExtendedAttributes

    /// Those that belong to a layer, sorted by name.
    var layerAttributes: [(key: String, value: [UInt8])] {
        xattrs.filter { isLayerAttribute($0.key) }.sorted { $0.key < $1.key }
    }

    /// Whether overlayfs takes it for a whiteout, and refuses to make it.
    var isOverlayWhiteout: Bool { kind == .characterDevice && device == DeviceNumber(major: 0, minor: 0) }
}

/// Reads the members of a tar (ustar, GNU, PAX) in order, through libarchive.
final class TarReader {
    private let archive: OpaquePointer
    private let source: Source
    private let name: String

    /// What libarchive's callback reaches through its pointer.
    private final class Source {
        let input: ReadAhead
        var error: StorageError?
        init(_ input: ReadAhead) { self.input = input }
    }

    init(_ input: ReadAhead, named name: String) throws(StorageError) {
        archive = archive_read_new()
        source = Source(input)
        self.name = name
        archive_read_support_format_tar(archive)
        archive_read_set_options(archive, "hdrcharset=BINARY")
        let context = Unmanaged.passUnretained(source).toOpaque()
        let result = archive_read_open(
            archive, context, nil,
            { @Sendable _, context, buffer in
                let source = Unmanaged<Source>.fromOpaque(context!).takeUnretainedValue()
                do throws(StorageError) {
                    let piece = try source.input.next()
                    buffer?.pointee = piece.baseAddress
                    return piece.count
                } catch {
                    source.error = error
                    return -1
                }
            }, nil)
        if result != ARCHIVE_OK { throw failure() }
    }

    deinit { archive_read_free(archive) }

    /// The next member; nil at the end.
    func next() throws(StorageError) -> TarEntry? {
        var entry: OpaquePointer?
        let result = archive_read_next_header(archive, &entry)
        if result == ARCHIVE_EOF { return nil }
        // A warning is about a name's character set: names are bytes here.
        guard result == ARCHIVE_OK || result == ARCHIVE_WARN, let entry else { throw failure() }
        return TarEntry(
            path: bytes(archive_entry_pathname(entry)), kind: kind(of: entry),
            hardLink: archive_entry_hardlink(entry).map { bytes($0) }, symlink: bytes(archive_entry_symlink(entry)),
            permissions: UInt32(archive_entry_perm(entry)) & 0o7777,
            uid: UInt32(truncatingIfNeeded: archive_entry_uid(entry)),
            gid: UInt32(truncatingIfNeeded: archive_entry_gid(entry)),
            size: UInt64(max(0, archive_entry_size(entry))),
            modified: modified(of: entry),
            device: DeviceNumber(
                major: UInt32(truncatingIfNeeded: archive_entry_rdevmajor(entry)),
                minor: UInt32(truncatingIfNeeded: archive_entry_rdevminor(entry))),
            xattrs: xattrs(of: entry))
    }

    /// Gives the data of the member last returned, piece by piece with its offset; holes are left out.
    func readData(
        _ body: (UInt64, UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) {
        while true {
            var base: UnsafeRawPointer?
            var count = 0
            var offset: la_int64_t = 0
            let result = archive_read_data_block(archive, &base, &count, &offset)
            if result == ARCHIVE_EOF { return }
            guard result == ARCHIVE_OK else { throw failure() }
            if count > 0 { try body(UInt64(offset), UnsafeRawBufferPointer(start: base, count: count)) }
        }
    }

    /// libarchive takes the fraction of a time before 1970 as if it counted forward.
    private func modified(of entry: OpaquePointer) -> FileStatus.Timestamp {
        let (seconds, fraction) = (Int64(archive_entry_mtime(entry)), UInt32(archive_entry_mtime_nsec(entry)))
        return seconds < 0 && fraction > 0
            ? .init(seconds: seconds - 1, nanoseconds: 1_000_000_000 - fraction)
            : .init(seconds: seconds, nanoseconds: fraction)
    }

    private func kind(of entry: OpaquePointer) -> FileStatus.Kind {
        FileStatus.Kind(rawValue: UInt32(archive_entry_filetype(entry)) & 0o170000) ?? .regular
    }

    private func xattrs(of entry: OpaquePointer) -> ExtendedAttributes {
        var attributes: ExtendedAttributes = [:]
        archive_entry_xattr_reset(entry)
        // ACLs as text, unless they are there as the kernel has them too.
        attributes[PosixACL.accessKey] = PosixACL(entry, type: ARCHIVE_ENTRY_ACL_TYPE_ACCESS)?.attribute
        attributes[PosixACL.defaultKey] = PosixACL(entry, type: ARCHIVE_ENTRY_ACL_TYPE_DEFAULT)?.attribute
        var key: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var count = 0
        // PAX may carry each twice, in SCHILY's and in libarchive's own form: equal, and set once here.
        while archive_entry_xattr_next(entry, &key, &value, &count) == ARCHIVE_OK, let key {
            attributes[String(cString: key)] = Array(UnsafeRawBufferPointer(start: value, count: count))
        }
        return attributes
    }

    private func bytes(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        guard let text else { return [] }
        return Array(UnsafeBufferPointer(start: text, count: strlen(text))).map { UInt8(bitPattern: $0) }
    }

    private func failure() -> StorageError {
        if let error = source.error { return error }
        let text = archive_error_string(archive).map { String(cString: $0) } ?? "it is no tar"
        return StorageError(.dataLoss, "read", name, "it is no valid tar: \(text)")
    }
}
