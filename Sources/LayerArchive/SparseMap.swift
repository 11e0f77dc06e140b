import LinuxSystem
import SystemPackage

/// Where a large file has data, and where nothing but zeros: a function of its contents alone, and not of what the
/// filesystem keeps as holes.
struct SparseMap: Equatable {
    /// In order, not empty, not adjacent.
    let data: [Range<UInt64>]
    let size: UInt64

    /// Bytes that are zeros or data together.
    static let granule = 65536
    /// A file with fewer bytes of zeros is written with them, for readers that know no sparse files.
    static let worthwhile: UInt64 = 1 << 20
    /// Most ranges: readers hold the map in memory, and have limits of their own (`TarReader.headerBudget`). Of a file
    /// with more, the smallest gaps are written as data.
    static let most = 50_000

    /// - Returns: nil for a file that is written as it is.
    init?(of file: FileDescriptor, size: UInt64, named name: String) throws(SystemError) {
        guard size >= Self.worthwhile else { return nil }
        var data: [Range<UInt64>] = []
        let granule = UInt64(Self.granule)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * Self.granule, alignment: 16)
        defer { buffer.deallocate() }
        var position: UInt64 = 0
        // What is no longer than this between two ranges is written with them.
        var smallest: UInt64 = 0
        for range in try dataRanges(of: file, size: size) {
            // Granules may have a part in two ranges.
            position = max(position, range.lowerBound / granule * granule)
            while position < range.upperBound {
                let wanted = min(buffer.count, Int(size - position))
                let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
                let count = try file.readPiece(at: position, into: piece, of: name)
                // It became shorter: copying it finds that too.
                if count == 0 { return nil }
                for offset in stride(from: 0, to: count, by: Self.granule) {
                    let part = UnsafeRawBufferPointer(rebasing: buffer[offset..<min(offset + Self.granule, count)])
                    if part.isAllZero { continue }
                    let start = position + UInt64(offset)
                    let end = start + UInt64(part.count)
                    data.join(start..<end, over: smallest)
                    while data.count > Self.most {
                        smallest = max(2 * smallest, granule)
                        let ranges = data
                        data = []
                        for range in ranges { data.join(range, over: smallest) }
                    }
                }
                position += UInt64(count)
            }
        }
        self.init(data: data, size: size)
        if size - stored < Self.worthwhile { return nil }
    }

    init(data: [Range<UInt64>], size: UInt64) {
        self.data = data
        self.size = size
    }

    /// Bytes of data.
    var stored: UInt64 { data.reduce(0) { $0 + UInt64($1.count) } }

    /// The map as it stands before the data in GNU's format 1.0 of sparse files (GNU tar manual, "PAX Format, Version
    /// 1.0"): numbers on lines, filled up to a block. A hole at the end is told by an empty range.
    func encoded(block: Int) -> [UInt8] {
        let isOpen = data.last?.upperBound != size
        var text = "\(data.count + (isOpen ? 1 : 0))\n"
        for range in data { text += "\(range.lowerBound)\n\(range.count)\n" }
        if isOpen { text += "\(size)\n0\n" }
        let bytes = Array(text.utf8)
        return bytes + [UInt8](repeating: 0, count: (block - bytes.count % block) % block)
    }
}

extension [Range<UInt64>] {
    /// Appends a range, or extends the last one to it when no more than `gap` bytes lie between them.
    fileprivate mutating func join(_ range: Range<UInt64>, over gap: UInt64) {
        if let last, range.lowerBound - last.upperBound <= gap {
            self[count - 1] = last.lowerBound..<range.upperBound
        } else {
            append(range)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether no byte is set.
    var isAllZero: Bool {
        var offset = 0
        while offset + 64 <= count {
            var sum: UInt64 = 0
            for word in 0..<8 { sum |= loadUnaligned(fromByteOffset: offset + 8 * word, as: UInt64.self) }
            if sum != 0 { return false }
            offset += 64
        }
        while offset < count {
            if self[offset] != 0 { return false }
            offset += 1
        }
        return true
    }
}
