import Fixtures
import Glibc
import Lamina
import LayerArchive
import SystemPackage
import Testing

/// One member of a tar as an attacker, or another program, would write it.
struct Member {
    var name: String
    var type: Character = "0"
    var link = ""
    var data: [UInt8] = []
    var mode: UInt32 = 0o644
    var owner: UInt32 = 0
    /// Names of user and group.
    var ownerName = ""
    /// Records of an extended header before it.
    var records: [(key: [UInt8], value: [UInt8])] = []

    init(
        name: String, type: Character = "0", link: String = "", data: String = "", mode: UInt32 = 0o644,
        owner: UInt32 = 0, ownerName: String = "", records: [(key: String, value: [UInt8])] = [],
        byteRecords: [(key: [UInt8], value: [UInt8])] = []
    ) {
        self.name = name
        self.type = type
        self.link = link
        self.data = Array(data.utf8)
        self.mode = mode
        self.owner = owner
        self.ownerName = ownerName
        self.records = records.map { (Array($0.key.utf8), $0.value) } + byteRecords
    }

    fileprivate var bytes: [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
        }
        func octal(_ value: Int, _ width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        put(name, at: 0)
        put(octal(Int(mode), 7), at: 100)
        put(octal(Int(owner), 7), at: 108)
        put(octal(Int(owner), 7), at: 116)
        put(octal(data.count, 11), at: 124)
        put(octal(0, 11), at: 136)
        put("        ", at: 148)
        put(String(type), at: 156)
        put(link, at: 157)
        put("ustar\u{0}00", at: 257)
        put(ownerName, at: 265)
        put(ownerName, at: 297)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\0 ", at: 148)
        return extendedHeader + header + data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
    }

    private var extendedHeader: [UInt8] {
        if records.isEmpty { return [] }
        var member = Member(name: "PaxHeaders/x", type: "x")
        for (key, value) in records {
            let rest = key.count + value.count + 3
            let length = rest + String(rest + String(rest).count).count
            member.data += Array("\(length) ".utf8) + key + [0x3D] + value + [0x0A]
        }
        return member.bytes
    }
}

/// The bytes of a tar.
func tar(_ members: [Member]) -> [UInt8] {
    members.flatMap(\.bytes) + [UInt8](repeating: 0, count: 1024)
}

/// Applies the bytes to a new layer beside a directory `outside`, which must be as it was.
func applyToNewLayer(
    _ bytes: [UInt8], limits: ArchiveLimits = ArchiveLimits(), prepare: (String) throws -> Void = { _ in },
    inspect: (FileDescriptor) throws -> Void = { _ in }
) throws -> (result: Result<AppliedArchive, StorageError>, entries: [String]) {
    try withTemporaryDirectory { directory in
        let layer = directory + "/layer"
        try makeDirectory(layer)
        try makeDirectory(directory + "/outside")
        try writeText("safe", to: directory + "/outside/file")
        try prepare(layer)
        let file = directory + "/tar"
        let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT)
        try bytes.withUnsafeBytes { try output.writeFully($0, to: file) }
        output.closeQuietly()
        let root = try FileDescriptor.openingDirectory(layer)
        defer { root.closeQuietly() }
        let input = try FileDescriptor.opening(file)
        defer { input.closeQuietly() }
        let result = Result { () throws(StorageError) in
            try LayerArchive.apply(input, named: "evil.tar", onto: root, limits: limits)
        }
        #expect(directoryNames(directory)?.sorted() == ["layer", "outside", "tar"])
        #expect(directoryNames(directory + "/outside") == ["file"])
        #expect(readText(directory + "/outside/file") == "safe")
        try inspect(root)
        return (result, try root.entries().map(\.text))
    }
}
