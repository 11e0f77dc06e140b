import CLinux
import Fixtures
import Glibc
import Lamina
import LayerArchive
import LinuxSystem
import SystemPackage
import Testing

/// What goes out as a tar and comes in again is the same.
@Suite(.enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct FidelityTests {
    private static let filesystems = ["ext4", "xfs"] + (TestHost.hasBtrfs ? ["btrfs"] : [])

    @Test(arguments: filesystems) func allThatALayerHoldsComesBack(_ filesystem: String) throws {
        try withTrees(on: filesystem) { source, target, tar in
            try RichTree.make(in: source, sockets: true)
            let written = try diff(from: nil, to: source, into: tar)
            #expect(written.warnings == ["/socket: sockets are not kept"])
            let applied = try applyTar(tar, onto: target)
            #expect(applied.diffID == written.diffID)
            #expect(applied.warnings == [])
            let time = try source.status().modified
            try source.removeEntry(EntryName("socket"))
            try source.setModified(time, of: .itself)
            #expect(try TreePicture(target).differences(from: TreePicture(source)) == [])
            // 132 KiB of data, and a little for the filesystem: not the 1 MiB of zeros, nor the holes.
            #expect(try target.status(of: EntryName("sparse")).allocated < 1 << 18)
            #expect(try diff(from: nil, to: target, into: tar).diffID == written.diffID)
            #expect(try LayerArchive.changes(from: source, to: target) == [])
        }
    }

    @Test func theSameTreeIsTheSameTarOnEveryFilesystem() throws {
        var first: TreePicture?
        let digests = try Self.filesystems.map { filesystem in
            try withTrees(on: filesystem) { source, _, tar in
                try RichTree.make(in: source)
                let picture = try TreePicture(source)
                #expect(picture.differences(from: first ?? picture) == [])
                first = picture
                return try diff(from: nil, to: source, into: tar).diffID
            }
        }
        #expect(Set(digests).count == 1, "\(digests)")
    }

    /// Each edit of a copy of the tree, told by its changes and brought to another copy by its tar.
    @Test(arguments: Edit.all) func editsComeBack(_ edit: Edit) throws {
        try withTrees(on: "ext4") { parent, target, tar in
            try RichTree.make(in: parent)
            try parent.makeDirectory(EntryName("d"), permissions: 0o755)
            try write("x", to: "d/x", in: parent)
            try write("y", to: "d/y", in: parent)
            _ = try diff(from: nil, to: parent, into: tar)
            _ = try applyTar(tar, onto: target)
            try withTrees(on: "ext4") { child, _, childTar in
                _ = try applyTar(tar, onto: child)
                #expect(try LayerArchive.changes(from: parent, to: child) == [])
                try edit.apply(child)
                let changes = try LayerArchive.changes(from: parent, to: child)
                #expect(
                    changes.map { "\($0.kind.rawValue) \(String(decoding: $0.path, as: UTF8.self))" } == edit.changes)
                _ = try diff(from: parent, to: child, into: childTar)
                _ = try applyTar(childTar, onto: target)
                #expect(try TreePicture(target).differences(from: TreePicture(child)) == [])
            }
        }
    }

    struct Edit: CustomTestStringConvertible {
        let testDescription: String
        let changes: [String]
        let apply: @Sendable (FileDescriptor) throws -> Void

        init(_ name: String, _ changes: [String], _ apply: @escaping @Sendable (FileDescriptor) throws -> Void) {
            testDescription = name
            self.changes = changes
            self.apply = apply
        }

        static let all: [Edit] = [
            Edit("nothing", []) { _ in },
            Edit("an xattr goes from a directory", ["modified /sticky"]) {
                try $0.removeExtendedAttribute("user.on-directory", of: EntryName("sticky"))
            },
            Edit("an ACL goes", ["modified /acl"]) {
                try $0.removeExtendedAttribute("system.posix_acl_access", of: EntryName("acl"))
            },
            Edit("a default ACL goes", ["modified /inheriting"]) {
                try $0.removeExtendedAttribute("system.posix_acl_default", of: EntryName("inheriting"))
            },
            Edit("the root's mode", ["modified /"]) { try $0.setPermissions(0o700, of: .itself) },
            Edit("one link of two goes", ["modified /setgid/one", "deleted /two"]) { root in
                try keepingTime(of: root) { try root.removeEntry(EntryName("two")) }
            },
            Edit("links are paired anew", ["modified /setgid/one", "added /three", "modified /two", "added /two b"]) {
                root in
                try keepingTime(of: root) {
                    let setgid = try root.openEntry(EntryName("setgid"), flags: directoryFlag)
                    defer { setgid.closeQuietly() }
                    let time = try setgid.status(of: EntryName("one")).modified
                    // Two files with the same contents, owner and time, and two names each.
                    try root.removeEntry(EntryName("two"))
                    try write("linked", to: "two", in: root)
                    try root.setOwner(of: EntryName("two"), uid: 0, gid: 3_000_000_001)
                    try root.makeLink(EntryName("two b"), to: EntryName("two"), in: root)
                    try root.setModified(time, of: EntryName("two"))
                    try root.makeLink(EntryName("three"), to: EntryName("one"), in: setgid)
                }
            },
            Edit("a link moves to another name", ["added /new", "modified /setgid/one", "deleted /two"]) { root in
                try keepingTime(of: root) {
                    try check(renameat(root.rawValue, "two", root.rawValue, "new"), "rename", "two")
                }
            },
            Edit("a file becomes a directory", ["modified /plain", "added /plain/below"]) { root in
                try keepingTime(of: root) {
                    try root.removeEntry(EntryName("plain"))
                    try root.makeDirectory(EntryName("plain"), permissions: 0o755)
                    try write("b", to: "plain/below", in: root)
                }
            },
            Edit("a directory becomes a file", ["modified /d"]) { root in
                try keepingTime(of: root) {
                    try root.removeEntry(EntryName("d"))
                    try write("d", to: "d", in: root)
                }
            },
            Edit("a directory is made anew", ["modified /d", "deleted /d/x", "modified /d/y", "added /d/z"]) { root in
                try keepingTime(of: root) {
                    try root.removeEntry(EntryName("d"))
                    try root.makeDirectory(EntryName("d"), permissions: 0o755)
                    try write("Y", to: "d/y", in: root)
                    try write("z", to: "d/z", in: root)
                }
            },
            Edit("a file becomes a FIFO", ["modified /plain"]) { root in
                try keepingTime(of: root) {
                    try root.removeEntry(EntryName("plain"))
                    try root.makeNode(EntryName("plain"), .fifo, DeviceNumber(major: 0, minor: 0))
                }
            },
            Edit("other contents of the same size and time", ["modified /plain"]) { root in
                let time = try root.status(of: EntryName("plain")).modified
                try write("PLAIN\n", to: "plain", in: root)
                try root.setModified(time, of: EntryName("plain"))
            },
            Edit("a name of 255 bytes goes", ["deleted /" + String(repeating: "n", count: 255)]) { root in
                try keepingTime(of: root) { try root.removeEntry(EntryName(String(repeating: "n", count: 255))) }
            },
        ]

        /// The root's own time is no part of an edit.
        private static func keepingTime(of root: FileDescriptor, _ body: () throws -> Void) throws {
            let time = try root.status().modified
            try body()
            try root.setModified(time, of: .itself)
        }
    }

    @Test func aFileThatBecomesASocketIsGone() throws {
        try withTrees(on: "ext4") { source, target, tar in
            for root in [source, target] { try write("x", to: "file", in: root) }
            try source.removeEntry(EntryName("file"))
            try source.makeNode(EntryName("file"), .socket, DeviceNumber(major: 0, minor: 0))
            #expect(try diff(from: target, to: source, into: tar).warnings == ["/file: sockets are not kept"])
            _ = try applyTar(tar, onto: target)
            #expect(try target.entries() == [])
        }
    }

    @Test func moreThanEightGibibytesInOneFile() throws {
        try withTrees(on: "xfs") { source, target, tar in
            let file = try source.openEntry(EntryName("big"), .writeOnly, flags: O_CREAT, permissions: 0o600)
            defer { file.closeQuietly() }
            let size: UInt64 = 9 << 30 + 12345
            try [1, 2, 3].withUnsafeBytes { try file.writeFully($0, at: 8 << 30 + 77, to: "big") }
            try check(ftruncate(file.rawValue, off_t(size)), "truncate", "big")
            #expect(try diff(from: nil, to: source, into: tar).bytes < 1 << 20)
            _ = try applyTar(tar, onto: target)
            #expect(try target.status(of: EntryName("big")).size == size)
            #expect(try TreePicture(target).differences(from: TreePicture(source)) == [])
        }
    }

    @Test func pathsThatNoProgramCouldNameAreRefused() throws {
        try withTrees(on: "ext4") { source, _, tar in
            var directory = try source.openBeneath(".", flags: O_DIRECTORY)
            for _ in 0..<17 {
                let name = EntryName(String(repeating: "d", count: 255))
                try directory.makeDirectory(name, permissions: 0o755)
                let next = try directory.openEntry(name, flags: directoryFlag)
                directory.closeQuietly()
                directory = next
            }
            directory.closeQuietly()
            let error = #expect(throws: StorageError.self) { try diff(from: nil, to: source, into: tar) }
            #expect(error?.errno == .fileNameTooLong)
        }
    }

    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func anErrorWhileReadingFailsTheDiff() throws {
        try withTemporaryDirectory { directory in
            let image = directory + "/image"
            try makeSparseFile(image, size: 256 << 20)
            try Program("mkfs.btrfs")!.run(["-q", "-d", "single", image], on: image)
            let mounted = directory + "/mounted"
            try makeDirectory(mounted)
            func withMount(_ body: (FileDescriptor) throws -> Void) throws {
                let device = try LoopDevice(file: image)
                try DetachedMount(Mount(type: "btrfs", source: device.path, options: [])).attach(to: mounted)
                defer { try? unmount(mounted) }
                let root = try FileDescriptor.openingDirectory(mounted)
                defer { root.closeQuietly() }
                try body(root)
            }
            let mark = "what is to be damaged "
            try withMount { try write(String(repeating: mark, count: 1000), to: "file", in: $0) }
            // The data is checked by a sum that now is wrong.
            let bytes = try FileDescriptor.opening(image, .readWrite)
            defer { bytes.closeQuietly() }
            var damaged = false
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            for range in try dataRanges(of: bytes, size: 256 << 20) {
                for offset in stride(from: range.lowerBound, to: range.upperBound, by: 4096) {
                    let count = try buffer.withUnsafeMutableBytes {
                        try bytes.read(fromAbsoluteOffset: Int64(offset), into: .init(rebasing: $0[..<22]))
                    }
                    guard buffer[..<count].elementsEqual(mark.utf8) else { continue }
                    try [UInt8]("WHAT".utf8).withUnsafeBytes { try bytes.writeFully($0, at: offset, to: image) }
                    damaged = true
                }
            }
            #expect(damaged)
            try bytes.synchronize()
            try withMount { root in
                let error = #expect(throws: StorageError.self) {
                    try diff(from: nil, to: root, into: directory + "/tar")
                }
                #expect(error?.errno == .ioError)
            }
        }
    }

    /// Two directories of one filesystem, and the path of a tar on another.
    private func withTrees<Result>(
        on filesystem: String, _ body: (FileDescriptor, FileDescriptor, String) throws -> Result
    ) throws -> Result {
        try withFilesystem(filesystem, size: 400 << 20) { mounted in
            for name in ["source", "target"] { try makeDirectory("\(mounted)/\(name)", mode: 0o755) }
            let source = try FileDescriptor.openingDirectory(mounted + "/source")
            defer { source.closeQuietly() }
            let target = try FileDescriptor.openingDirectory(mounted + "/target")
            defer { target.closeQuietly() }
            return try withTemporaryDirectory { try body(source, target, $0 + "/tar") }
        }
    }
}

/// Writes the changes between two trees to a file.
func diff(
    from parent: FileDescriptor?, to child: FileDescriptor, into file: String, compression: Compression = .none
) throws -> WrittenDiff {
    let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT | O_TRUNC, permissions: 0o600)
    defer { output.closeQuietly() }
    return try LayerArchive.writeDiff(from: parent, to: child, into: output, compression: compression)
}

/// Applies a tar that is a file.
func applyTar(
    _ file: String, onto root: FileDescriptor, limits: ArchiveLimits = ArchiveLimits()
) throws -> AppliedArchive {
    let input = try FileDescriptor.opening(file)
    defer { input.closeQuietly() }
    return try LayerArchive.apply(input, named: file, onto: root, limits: limits)
}
