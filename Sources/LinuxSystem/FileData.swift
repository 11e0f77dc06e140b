import CLinux
import Glibc
import SystemPackage

/// Copies a file's data: shared where the filesystem can (FICLONE), else range by range inside the kernel, with holes
/// kept as holes. The target is empty.
public func copyData(from source: FileDescriptor, to target: FileDescriptor, size: UInt64) throws(SystemError) {
    if size == 0 { return }
    if ioctl(target.rawValue, UInt(LAM_FICLONE), source.rawValue) == 0 { return }
    try check(ftruncate(target.rawValue, off_t(size)), "truncate", "copy")
    for range in try dataRanges(of: source, size: size) {
        try check(lseek(source.rawValue, off_t(range.lowerBound), SEEK_SET), "seek", "copy")
        try check(lseek(target.rawValue, off_t(range.lowerBound), SEEK_SET), "seek", "copy")
        var rest = Int(range.upperBound - range.lowerBound)
        while rest > 0 {
            let count = try check(
                lam_copy_file_range(source.rawValue, target.rawValue, rest), "copy_file_range", "copy")
            if count == 0 { throw SystemError("copy_file_range", "copy", .ioError, detail: "the file became shorter") }
            rest -= count
        }
    }
}

/// The ranges of a file that hold data, in order; what lies between them are holes.
public func dataRanges(of file: FileDescriptor, size: UInt64) throws(SystemError) -> [Range<UInt64>] {
    var ranges: [Range<UInt64>] = []
    var position: off_t = 0
    while position < off_t(size) {
        let start = lseek(file.rawValue, position, LAM_SEEK_DATA)
        if start == -1, Errno.current == .noSuchAddressOrDevice { break }
        try check(start, "seek to data", "file")
        let end = try check(lseek(file.rawValue, start, LAM_SEEK_HOLE), "seek to hole", "file")
        ranges.append(UInt64(start)..<min(UInt64(end), size))
        position = end
    }
    return ranges
}

extension FileDescriptor {
    /// Reads a piece at an offset; fewer bytes than asked for may come.
    /// - Returns: how many; 0 at the end.
    public func readPiece(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer, of object: String
    ) throws(SystemError) -> Int {
        while true {
            let count = Glibc.pread(rawValue, buffer.baseAddress, buffer.count, off_t(offset))
            if count == -1, Errno.current == .interrupted { continue }
            return try check(count, "read", object)
        }
    }

    /// Reads bytes at an offset; fewer than asked for come only at the end.
    public func readBytes(_ count: Int, at offset: UInt64, of object: String) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let piece = bytes.withUnsafeMutableBytes { buffer in
                Result { () throws(SystemError) in
                    let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                    return try readPiece(at: offset + UInt64(filled), into: rest, of: object)
                }
            }
            let read = try piece.get()
            if read == 0 { break }
            filled += read
        }
        bytes.removeLast(count - filled)
        return bytes
    }
}
