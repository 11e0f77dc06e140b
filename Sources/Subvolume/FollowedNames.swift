import LinuxSystem

/// Follows entries through the commands of a send stream: from the names that they have in the tree that it starts
/// with to those in the tree that it makes. On the way the kernel gives names of its own (`o257-7-0`) to what is new or
/// in the way; they are in neither tree.
///
/// Neither tree is read. What no command has named is taken to be there, as it is in the first tree.
final class FollowedNames {
    private let root = Entry(origin: [])
    /// Names of the first tree that were taken away.
    private var left: Set<[UInt8]> = []

    private final class Entry {
        /// Its path in the first tree; nil for one that a command has made.
        let origin: [UInt8]?
        var isTouched = false
        /// Names in it that commands have led to.
        var entries: [EntryName: Place] = [:]

        init(origin: [UInt8]?) { self.origin = origin }
    }

    private enum Place {
        case taken(Entry)
        /// By nothing any more.
        case left
    }

    /// - Throws: EINVAL for a command on what is not there: nothing can be said then.
    func follow(_ command: SendCommand) throws(SystemError) {
        switch command {
        case .make(let path): try put(Entry(origin: nil), at: path)
        case .rename(let path, let newPath): try put(try take(path), at: newPath)
        case .link(let path, let existing):
            try entry(at: existing).isTouched = true
            try put(Entry(origin: nil), at: path)
        case .remove(let path): _ = try take(path)
        case .change(let path): try entry(at: path).isTouched = true
        }
    }

    /// Paths, in either tree, that commands were about. What lies below a directory that has moved is told by its new
    /// path only.
    func touched() -> Set<[UInt8]> {
        var paths = left
        func add(_ entry: Entry, _ path: [UInt8]) {
            if entry.isTouched { paths.insert(path) }
            for case (let name, .taken(let below)) in entry.entries { add(below, Self.join(path, name)) }
        }
        add(root, [])
        return paths
    }

    private func entry(at path: some Collection<UInt8>) throws(SystemError) -> Entry {
        var entry = root
        for part in path.split(separator: Self.slash) { entry = try Self.entry(EntryName(Array(part)), of: entry) }
        return entry
    }

    private static func entry(_ name: EntryName, of directory: Entry) throws(SystemError) -> Entry {
        switch directory.entries[name] {
        case .taken(let entry): return entry
        case .left: throw unknown(name)
        case nil:
            guard let origin = directory.origin else { throw unknown(name) }
            let entry = Entry(origin: join(origin, name))
            directory.entries[name] = .taken(entry)
            return entry
        }
    }

    /// The directory of a path, and the last name.
    private func place(_ path: [UInt8]) throws(SystemError) -> (directory: Entry, name: EntryName) {
        let start = path.lastIndex(of: Self.slash).map { $0 + 1 } ?? 0
        let name = EntryName(Array(path[start...]))
        // The root itself has neither.
        if name.bytes.isEmpty { throw Self.unknown(name) }
        return (try entry(at: path[..<start]), name)
    }

    private func take(_ path: [UInt8]) throws(SystemError) -> Entry {
        let (directory, name) = try place(path)
        let entry = try Self.entry(name, of: directory)
        if let origin = entry.origin { left.insert(origin) }
        directory.entries[name] = .left
        return entry
    }

    private func put(_ entry: Entry, at path: [UInt8]) throws(SystemError) {
        let (directory, name) = try place(path)
        entry.isTouched = true
        directory.entries[name] = .taken(entry)
    }

    private static let slash = UInt8(ascii: "/")

    private static func join(_ path: [UInt8], _ name: EntryName) -> [UInt8] {
        path.isEmpty ? name.bytes : path + [slash] + name.bytes
    }

    private static func unknown(_ name: EntryName) -> SystemError {
        SystemError("follow send stream", name.text, .invalidArgument)
    }
}
