import LinuxSystem
import SystemPackage

extension FileDescriptor {
    /// Writes a piece of a new file; aligned blocks of zeros become holes. A hole at the end is not made.
    func writeSparsely(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, to object: String
    ) throws(SystemError) {
        /// The block size of the filesystems that layers are on.
        let block = 4096
        /// The end of the block that a position lies in.
        func border(_ position: Int) -> Int {
            min(bytes.count, position + block - Int((offset + UInt64(position)) % UInt64(block)))
        }
        var position = 0
        while position < bytes.count {
            let start = position
            var end = start
            while end < bytes.count, !UnsafeRawBufferPointer(rebasing: bytes[end..<border(end)]).isAllZero {
                end = border(end)
            }
            if end > start {
                let run = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                try writeFully(run, at: offset + UInt64(start), to: object)
            }
            position = max(end, border(end))
        }
    }
}
