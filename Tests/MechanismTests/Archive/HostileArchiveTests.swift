import Fixtures
import Foundation
import Glibc
import Lamina
import LayerArchive
import SystemPackage
import Testing

/// Tars that want out of the layer, want too much, or make no sense. Every class of break-out that other engines have
/// had is here (CVE numbers in the tests), but those that need an image's manifest, a build cache or a helper process
/// inside the container, of which Lamina has none.
@Suite(.enabled(if: TestHost.isRoot, "needs root")) struct HostileArchiveTests {
    /// Applies the bytes to `layer` beside `outside`, which must be as it was.
    private func apply(
        _ bytes: [UInt8], limits: ArchiveLimits = ArchiveLimits(), prepare: (String) throws -> Void = { _ in }
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

    @Test(arguments: [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.dir/file"]) func whiteoutsOfNoName(_ name: String)
        throws
    {
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

    /// CVE-2014-6407, CVE-2026-17106: links to links, in every order.
    @Test func chainsOfLinksStayInside() throws {
        for (first, second) in [("a", "b"), ("b", "a")] {
            let members = [
                Member(name: first, type: "2", link: second), Member(name: second, type: "2", link: "../outside"),
                Member(name: "a/file", data: "evil"), Member(name: "b/file", data: "evil"),
                Member(name: "c", type: "1", link: "b/file"), Member(name: "c", data: "evil"),
                Member(name: "a", type: "5", mode: 0o777), Member(name: "b/..data", type: "2", link: "/outside"),
                Member(name: "b/..data/file", data: "evil"),
            ]
            _ = try apply(tar(members))
        }
    }

    /// CVE-2021-41089: a mode, an owner or an xattr for what a link leads to.
    @Test func attributesOfALinkAreItsOwn() throws {
        let file = "/tmp/lamina-outside-\(UInt32.random(in: 0...UInt32.max))"
        try writeText("safe", to: file)
        defer { unlink(file) }
        try check(chmod(file, 0o600), "chmod", file)
        let records: [(key: String, value: [UInt8])] = [("SCHILY.xattr.user.evil", [1])]
        for type in ["2", "1"] as [Character] {
            let members = [
                Member(name: "link", type: "2", link: file),
                Member(name: "link", type: type, link: file, mode: 0o6777, owner: 1000),
                Member(name: "again", type: type, link: "link", mode: 0o6777, owner: 1000, records: records),
            ]
            _ = try apply(tar(members))
            let status = try FileStatus(path: file)
            #expect(status.permissions == 0o600 && status.uid == 0 && status.linkCount == 1)
        }
    }

    /// CVE-2018-15664: somebody swaps a directory for a symlink while the tar is applied.
    @Test func aSwappedDirectoryLeadsNowhereOutside() throws {
        try withTemporaryDirectory { directory in
            for name in ["layer", "layer/d", "outside"] { try makeDirectory(directory + "/" + name) }
            try check(symlink("../outside", directory + "/layer/l"), "symlink", "l")
            let bytes = tar(
                [Member(name: "d", type: "5", mode: 0o777)]
                    + (0..<50).flatMap { [Member(name: "d/f\($0)", data: "evil"), Member(name: "x\($0)/y")] })
            let file = directory + "/tar"
            let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT)
            try bytes.withUnsafeBytes { try output.writeFully($0, to: file) }
            output.closeQuietly()
            let root = try FileDescriptor.openingDirectory(directory + "/layer")
            defer { root.closeQuietly() }
            let failures = concurrently(2) { index in
                for _ in 0..<(index == 0 ? 40 : 20000) {
                    if index == 0 {
                        // It may fail, for what it finds is not what it made: it must not get out.
                        _ = try? applyTar(file, onto: root)
                    } else {
                        for (from, to) in [("d", "t"), ("l", "d"), ("d", "l"), ("t", "d")] {
                            renameat(root.rawValue, from, root.rawValue, to)
                        }
                    }
                }
            }
            #expect(failures == [])
            #expect(directoryNames(directory + "/outside") == [])
            #expect(try FileStatus(path: directory + "/outside").permissions == 0o700)
        }
    }

    /// CVE-2021-20291: a member whose opening waits for ever.
    @Test(.timeLimit(.minutes(1))) func nothingWaitsForAFIFO() throws {
        let members = [
            Member(name: "fifo", type: "6"), Member(name: "fifo", data: "x"), Member(name: "two", type: "6"),
            Member(name: "three", type: "1", link: "two"), Member(name: "three", data: "x"),
            Member(name: "two/below", data: "x"),
        ]
        let (result, entries) = try apply(tar(members))
        #expect(throws: Never.self) { try result.get() }
        #expect(entries == ["fifo", "three", "two"])
    }

    /// CVE-2024-9676, CVE-2019-14271: names of users are not looked up, in the layer or outside.
    @Test func namesOfUsersMeanNothing() throws {
        try withTemporaryDirectory { layer in
            let bytes = tar([Member(name: "file", owner: 1234, ownerName: "root")])
            let file = layer + ".tar"
            defer { unlink(file) }
            let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT)
            try bytes.withUnsafeBytes { try output.writeFully($0, to: file) }
            output.closeQuietly()
            let root = try FileDescriptor.openingDirectory(layer)
            defer { root.closeQuietly() }
            _ = try applyTar(file, onto: root)
            let status = try root.status(of: EntryName("file"))
            #expect(status.uid == 1234 && status.gid == 1234)
        }
    }

    /// CVE-2017-14992, and what else asks for too much: each limit has its name in the error.
    @Test func limitsHoldAndAreNamed() throws {
        let many = tar((0..<20).map { Member(name: "f\($0)") })
        let deep = tar([Member(name: Array(repeating: "d", count: 30).joined(separator: "/"))])
        let large = tar([Member(name: "f", data: String(repeating: "x", count: 5000))])
        let two = tar([Member(name: "f", data: String(repeating: "x", count: 5000)), Member(name: "g", data: "x")])
        let sparse = tar([
            Member(
                name: "s", data: "1\n0\n0\n" + String(repeating: "\0", count: 506),
                records: [
                    ("GNU.sparse.major", [0x31]), ("GNU.sparse.minor", [0x30]), ("GNU.sparse.name", [0x73]),
                    ("GNU.sparse.realsize", Array("99999999999999".utf8)),
                ])
        ])
        let attributes = tar([
            Member(name: "f", records: [("SCHILY.xattr.user.a", [UInt8](repeating: 1, count: 3000))])
        ])
        let cases: [([UInt8], ArchiveLimits, String)] = [
            (many, ArchiveLimits(entries: 10), "--max-entries"), (deep, ArchiveLimits(depth: 20), "--max-depth"),
            (large, ArchiveLimits(fileBytes: 4000), "--max-file-bytes"),
            (two, ArchiveLimits(bytes: 5000), "--max-bytes"), (large, ArchiveLimits(bytes: 100), "--max-bytes"),
            (sparse, ArchiveLimits(), "--max-file-bytes"),
            (attributes, ArchiveLimits(xattrBytes: 2000), "--max-xattr-bytes"),
        ]
        for (bytes, limits, option) in cases {
            let (result, _) = try apply(bytes, limits: limits)
            let error = #expect(throws: StorageError.self, "\(option)") { try result.get() }
            #expect(error?.kind == .resourceExhausted)
            #expect(error?.hint?.contains(option) == true, "\(option): \(error?.description ?? "")")
        }
        for bytes in [many, deep, large, two] { _ = try apply(bytes).result.get() }
    }

    /// CVE-2017-14992: a small file that becomes a large one; in zstd, 300 MiB of zeros are some 10 KiB.
    @Test func bombsAreFound() throws {
        try withTemporaryDirectory { directory in
            let zeros = directory + "/zeros"
            try makeSparseFile(zeros, size: 300 << 20)
            for (program, arguments) in [("zstd", ["-q", "-19", "--long=27"]), ("gzip", ["-9"])] {
                let packed = "\(directory)/\(program)"
                try #require(Program("tar")).run(
                    [
                        "-C", directory, "--sort=name", "-I", ([program] + arguments).joined(separator: " "), "-cf",
                        packed, "zeros",
                    ], on: packed)
                try makeDirectory(packed + ".layer")
                let root = try FileDescriptor.openingDirectory(packed + ".layer")
                defer { root.closeQuietly() }
                let error = #expect(throws: StorageError.self, "\(program)") { try applyTar(packed, onto: root) }
                #expect(error?.kind == .resourceExhausted && error?.hint?.contains("--max-ratio") == true)
                #expect(try applyTar(packed, onto: root, limits: ArchiveLimits(ratio: .max)).entries == 1)
            }
        }
    }

    /// What AUFS and others left in layers, and directories that nobody told of.
    @Test func layersOfOthersApply() throws {
        let members = [
            Member(name: "./deep/er/file", data: "x", mode: 0o600), Member(name: ".wh..wh.aufs", data: "x"),
            Member(name: ".wh..wh.orph", type: "5"), Member(name: ".wh..wh.plnk", type: "5"),
            Member(name: ".wh..wh.plnk/12.34", data: "x"), Member(name: "nowhere/.wh.gone"),
            Member(name: "dir//double/", type: "5", mode: 0o700), Member(name: "old", type: "\0", data: "v7"),
        ]
        let (result, entries) = try apply(tar(members))
        #expect(throws: Never.self) { try result.get() }
        #expect(entries == ["deep", "dir", "old"])
    }

    @Test func missingParentsAreMadeForAll() throws {
        try withTemporaryDirectory { directory in
            let old = umask(0o077)
            defer { umask(old) }
            let file = directory + "/tar"
            let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT)
            try tar([Member(name: "a/b/file")]).withUnsafeBytes { try output.writeFully($0, to: file) }
            output.closeQuietly()
            try makeDirectory(directory + "/layer")
            let root = try FileDescriptor.openingDirectory(directory + "/layer")
            defer { root.closeQuietly() }
            _ = try applyTar(file, onto: root)
            for path in ["a", "a/b"] {
                let status = try FileStatus(path: "\(directory)/layer/\(path)")
                #expect(status.permissions == 0o755 && status.modified.seconds == 0)
            }
        }
    }

    /// What the fuzzer (Tools/fuzz) or somebody else has found once. Applying it may fail, but not crash or hang.
    @Test(.timeLimit(.minutes(1))) func whatWasFoundOnceStaysMended() throws {
        let here = URL(fileURLWithPath: #filePath)
        let directory = here.deletingLastPathComponent().appending(path: "../../FuzzApply/Regressions")
        let files = try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files { _ = try apply(Array(Data(contentsOf: file))) }
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
