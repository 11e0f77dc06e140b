import LinuxSystem
import SystemPackage

/// Writes a PAX tar (POSIX.1-2001) whose every byte is a function of the members alone: no names of users, no time of
/// writing, extended headers only where the plain one has no room.
struct TarWriter {
    /// Header and data come in blocks of this many bytes.
    private static let block = 512
    private let output: ArchiveOutput

    init(_ output: ArchiveOutput) { self.output = output }

    /// Largest values of the header's octal fields.
    private static let largest7 = 0o7777777 as UInt64
    private static let largest11 = 0o77777777777 as UInt64

    /// Writes the header of a member; for a regular file, its data and `pad` follow.
    /// - Parameters:
    ///   - linkName: what a symlink leads to, or the earlier member that this one is a hard link to.
    ///   - map: where a sparse file has data; only that follows.
    func header(
        _ path: [UInt8], _ status: FileStatus, linkName: [UInt8] = [], isHardLink: Bool = false,
        xattrs: ExtendedAttributes = [:], map: SparseMap? = nil
    ) throws(SystemError) {
        var path = path
        let encodedMap = map?.encoded(block: Self.block) ?? []
        let size: UInt64 =
            if status.kind != .regular || isHardLink {
                0
            } else {
                map.map { UInt64(encodedMap.count) + $0.stored } ?? status.size
            }
        var records: [Record] = []
        func decimal(_ value: some BinaryInteger) -> [UInt8] { Array(String(value).utf8) }
        if map != nil {
            records += [
                Record("GNU.sparse.major", decimal(1)), Record("GNU.sparse.minor", decimal(0)),
                Record("GNU.sparse.name", path, isName: true), Record("GNU.sparse.realsize", decimal(status.size)),
            ]
            // What readers show that know no sparse files.
            path = Array("GNUSparseFile.0/".utf8) + EntryPath(bytes: path).name.prefix(80)
        }
        if path.count > 100 { records.append(Record("path", path, isName: true)) }
        if linkName.count > 100 { records.append(Record("linkpath", linkName, isName: true)) }
        if size > Self.largest11 { records.append(Record("size", decimal(size))) }
        if UInt64(status.uid) > Self.largest7 { records.append(Record("uid", decimal(status.uid))) }
        if UInt64(status.gid) > Self.largest7 { records.append(Record("gid", decimal(status.gid))) }
        let time = status.modified
        let timeFits = time.seconds >= 0 && UInt64(time.seconds) <= Self.largest11
        if time.nanoseconds != 0 || !timeFits { records.append(Record("mtime", Self.decimal(time))) }
        for (key, value) in xattrs { records += Self.records(ofAttribute: key, value) }
        try extendedHeader(records)
        let type: Character =
            switch status.kind {
            case _ where isHardLink: "1"
            case .regular, .socket: "0"
            case .symlink: "2"
            case .characterDevice: "3"
            case .blockDevice: "4"
            case .directory: "5"
            case .fifo: "6"
            }
        let isNode = type == "3" || type == "4"
        try plainHeader(
            path, type: type, mode: status.permissions, uid: status.uid, gid: status.gid, size: size,
            seconds: timeFits ? UInt64(time.seconds) : 0, linkName: linkName,
            device: isNode ? status.node : DeviceNumber(major: 0, minor: 0))
        try write(encodedMap)
    }

    /// A record of an extended header.
    private struct Record {
        let key: [UInt8]
        let value: [UInt8]
        /// Whether readers take the value for text, unless they are told otherwise.
        let isName: Bool

        init(_ key: String, _ value: [UInt8], isName: Bool = false) {
            self.init(Array(key.utf8), value, isName: isName)
        }

        init(_ key: [UInt8], _ value: [UInt8], isName: Bool = false) {
            self.key = key
            self.value = value
            self.isName = isName
        }

        /// "27 mtime=1700000000.000000001\n": the length counts its own digits.
        var bytes: [UInt8] {
            let rest = 1 + key.count + 1 + value.count + 1
            var length = rest + String(rest).count
            length = rest + String(length).count
            return Array("\(length) ".utf8) + key + [UInt8(ascii: "=")] + value + [0x0A]
        }
    }

    /// An extended attribute, as star and most others have it; one with `=` in its name as only libarchive can. ACLs
    /// also as text, for the readers that take no other.
    private static func records(ofAttribute key: AttributeName, _ value: [UInt8]) -> [Record] {
        if key.bytes.contains(UInt8(ascii: "=")) {
            let name = key.bytes.map { byte in
                let isPlain = byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "%") && byte != UInt8(ascii: "=")
                return isPlain ? String(UnicodeScalar(byte)) : "%" + hexadecimal([byte]).uppercased()
            }
            return [Record("LIBARCHIVE.xattr." + name.joined(), base64(value))]
        }
        var records = [Record(Array("SCHILY.xattr.".utf8) + key.bytes, value)]
        if let word = [PosixACL.accessKey: "access", PosixACL.defaultKey: "default"][key],
            let acl = PosixACL(attribute: value)
        {
            records.append(Record("SCHILY.acl." + word, Array(acl.text.utf8)))
        }
        return records
    }

    /// Writes an empty file of mode 0 that says what is gone.
    func whiteout(_ path: [UInt8]) throws(SystemError) {
        if path.count > 100 { try extendedHeader([Record("path", path, isName: true)]) }
        try plainHeader(path, type: "0", mode: 0, uid: 0, gid: 0, size: 0, seconds: 0)
    }

    /// Fills the last block of a member's data.
    func pad(after size: UInt64) throws(SystemError) {
        let rest = Int(size % UInt64(Self.block))
        if rest > 0 { try write([UInt8](repeating: 0, count: Self.block - rest)) }
    }

    /// Two empty blocks end a tar.
    func end() throws(SystemError) { try write([UInt8](repeating: 0, count: 2 * Self.block)) }

    private func extendedHeader(_ records: [Record]) throws(SystemError) {
        if records.isEmpty { return }
        var records = records
        if records.contains(where: { $0.isName && String(validating: $0.value, as: UTF8.self) == nil }) {
            records.append(Record("hdrcharset", Array("BINARY".utf8)))
        }
        records.sort { $0.key.lexicographicallyPrecedes($1.key) }
        let data = records.flatMap(\.bytes)
        try plainHeader(
            Array("PaxHeaders/0".utf8), type: "x", mode: 0o644, uid: 0, gid: 0, size: UInt64(data.count), seconds: 0)
        try write(data)
        try pad(after: UInt64(data.count))
    }

    private func plainHeader(
        _ path: [UInt8], type: Character, mode: UInt32, uid: UInt32, gid: UInt32, size: UInt64, seconds: UInt64,
        linkName: [UInt8] = [], device: DeviceNumber = DeviceNumber(major: 0, minor: 0)
    ) throws(SystemError) {
        var header = [UInt8](repeating: 0, count: Self.block)
        func put(_ bytes: some Collection<UInt8>, at offset: Int) {
            header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        func octal(_ value: UInt64, width: Int, at offset: Int) {
            let digits = String(value, radix: 8)
            put(Array((String(repeating: "0", count: max(0, width - digits.count)) + digits).utf8), at: offset)
        }
        put(path.prefix(100), at: 0)
        octal(UInt64(mode), width: 7, at: 100)
        octal(UInt64(uid) > Self.largest7 ? 0 : UInt64(uid), width: 7, at: 108)
        octal(UInt64(gid) > Self.largest7 ? 0 : UInt64(gid), width: 7, at: 116)
        octal(size > Self.largest11 ? 0 : size, width: 11, at: 124)
        octal(seconds, width: 11, at: 136)
        put([UInt8](repeating: 0x20, count: 8), at: 148)
        put([type.asciiValue ?? 0x30], at: 156)
        put(linkName.prefix(100), at: 157)
        put(Array("ustar".utf8) + [0] + Array("00".utf8), at: 257)
        octal(UInt64(device.major), width: 7, at: 329)
        octal(UInt64(device.minor), width: 7, at: 337)
        octal(header.reduce(0) { $0 + UInt64($1) }, width: 6, at: 148)
        put([0, 0x20], at: 154)
        try write(header)
    }

    private func write(_ bytes: [UInt8]) throws(SystemError) {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(SystemError) in try output.write(buffer) }
        }
        try result.get()
    }

    /// Seconds with nine digits of fraction; before 1970 the fraction counts towards it, as PAX has it.
    private static func decimal(_ time: FileStatus.Timestamp) -> [UInt8] {
        var (seconds, fraction) = (time.seconds, Int64(time.nanoseconds))
        let isNegative = seconds < 0
        if isNegative, fraction > 0 { (seconds, fraction) = (seconds + 1, 1_000_000_000 - fraction) }
        let digits = String(fraction)
        let padded = String(repeating: "0", count: 9 - digits.count) + digits
        return Array("\(isNegative ? "-" : "")\(seconds.magnitude).\(padded)".utf8)
    }
}
