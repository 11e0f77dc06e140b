import Fixtures
import Glibc
import Lamina
import LayerArchive
import SystemPackage
import Testing

/// Tars that want out of the layer, or make no sense.
@Suite(.enabled(if: TestHost.isRoot, "needs root")) struct HostileArchiveTests {
    /// One member of a tar as an attacker would write it.
    private struct Member {
        var name: String
        var type: Character = "0"
        var link = ""
        var data = ""
    }

    private func tar(_ members: [Member]) -> [UInt8] {
        var bytes: [UInt8] = []
        for member in members {
            var header = [UInt8](repeating: 0, count: 512)
            func put(_ text: String, at offset: Int) {
                header.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
            }
            put(member.name, at: 0)
            put("0000644", at: 100)
            put("0000000", at: 108)
            put("0000000", at: 116)
            let size = String(member.data.utf8.count, radix: 8)
            put(String(repeating: "0", count: 11 - size.count) + size, at: 124)
            put("00000000000", at: 136)
            put("        ", at: 148)
            put(String(member.type), at: 156)
            put(member.link, at: 157)
            put("ustar\u{0}00", at: 257)
            let sum = String(header.reduce(0) { $0 + Int($1) }, radix: 8)
            put(String(repeating: "0", count: 6 - sum.count) + sum + "\0 ", at: 148)
            let data = Array(member.data.utf8)
            bytes += header + data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
        }
        return bytes + [UInt8](repeating: 0, count: 1024)
    }

    /// Applies the bytes to `layer` beside `outside`, which must be as it was.
    private func apply(
        _ bytes: [UInt8], prepare: (String) throws -> Void = { _ in }
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
                try LayerArchive.apply(input, named: "evil.tar", onto: root)
            }
            #expect(directoryNames(directory)?.sorted() == ["layer", "outside", "tar"])
            #expect(directoryNames(directory + "/outside") == ["file"])
            #expect(readText(directory + "/outside/file") == "safe")
            return (result, try root.entries().map(\.text))
        }
    }

    @Test(arguments: ["/etc/evil", "../evil", "a/../../evil", "..", "/"])
    func namesThatLeadOutAreRefused(_ name: String) throws {
        let (result, entries) = try apply(tar([Member(name: name, data: "x")]))
        let error = #expect(throws: StorageError.self) { try result.get() }
        #expect(error?.kind == .invalidArgument)
        #expect(entries == [])
    }

    @Test(arguments: ["../outside", "/outside", "../../../../../../../../outside", "../layer/../outside"])
    func aPlantedSymlinkLeadsNowhereOutside(_ target: String) throws {
        let members = [
            Member(name: "link", type: "2", link: target), Member(name: "link/file", data: "evil"),
            Member(name: "link/new", data: "evil"), Member(name: "link/.wh.file"),
            Member(name: "link/.wh..wh..opq"),
        ]
        _ = try apply(tar(members))
    }

    @Test(arguments: ["../outside/file", "/etc/passwd", "link/file"])
    func hardLinksStayInside(_ target: String) throws {
        let members = [
            Member(name: "link", type: "2", link: "../outside"), Member(name: "hard", type: "1", link: target),
            Member(name: "hard", data: "evil"),
        ]
        let (result, _) = try apply(tar(members))
        #expect(throws: StorageError.self) { try result.get() }
    }

    @Test(arguments: [".wh.", ".wh..", ".wh...", "a/.wh..."]) func whiteoutsOfNoName(_ name: String) throws {
        let (result, entries) = try apply(tar([Member(name: name)])) { try writeText("", to: $0 + "/keep") }
        #expect(throws: StorageError.self) { try result.get() }
        #expect(entries.contains("keep"))
    }

    @Test func theLastNameIsNotFollowed() throws {
        let members = [
            Member(name: "file", type: "2", link: "../outside/file"), Member(name: "file", data: "evil"),
        ]
        let (result, entries) = try apply(tar(members))
        #expect(try result.get().entries == 2)
        #expect(entries == ["file"])
    }

    @Test func opaqueKeepsWhatTheTarHasPut() throws {
        let members = [
            Member(name: "d/new", data: "x"), Member(name: "d/.wh..wh..opq"), Member(name: ".wh.gone"),
            Member(name: ".wh..wh.plnk", data: "aufs"),
        ]
        let (result, entries) = try apply(tar(members)) { layer in
            try makeDirectories(layer + "/d/old")
            try writeText("", to: layer + "/gone")
        }
        #expect(throws: Never.self) { try result.get() }
        #expect(entries == ["d"])
    }

    @Test func brokenTarsAreRefused() throws {
        let whole = tar([Member(name: "file", data: String(repeating: "x", count: 5000))])
        var flipped = whole
        flipped[10] ^= 0xFF
        for bytes in [
            [], Array("this is no tar, but it is long enough to be read".utf8), Array(whole[..<2000]), flipped,
            [0x1F, 0x8B, 8, 0, 1, 2, 3], [0x28, 0xB5, 0x2F, 0xFD, 1, 2, 3],
        ] {
            let (result, _) = try apply(bytes)
            let error = #expect(throws: StorageError.self) { try result.get() }
            #expect(error?.object == "evil.tar")
        }
    }
}
