import Fixtures
import Glibc
import LinuxSystem
import SystemPackage
import Testing

@testable import DeviceMapperDriver

@Suite struct NameIndexTests {
    @Test func namesOfInodes() throws {
        try withTemporaryDirectory { directory in
            let tree = directory + "/tree"
            let kept = directory + "/index"
            for path in ["", "/a", "/a/b", "/a/b/c", "/empty"] { try makeDirectory(tree + path) }
            for path in ["/one", "/a/two", "/a/b/c/three"] { try writeText("x", to: tree + path) }
            #expect(Glibc.link(tree + "/one", tree + "/a/b/linked") == 0)
            #expect(symlink("/a", tree + "/link") == 0)
            let root = try FileDescriptor.openingDirectory(tree)
            defer { root.closeQuietly() }
            try root.makeDirectory(EntryName([0xFF, 0x20]), permissions: 0o755)

            func inode(_ path: String) throws -> UInt64 { try FileStatus(path: tree + path, followLinks: false).inode }
            func check(_ index: NameIndex) throws {
                #expect(index.paths(of: try inode("")) == [[]])
                #expect(
                    Set(index.paths(of: try inode("/one"))) == [Array("one".utf8), Array("a/b/linked".utf8)])
                for path in ["a", "a/b/c", "a/b/c/three", "a/two", "empty", "link"] {
                    #expect(index.paths(of: try inode("/" + path)) == [Array(path.utf8)])
                }
                #expect(index.paths(of: try root.status(of: EntryName([0xFF, 0x20])).inode) == [[0xFF, 0x20]])
                #expect(index.paths(of: 1 << 60) == [] && index.links(of: 0) == [])
            }
            #expect(!exists(kept))
            try check(try NameIndex.of(root, keptAt: kept))
            #expect(directoryNames(directory)?.sorted() == ["index", "tree"])
            // From the file now: what has come since is not in it.
            try writeText("x", to: tree + "/later")
            let index = try NameIndex.of(root, keptAt: kept)
            try check(index)
            #expect(index.paths(of: try inode("/later")) == [])
            // One that is no index is made anew; one that cannot be kept is made all the same.
            try writeText("short", to: kept)
            let again = try NameIndex.of(root, keptAt: kept)
            #expect(again.paths(of: try inode("/later")) == [Array("later".utf8)])
            try check(try NameIndex.of(root, keptAt: directory + "/missing/index"))
        }
    }
}
