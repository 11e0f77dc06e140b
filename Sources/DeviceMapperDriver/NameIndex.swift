import Glibc
import LinuxSystem
import SystemPackage

/// Which names the inodes of a tree have that never changes: what ext4 itself can only tell by reading all directories.
/// Made once for a committed layer, and kept in a file, of which only what is looked up is read again.
///
/// The file: eight bytes that say what it is; the inode of the root directory; the number of records; the records, by
/// inode; the names. A record has the inode (8 bytes), the inode of the directory that the name is in (8), where the
/// name begins among the names (8), and its length (4); all numbers are little-endian.
final class NameIndex {
    /// A name of an inode.
    struct Link: Equatable {
        let directory: UInt64
        let name: [UInt8]
    }

    private let bytes: UnsafeRawBufferPointer
    private let isMapped: Bool
    private let root: UInt64
    private let count: Int

    private static let magic = Array("lamname1".utf8)
    private static let headSize = 24
    private static let recordSize = 28

    /// Takes the index from its file; makes and keeps it where there is none.
    /// - Parameters:
    ///   - tree: the root directory of the layer, which nobody writes.
    ///   - path: the file. One that cannot be written costs the next call the same work, nothing else.
    static func of(_ tree: FileDescriptor, keptAt path: String) throws(SystemError) -> NameIndex {
        if let kept = NameIndex(mapping: path) { return kept }
        let made = try NameIndex(walking: tree)
        try? made.keep(at: path)
        return made
    }

    deinit {
        if isMapped {
            munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
        } else {
            bytes.deallocate()
        }
    }

    // MARK: Looking up

    /// All names of an inode; none of one that has no place in the tree.
    func links(of inode: UInt64) -> [Link] {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if inodeOfRecord(middle) < inode { low = middle + 1 } else { high = middle }
        }
        var links: [Link] = []
        while low < count, inodeOfRecord(low) == inode {
            let record = Self.headSize + low * Self.recordSize
            let start = Self.headSize + count * Self.recordSize + bytes.number(Int.self, at: record + 16)
            let length = Int(bytes.number(UInt32.self, at: record + 24))
            links.append(
                Link(directory: bytes.number(UInt64.self, at: record + 8), name: Array(bytes[start..<start + length])))
            low += 1
        }
        return links
    }

    /// All paths of an inode, relative to the root; the root's own is empty.
    func paths(of inode: UInt64) -> [[UInt8]] {
        if inode == root { return [[]] }
        return links(of: inode).compactMap { link in
            path(ofDirectory: link.directory).map { $0 + ($0.isEmpty ? [] : [UInt8(ascii: "/")]) + link.name }
        }
    }

    private func path(ofDirectory inode: UInt64) -> [UInt8]? {
        var names: [[UInt8]] = []
        var inode = inode
        while inode != root {
            // As deep as a tree can be that the kernel made; more is a loop in a broken file.
            guard names.count < count, let link = links(of: inode).first else { return nil }
            names.append(link.name)
            inode = link.directory
        }
        return Array(names.reversed().joined(separator: [UInt8(ascii: "/")]))
    }

    private func inodeOfRecord(_ index: Int) -> UInt64 {
        bytes.number(UInt64.self, at: Self.headSize + index * Self.recordSize)
    }

    // MARK: Making

    private init?(mapping path: String) {
        guard let file = try? FileDescriptor.opening(path) else { return nil }
        defer { file.closeQuietly() }
        guard let size = try? file.status().size, size >= UInt64(Self.headSize), size <= UInt64(Int.max),
            let start = mmap(nil, Int(size), PROT_READ, MAP_PRIVATE, file.rawValue, 0), start != MAP_FAILED
        else { return nil }
        bytes = UnsafeRawBufferPointer(start: start, count: Int(size))
        isMapped = true
        root = bytes.number(UInt64.self, at: 8)
        count = Int(clamping: bytes.number(UInt64.self, at: 16))
        guard bytes.starts(with: Self.magic), count <= (bytes.count - Self.headSize) / Self.recordSize else {
            return nil
        }
    }

    private init(walking tree: FileDescriptor) throws(SystemError) {
        struct Record {
            let inode: UInt64
            let directory: UInt64
            let name: Int
            let length: Int
        }
        var records: [Record] = []
        var names: [UInt8] = []
        let rootInode = try tree.status().inode
        var waiting: [(path: [UInt8], inode: UInt64)] = [([], rootInode)]
        while let next = waiting.popLast() {
            let directory = try tree.openDirectory(beneath: next.path)
            defer { directory.closeQuietly() }
            for entry in try directory.directoryEntries() {
                records.append(
                    Record(
                        inode: entry.inode, directory: next.inode, name: names.count, length: entry.name.bytes.count))
                names += entry.name.bytes
                var kind = entry.kind
                if kind == nil { kind = try directory.status(of: entry.name).kind }
                if kind == .directory {
                    let path = next.path + (next.path.isEmpty ? [] : [UInt8(ascii: "/")]) + entry.name.bytes
                    waiting.append((path, entry.inode))
                }
            }
        }
        records.sort { ($0.inode, $0.name) < ($1.inode, $1.name) }
        let size = Self.headSize + records.count * Self.recordSize + names.count
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        var position = 0
        func put(_ value: some FixedWidthInteger) {
            buffer.storeBytes(of: value.littleEndian, toByteOffset: position, as: type(of: value))
            position += value.bitWidth / 8
        }
        for byte in Self.magic { put(byte) }
        put(rootInode)
        put(UInt64(records.count))
        for record in records {
            put(record.inode)
            put(record.directory)
            put(UInt64(record.name))
            put(UInt32(record.length))
        }
        UnsafeMutableRawBufferPointer(rebasing: buffer[position...]).copyBytes(from: names)
        bytes = UnsafeRawBufferPointer(buffer)
        isMapped = false
        root = rootInode
        count = records.count
    }

    /// Writes the file so that it is there whole or not at all, also after a power cut.
    private func keep(at path: String) throws(SystemError) {
        let partial = "\(path).\(UInt64.random(in: .min ... .max))"
        do throws(SystemError) {
            let file = try FileDescriptor.opening(partial, .writeOnly, flags: O_CREAT | O_EXCL)
            defer { file.closeQuietly() }
            try file.writeFully(bytes, to: partial)
            try file.synchronize()
            try check(rename(partial, path), "rename", partial)
        } catch {
            unlink(partial)
            throw error
        }
    }
}
