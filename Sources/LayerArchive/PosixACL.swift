import CArchive
import LinuxSystem

/// A POSIX ACL in its two forms: as the kernel keeps it in an extended attribute (linux/posix_acl_xattr.h), and as
/// text with numeric ids, as star, GNU tar and libarchive have it in `SCHILY.acl.access` and `SCHILY.acl.default`.
struct PosixACL: Equatable {
    static let accessKey: AttributeName = "system.posix_acl_access"
    static let defaultKey: AttributeName = "system.posix_acl_default"

    /// Values of `e_tag`.
    enum Tag: UInt16 {
        case userObject = 0x01
        case user = 0x02
        case groupObject = 0x04
        case group = 0x08
        case mask = 0x10
        case other = 0x20
    }

    struct Entry: Equatable {
        let tag: Tag
        /// Three bits, as in a mode.
        let permissions: UInt16
        /// Of the user or group that is named.
        let id: UInt32
    }

    /// In the kernel's order: by tag, then by id.
    let entries: [Entry]

    /// POSIX_ACL_XATTR_VERSION, which begins the attribute as four bytes.
    private static let version: UInt32 = 2
    /// ACL_UNDEFINED_ID.
    private static let noID = UInt32.max

    init(entries: [Entry]) {
        self.entries = entries.sorted { ($0.tag.rawValue, $0.id) < ($1.tag.rawValue, $1.id) }
    }

    /// Nil for what is no ACL of the version that Linux has.
    init?(attribute: [UInt8]) {
        func number(_ offset: Int, _ width: Int) -> UInt32 {
            attribute[offset..<offset + width].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        guard attribute.count >= 4, attribute.count % 8 == 4, number(0, 4) == Self.version else { return nil }
        var entries: [Entry] = []
        for offset in stride(from: 4, to: attribute.count, by: 8) {
            guard let tag = Tag(rawValue: UInt16(number(offset, 2))) else { return nil }
            entries.append(Entry(tag: tag, permissions: UInt16(number(offset + 2, 2)) & 7, id: number(offset + 4, 4)))
        }
        self.entries = entries
    }

    var attribute: [UInt8] {
        func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
        return entries.reduce(into: bytes(Self.version)) { all, entry in
            all += bytes(entry.tag.rawValue) + bytes(entry.permissions) + bytes(entry.id)
        }
    }

    var text: String {
        entries.map { entry in
            let isNamed = entry.tag == .user || entry.tag == .group
            let letters = zip("rwx", [4, 2, 1]).map { entry.permissions & $1 != 0 ? String($0) : "-" }.joined()
            return "\(entry.tag.word):\(isNamed ? String(entry.id) : ""):\(letters)"
        }.joined(separator: ",")
    }

    /// What libarchive has read of one kind of ACL; nil when there is none.
    /// - Parameter unknown: gets the names that came without a number: users' names mean nothing in a layer.
    init?(_ member: OpaquePointer, type: Int32, unknown: inout [String]) {
        guard archive_entry_acl_reset(member, type) > 0 else { return nil }
        var entries: [Entry] = []
        var (kind, set, tag, id): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
        var name: UnsafePointer<CChar>?
        while archive_entry_acl_next(member, type, &kind, &set, &tag, &id, &name) == ARCHIVE_OK {
            let own: Tag? =
                switch tag {
                case ARCHIVE_ENTRY_ACL_USER_OBJ: .userObject
                case ARCHIVE_ENTRY_ACL_USER: .user
                case ARCHIVE_ENTRY_ACL_GROUP_OBJ: .groupObject
                case ARCHIVE_ENTRY_ACL_GROUP: .group
                case ARCHIVE_ENTRY_ACL_MASK: .mask
                case ARCHIVE_ENTRY_ACL_OTHER: .other
                default: nil
                }
            guard let own else { continue }
            let isNamed = own == .user || own == .group
            // An id that is not given is the name, when that is a number.
            let text = name.map { String(cString: $0) } ?? ""
            let number = id >= 0 ? UInt32(id) : UInt32(text)
            if isNamed, number == nil {
                unknown.append(text)
                continue
            }
            entries.append(
                Entry(tag: own, permissions: UInt16(set & 7), id: isNamed ? number ?? Self.noID : Self.noID))
        }
        self.init(entries: entries)
    }
}

extension PosixACL.Tag {
    fileprivate var word: String {
        switch self {
        case .userObject, .user: "user"
        case .groupObject, .group: "group"
        case .mask: "mask"
        case .other: "other"
        }
    }
}
