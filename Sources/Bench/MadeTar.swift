import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// A tar with the shape of a root: regular files in directories of a hundred each, the same for the same seed. In the
/// format of POSIX.1-1988 (ustar).
struct MadeTar {
    let files: Int
    let bytesPerFile: Int

    /// What is imported where no real one is given.
    static func imported(_ plan: Plan) -> MadeTar {
        MadeTar(files: plan.importFiles, bytesPerFile: plan.importFileBytes)
    }

    /// The parent in which changes are looked for.
    static func tree(_ files: UInt64) -> MadeTar { MadeTar(files: Int(files), bytesPerFile: 200) }

    /// Of the tar.
    var bytes: UInt64 {
        let directories = (files + 99) / 100
        return UInt64(512 * (directories + files + 2) + files * ((bytesPerFile + 511) / 512 * 512))
    }

    func write(to path: String, _ bench: Bench) throws(StorageError) {
        try attempt("make tar", path) {
            let output = try FileDescriptor.opening(path, .writeOnly, flags: O_CREAT | O_TRUNC)
            defer { output.closeQuietly() }
            var generator = bench.generator(3)
            for start in stride(from: 0, to: files, by: 100) {
                try bench.checkpoint()
                // A hundred files at a time.
                var piece = Self.header("directory-\(start / 100)/", kind: "5", mode: "0000755", size: 0)
                for index in start..<min(start + 100, files) {
                    let name = "directory-\(start / 100)/file-\(index)"
                    piece += Self.header(name, kind: "0", mode: "0000644", size: bytesPerFile)
                    let offset = Int(generator.next() % UInt64(bench.block.count - bytesPerFile))
                    piece += bench.block[offset..<offset + bytesPerFile]
                    piece += [UInt8](repeating: 0, count: (512 - bytesPerFile % 512) % 512)
                }
                try piece.withUnsafeBytes { try output.writeFully($0, to: path) }
            }
            try [UInt8](repeating: 0, count: 1024).withUnsafeBytes { try output.writeFully($0, to: path) }
        }
    }

    private static func header(_ name: String, kind: String, mode: String, size: Int) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(name, at: 0)
        put(mode, at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        put(octal(size, 11), at: 124)
        put(octal(1_700_000_000, 11), at: 136)
        put("        ", at: 148)
        put(kind, at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        let sum = block.reduce(0) { $0 + Int($1) }
        put(octal(sum, 6) + "\0 ", at: 148)
        return block
    }
}
