import Fixtures
import Foundation
import Glibc
import Lamina
import SystemPackage
import Testing

@testable import LayerArchive

/// Tars that want out of the layer, want too much, or make no sense. Every class of break-out that other engines have
/// had is here (CVE numbers in the tests), but those that need an image's manifest, a build cache or a helper process
/// inside the container, of which Lamina has none.
@Suite(.enabled(if: TestHost.isRoot, "needs root")) struct HostileArchiveTests {
    @Test(arguments: ["../evil", "a/../../evil", "..", "/..", "/../evil", "a/..", "./../evil"])
    func namesThatLeadOutAreRefused(_ name: String) throws {
        let (result, entries) = try applyToNewLayer(tar([Member(name: name, data: "x")]))
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
        _ = try applyToNewLayer(tar(members))
    }

    @Test(arguments: ["../outside/file", "/etc/passwd", "link/file"])
    func hardLinksStayInside(_ target: String) throws {
        let members = [
            Member(name: "link", type: "2", link: "../outside"), Member(name: "hard", type: "1", link: target),
            Member(name: "hard", data: "evil"),
        ]
        let (result, _) = try applyToNewLayer(tar(members))
        #expect(throws: StorageError.self) { try result.get() }
    }

    @Test(arguments: [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.dir/file"]) func whiteoutsOfNoName(_ name: String)
        throws
    {
        let (result, entries) = try applyToNewLayer(tar([Member(name: name)])) { try writeText("", to: $0 + "/keep") }
        #expect(throws: StorageError.self) { try result.get() }
        #expect(entries.contains("keep"))
    }

    @Test func theLastNameIsNotFollowed() throws {
        let members = [
            Member(name: "file", type: "2", link: "../outside/file"), Member(name: "file", data: "evil"),
        ]
        let (result, entries) = try applyToNewLayer(tar(members))
        #expect(try result.get().entries == 2)
        #expect(entries == ["file"])
    }

    @Test func opaqueKeepsWhatTheTarHasPut() throws {
        let members = [
            Member(name: "d/new", data: "x"), Member(name: "d/.wh..wh..opq"), Member(name: ".wh.gone"),
            Member(name: ".wh..wh.plnk", data: "aufs"),
        ]
        let (result, entries) = try applyToNewLayer(tar(members)) { layer in
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
            _ = try applyToNewLayer(tar(members))
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
            _ = try applyToNewLayer(tar(members))
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
        let (result, entries) = try applyToNewLayer(tar(members))
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
            let (result, _) = try applyToNewLayer(bytes, limits: limits)
            let error = #expect(throws: StorageError.self, "\(option)") { try result.get() }
            #expect(error?.kind == .resourceExhausted)
            #expect(error?.hint?.contains(option) == true, "\(option): \(error?.description ?? "")")
        }
        for bytes in [many, deep, large, two] { _ = try applyToNewLayer(bytes).result.get() }
    }

    /// A symlink leads to a deep directory, and the next one on from there: no name in the tar is deep.
    @Test func linksDoNotLeadDeeperThanTheLimit() throws {
        let path = Array(repeating: "d", count: 15).joined(separator: "/")
        var members = [Member(name: path, type: "5", mode: 0o755)]
        for number in 0..<4 {
            let above = number == 0 ? path : "l\(number - 1)/\(path)"
            members.append(Member(name: "l\(number)", type: "2", link: above))
            members.append(Member(name: "l\(number)/\(path)", type: "5", mode: 0o755))
        }
        let (result, _) = try applyToNewLayer(tar(members), limits: ArchiveLimits(depth: 40))
        let error = #expect(throws: StorageError.self) { try result.get() }
        #expect(error?.errno == .fileNameTooLong && error?.message.contains("--max-depth") == true, "\(error!)")
        _ = try applyToNewLayer(tar(members)).result.get()
    }

    /// Those of macOS, and users' on what cannot have them.
    @Test func attributesOfOtherSystemsAreLeftOut() throws {
        let foreign = ("SCHILY.xattr.com.apple.provenance", [UInt8](repeating: 1, count: 11))
        let bytes = tar([
            Member(name: "file", data: "x", records: [foreign]),
            Member(name: "link", type: "2", link: "file", records: [("SCHILY.xattr.user.a", [1])]),
        ])
        let (result, entries) = try applyToNewLayer(bytes)
        let applied = try result.get()
        #expect(entries.sorted() == ["file", "link"])
        #expect(applied.warnings.contains { $0.contains("com.apple.provenance is not supported here: left out") })
        #expect(applied.warnings.contains { $0.contains("user.a is not supported here: left out") })
    }

    /// The root's time follows from the tar, also of one that does not tell of the root.
    @Test func theRootHasATimeOfTheTar() throws {
        let (result, _) = try applyToNewLayer(
            tar([Member(name: "file")]),
            inspect: { root throws in
                #expect(try root.status().modified == FileStatus.Timestamp(seconds: 0, nanoseconds: 0))
            })
        _ = try result.get()
    }

    /// CVE-2017-14992: a small file that becomes a large one; in zstd, 300 MiB of zeros are some 10 KiB.
    @Test func bombsAreFound() throws {
        try withTemporaryDirectory { directory in
            let zeros = directory + "/zeros"
            try makeSparseFile(zeros, size: 300 << 20)
            for (program, arguments) in [("zstd", ["-q", "-19"]), ("gzip", ["-9"])] {
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

    /// The limit of a file's bytes is that of what it says to have: it must not have more.
    @Test func dataAfterTheEndOfAFileIsRefused() throws {
        for map in ["1\n1125899906842624\n512\n", "1\n0\n512\n", "2\n0\n1\n10\n1\n"] {
            let (result, _) = try applyToNewLayer(tar([sparse(map, size: "10", data: 512)]))
            let error = #expect(throws: StorageError.self, "\(map)") { try result.get() }
            #expect(error?.kind == .dataLoss)
        }
        #expect(try applyToNewLayer(tar([sparse("1\n9\n1\n", size: "10", data: 1)])).result.get().entries == 1)
    }

    /// A map of holes is read into memory: a million of them are too many.
    @Test func endlessHeadersAreRefused() throws {
        let holes = String(repeating: "0\n0\n", count: 1_200_000)
        let map = sparse("1200000\n\(holes)", size: "10", data: 0)
        let names = Member(name: "././@LongLink", type: "L", data: "name\0")
        for bytes in [tar([map]), tar(Array(repeating: names, count: 100_000))] {
            let (result, entries) = try applyToNewLayer(bytes)
            #expect(throws: StorageError.self) { try result.get() }
            #expect(entries == [])
        }
    }

    private func sparse(_ map: String, size: String, data: Int) -> Member {
        let padding = String(repeating: "\0", count: (512 - map.utf8.count % 512) % 512)
        return Member(
            name: "s", data: map + padding + String(repeating: "x", count: data),
            records: [
                ("GNU.sparse.major", [0x31]), ("GNU.sparse.minor", [0x30]), ("GNU.sparse.name", [0x73]),
                ("GNU.sparse.realsize", Array(size.utf8)),
            ])
    }

    /// Ids that are none, records that make no sense, and links to nothing: to leave them out would be to lose something.
    @Test func whatMakesNoSenseIsRefused() throws {
        func owner(_ id: String) -> Member { Member(name: "f", records: [("uid", Array(id.utf8))]) }
        let cut = Member(name: "PaxHeaders/f", type: "x", data: "999 path=elsewhere\n")
        let members: [[Member]] = [
            [owner("99999999999")], [owner("4294967295")], [owner("-1")], [cut, Member(name: "f")],
            [Member(name: "f", type: "1")], [Member(name: "f", type: "2")], [Member(name: "f", type: "M", data: "x")],
            [Member(name: "f", records: [("SCHILY.xattr.user.a", [UInt8](repeating: 1, count: 70000))])],
        ]
        for members in members {
            let (result, _) = try applyToNewLayer(tar(members))
            #expect(throws: StorageError.self, "\(members)") { try result.get() }
        }
        #expect(try applyToNewLayer(tar([owner("4294967294")])).result.get().entries == 1)
    }

    @Test func warningsAreNotWithoutEnd() {
        var warnings = Warnings()
        for number in 0..<1500 { warnings.add("\(number)") }
        #expect(warnings.lines.count == 1001 && warnings.lines.last == "and 500 more")
    }

    /// Once more members came than are noted, nobody knows what an opaque whiteout hides.
    @Test func anOpaqueWhiteoutThatComesTooLateIsRefused() throws {
        var made = MadeEntries()
        for number in 0..<MadeEntries.most { made.insert(EntryPath(bytes: Array("\(number)".utf8))) }
        #expect(!made.isIncomplete && made.contains(EntryPath(bytes: Array("0".utf8))))
        made.insert(EntryPath(bytes: [0x61]))
        #expect(made.isIncomplete)
    }

    /// What AUFS and others left in layers, and directories that nobody told of.
    @Test func layersOfOthersApply() throws {
        let members = [
            Member(name: "./deep/er/file", data: "x", mode: 0o600), Member(name: ".wh..wh.aufs", data: "x"),
            Member(name: ".wh..wh.orph", type: "5"), Member(name: ".wh..wh.plnk", type: "5"),
            Member(name: ".wh..wh.plnk/12.34", data: "x"), Member(name: "nowhere/.wh.gone"),
            Member(name: "dir//double/", type: "5", mode: 0o700), Member(name: "old", type: "\0", data: "v7"),
        ]
        let (result, entries) = try applyToNewLayer(tar(members))
        #expect(throws: Never.self) { try result.get() }
        #expect(entries == ["deep", "dir", "old"])
    }

    @Test func missingParentsAreMadeForAllAndModesAreTheTars() throws {
        try withTemporaryDirectory { directory in
            let old = umask(0o077)
            defer { umask(old) }
            let file = directory + "/tar"
            let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT)
            let members = [
                Member(name: "a/b/file"), Member(name: "a/w", mode: 0o666),
                Member(name: "a/t/", type: "5", mode: 0o1777),
                Member(name: "a/s", mode: 0o6777, owner: 5), Member(name: "a/n", type: "6", mode: 0o622),
            ]
            try tar(members).withUnsafeBytes { try output.writeFully($0, to: file) }
            output.closeQuietly()
            try makeDirectory(directory + "/layer")
            let root = try FileDescriptor.openingDirectory(directory + "/layer")
            defer { root.closeQuietly() }
            _ = try applyTar(file, onto: root)
            for path in ["a", "a/b"] {
                let status = try FileStatus(path: "\(directory)/layer/\(path)")
                #expect(status.permissions == 0o755 && status.modified.seconds == 0)
            }
            for (name, mode) in [("b/file", 0o644), ("w", 0o666), ("t", 0o1777), ("s", 0o6777), ("n", 0o622)] {
                #expect(try FileStatus(path: "\(directory)/layer/a/\(name)").permissions == mode, "\(name)")
            }
        }
    }

    /// What the fuzzer (Tools/fuzz) or somebody else has found once. Applying it may fail, but not crash or hang.
    @Test(.timeLimit(.minutes(1))) func whatWasFoundOnceStaysMended() throws {
        let here = URL(fileURLWithPath: #filePath)
        let directory = here.deletingLastPathComponent().appending(path: "../../FuzzApply/Regressions")
        let files = try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files { _ = try applyToNewLayer(Array(Data(contentsOf: file))) }
    }

    @Test func brokenTarsAreRefused() throws {
        let whole = tar([Member(name: "file", data: String(repeating: "x", count: 5000))])
        var flipped = whole
        flipped[10] ^= 0xFF
        for bytes in [
            [], Array("this is no tar, but it is long enough to be read".utf8), Array(whole[..<2000]), flipped,
            [0x1F, 0x8B, 8, 0, 1, 2, 3], [0x28, 0xB5, 0x2F, 0xFD, 1, 2, 3],
        ] {
            let (result, _) = try applyToNewLayer(bytes)
            let error = #expect(throws: StorageError.self) { try result.get() }
            #expect(error?.object == "evil.tar")
        }
    }
}
