import CLinux
import Glibc
import SystemPackage

/// Extended attributes of a file, by name. Values are bytes.
public typealias ExtendedAttributes = [AttributeName: [UInt8]]

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
                let key = AttributeName(key.map { UInt8(bitPattern: $0) })
                var value = [UInt8](repeating: 0, count: Self.largestValue)
                let count = key.withCString { lgetxattr(path, $0, &value, value.count) }
                attributes[key] = Array(value[..<(try check(count, "read xattr \(key.text)", name.text))])
            }
            return attributes
        }
    }

    /// One extended attribute of an entry of this directory, of a symlink itself too; nil where it has none of the name.
    public func extendedAttribute(_ key: AttributeName, of name: EntryName) throws(SystemError) -> [UInt8]? {
        var value = [UInt8](repeating: 0, count: Self.largestValue)
        let count = entryPath(name).withCString { path in
            key.withCString { lgetxattr(path, $0, &value, value.count) }
        }
        if count == -1, Errno.current == .noData || Errno.current == .notSupported { return nil }
        return Array(value[..<(try check(count, "read xattr \(key.text)", name.text))])
    }

    /// Whether this open file has an extended attribute of the name.
    public func hasExtendedAttribute(_ key: AttributeName) throws(SystemError) -> Bool {
        let count = key.withCString { fgetxattr(rawValue, $0, nil, 0) }
        if count == -1, Errno.current == .noData || Errno.current == .notSupported { return false }
        try check(count, "read xattr \(key.text)", procPath)
        return true
    }

    /// Sets one extended attribute of an entry of this directory, of a symlink itself too.
    public func setExtendedAttribute(
        _ key: AttributeName, _ value: [UInt8], of name: EntryName
    ) throws(SystemError) {
        let result = entryPath(name).withCString { path in
            key.withCString { lsetxattr(path, $0, value, value.count, 0) }
        }
        try check(result, "set xattr \(key.text)", name.text)
    }

    /// Sets one extended attribute of this open file.
    /// - Parameter name: the file's, for errors.
    public func setExtendedAttribute(
        _ key: AttributeName, _ value: [UInt8], named name: String
    ) throws(SystemError) {
        try check(key.withCString { fsetxattr(rawValue, $0, value, value.count, 0) }, "set xattr \(key.text)", name)
    }

    /// Removes one extended attribute of an entry of this directory, of a symlink itself too.
    public func removeExtendedAttribute(_ key: AttributeName, of name: EntryName) throws(SystemError) {
        let result = entryPath(name).withCString { path in key.withCString { lremovexattr(path, $0) } }
        try check(result, "remove xattr \(key.text)", name.text)
    }

    /// XATTR_SIZE_MAX (linux/limits.h).
    private static var largestValue: Int { 65536 }

    /// A path whose last part is the entry, for calls that know no directory descriptors.
    private func entryPath(_ name: EntryName) -> EntryName { EntryName(Array("\(procPath)/".utf8) + name.bytes) }
}
