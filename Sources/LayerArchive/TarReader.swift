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

    /// Users and groups of its ACLs that the tar names without a number.
    let unknownNames: [String]

    /// Those that belong to a layer, sorted by name.
    var layerAttributes: [(key: AttributeName, value: [UInt8])] {
        xattrs.filter { $0.key.isLayers }.sorted { $0.key < $1.key }
    }

    /// Whether overlayfs takes it for a whiteout, and refuses to make it.
    var isOverlayWhiteout: Bool { kind == .characterDevice && device == DeviceNumber(major: 0, minor: 0) }
}

/// Reads the members of a tar (ustar, GNU, PAX) in order, through libarchive.
final class TarReader {
    private let archive: OpaquePointer
    private let source: Source
    private let name: String
    /// Of the member last returned, in bytes, holes included.
    private var size: UInt64 = 0
    private var hasMember = false

    /// What libarchive's callback reaches through its pointer.
    private final class Source {
        let input: ReadAhead
        var error: StorageError?
        /// Bytes that libarchive may still read.
        var budget = Int.max
        let name: String

        init(_ input: ReadAhead, _ name: String) {
            self.input = input
            self.name = name
        }
    }

    /// Bytes that the headers of one member may take, the map of a sparse file included, all of which libarchive holds
    /// in memory: room for 150,000 holes.
    private static let headerBudget = 3 << 20

    /// ARCHIVE_ERRNO_FILE_FORMAT, which is EILSEQ (archive.h, archive_platform.h).
    private static let fileFormat = EILSEQ

    init(_ input: ReadAhead, named name: String) throws(StorageError) {
        archive = archive_read_new()
        source = Source(input, name)
        self.name = name
        archive_read_support_format_tar(archive)
        archive_read_set_options(archive, "hdrcharset=BINARY")
        let context = Unmanaged.passUnretained(source).toOpaque()
        let result = archive_read_open(
            archive, context, nil,
            { @Sendable _, context, buffer in
                let source = Unmanaged<Source>.fromOpaque(context!).takeUnretainedValue()
                do throws(StorageError) {
                    if source.budget <= 0 {
                        throw StorageError(
                            .resourceExhausted, "read", source.name,
                            "a member's header is larger than \(TarReader.headerBudget) bytes")
                    }
                    let piece = try source.input.next()
                    source.budget -= piece.count
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
        // What is left of the last one.
        if hasMember, archive_read_data_skip(archive) < ARCHIVE_WARN { throw failure() }
        source.budget = Self.headerBudget
        let result = archive_read_next_header(archive, &entry)
        source.budget = .max
        if result == ARCHIVE_EOF { return nil }
        // A warning may be about a name's character set: names are bytes here. Others are about records that make no
        // sense, and what they say would be lost.
        let isUsable = result == ARCHIVE_OK || (result == ARCHIVE_WARN && archive_errno(archive) == Self.fileFormat)
        guard isUsable, let entry else { throw failure() }
        hasMember = true
        let path = bytes(archive_entry_pathname(entry))
        func refuse(_ reason: String) -> StorageError {
            StorageError(.dataLoss, "read", name, "member \"\(EntryPath(bytes: path).text)\": \(reason)")
        }
        func id(_ value: la_int64_t) throws(StorageError) -> UInt32 {
            // The largest number means "no change" to the kernel.
            guard let id = UInt32(exactly: value), id != .max else {
                throw refuse("\(value) is no id of a user or group")
            }
            return id
        }
        let hardLink = archive_entry_hardlink(entry).map { bytes($0) }
        let kind = FileStatus.Kind(rawValue: UInt32(archive_entry_filetype(entry)) & 0o170000)
        let symlink = bytes(archive_entry_symlink(entry))
        guard kind != nil || hardLink != nil, kind != .symlink || !symlink.isEmpty else {
            throw refuse("it is a link to nothing, or of a kind that no layer has")
        }
        size = UInt64(max(0, archive_entry_size(entry)))
        var unknownNames: [String] = []
        let xattrs = xattrs(of: entry, unknownNames: &unknownNames)
        return TarEntry(
            path: path, kind: kind ?? .regular, hardLink: hardLink, symlink: symlink,
            permissions: UInt32(archive_entry_perm(entry)) & 0o7777, uid: try id(archive_entry_uid(entry)),
            gid: try id(archive_entry_gid(entry)), size: size, modified: modified(of: entry),
            device: DeviceNumber(
                major: UInt32(truncatingIfNeeded: archive_entry_rdevmajor(entry)),
                minor: UInt32(truncatingIfNeeded: archive_entry_rdevminor(entry))),
            xattrs: xattrs, unknownNames: unknownNames)
    }

    /// Bytes of the tar before its end mark; to be asked after the last member.
    var end: UInt64 { UInt64(archive_read_header_position(archive)) }

    /// Gives the data of the member last returned, piece by piece with its offset; holes are left out.
    /// - Throws: `.dataLoss` for data beyond the member's size, and what `body` does.
    func readData(_ body: (UInt64, UnsafeRawBufferPointer) throws -> Void) throws {
        while true {
            var base: UnsafeRawPointer?
            var count = 0
            var offset: la_int64_t = 0
            let result = archive_read_data_block(archive, &base, &count, &offset)
            if result == ARCHIVE_EOF { return }
            guard result == ARCHIVE_OK else { throw failure() }
            if count == 0 { continue }
            guard let start = UInt64(exactly: offset), start <= size, UInt64(count) <= size - start else {
                throw StorageError(.dataLoss, "read", name, "a sparse file has data after its end")
            }
            try body(start, UnsafeRawBufferPointer(start: base, count: count))
        }
    }

    /// libarchive takes the fraction of a time before 1970 as if it counted forward.
    private func modified(of entry: OpaquePointer) -> FileStatus.Timestamp {
        let (seconds, fraction) = (Int64(archive_entry_mtime(entry)), UInt32(archive_entry_mtime_nsec(entry)))
        return seconds < 0 && fraction > 0
            ? .init(seconds: seconds - 1, nanoseconds: 1_000_000_000 - fraction)
            : .init(seconds: seconds, nanoseconds: fraction)
    }

    private func xattrs(of entry: OpaquePointer, unknownNames: inout [String]) -> ExtendedAttributes {
        var attributes: ExtendedAttributes = [:]
        archive_entry_xattr_reset(entry)
        // ACLs as text, unless they are there as the kernel has them too.
        for (key, type) in [
            (PosixACL.accessKey, ARCHIVE_ENTRY_ACL_TYPE_ACCESS), (PosixACL.defaultKey, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT),
        ] { attributes[key] = PosixACL(entry, type: type, unknown: &unknownNames)?.attribute }
        var key: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var count = 0
        // PAX may carry each twice, in SCHILY's and in libarchive's own form: equal, and set once here.
        while archive_entry_xattr_next(entry, &key, &value, &count) == ARCHIVE_OK, let key {
            attributes[AttributeName(bytes(key))] = Array(UnsafeRawBufferPointer(start: value, count: count))
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
        // Its word for headers of one kind that are larger than it takes.
        if archive_errno(archive) == EINVAL {
            return StorageError(
                .resourceExhausted, "read", name,
                "\(text): a member's extended header may have 1 MiB, whatever the limits")
        }
        return StorageError(.dataLoss, "read", name, "it is no valid tar: \(text)")
    }
}
