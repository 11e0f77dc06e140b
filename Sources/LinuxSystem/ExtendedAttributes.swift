import CLinux
import Glibc
import SystemPackage

/// Extended attributes of an entry of a directory, by name. Values are bytes.
public typealias ExtendedAttributes = [String: [UInt8]]

extension FileDescriptor {
    /// The extended attributes of an entry of this directory, of a symlink itself too; none where the filesystem has
    /// none.
    public func extendedAttributes(of name: EntryName) throws(SystemError) -> ExtendedAttributes {
        try entryPath(name).withCString { path throws(SystemError) in
            var size = llistxattr(path, nil, 0)
            if size == -1, Errno.current == .notSupported { return [:] }
            try check(size, "list xattrs", name.text)
            if size == 0 { return [:] }
            var names = [CChar](repeating: 0, count: size + 1024)
            size = try check(llistxattr(path, &names, names.count), "list xattrs", name.text)
            var attributes: ExtendedAttributes = [:]
            for key in names[..<size].split(separator: 0) {
                guard let key = String(validating: key.map { UInt8(bitPattern: $0) }, as: UTF8.self) else {
                    throw SystemError(
                        "list xattrs", name.text, .illegalByteSequence, detail: "the name of an xattr is not UTF-8")
                }
                var value = [UInt8](repeating: 0, count: 65536)  // XATTR_SIZE_MAX
                let count = lgetxattr(path, key, &value, value.count)
                attributes[key] = Array(value[..<(try check(count, "read xattr \(key)", name.text))])
            }
            return attributes
        }
    }

    /// One extended attribute of an entry of this directory, of a symlink itself too; nil where it has none of the name.
    public func extendedAttribute(_ key: String, of name: EntryName) throws(SystemError) -> [UInt8]? {
        var value = [UInt8](repeating: 0, count: 65536)  // XATTR_SIZE_MAX
        let count = entryPath(name).withCString { lgetxattr($0, key, &value, value.count) }
        if count == -1, Errno.current == .noData || Errno.current == .notSupported { return nil }
        return Array(value[..<(try check(count, "read xattr \(key)", name.text))])
    }

    /// Sets one extended attribute of an entry of this directory, of a symlink itself too.
    public func setExtendedAttribute(
        _ key: String, _ value: [UInt8], of name: EntryName
    ) throws(SystemError) {
        let result = entryPath(name).withCString { lsetxattr($0, key, value, value.count, 0) }
        try check(result, "set xattr \(key)", name.text)
    }

    /// Removes one extended attribute of an entry of this directory, of a symlink itself too.
    public func removeExtendedAttribute(_ key: String, of name: EntryName) throws(SystemError) {
        try check(entryPath(name).withCString { lremovexattr($0, key) }, "remove xattr \(key)", name.text)
    }

    /// A path whose last part is the entry, for calls that know no directory descriptors.
    private func entryPath(_ name: EntryName) -> EntryName { EntryName(Array("\(procPath)/".utf8) + name.bytes) }
}
