import Fixtures
import Foundation
import Glibc
import Lamina
import LayerArchive
import LinuxSystem
import SystemPackage
import Testing

/// Others read what Lamina writes, and Lamina reads what others write: the real programs, on a real filesystem.
@Suite(.enabled(if: TestHost.hasLoop, "needs root and loop devices"), .serialized) struct InteroperabilityTests {
    /// A program that reads and writes tars, with the options by which it keeps most.
    enum Reader: String, CaseIterable {
        case tar, bsdtar, umoci

        var isThere: Bool { Program(rawValue) != nil }

        func extract(_ tar: String, into directory: String) throws {
            switch self {
            case .tar:
                let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-p"]
                try #require(Program("tar")).run(["-C", directory] + options + ["-xf", tar], on: tar)
            case .bsdtar:
                try #require(Program("bsdtar")).run(
                    ["-C", directory, "--numeric-owner", "-p", "--acls", "--xattrs", "-xf", tar], on: tar)
            case .umoci:
                let image = directory + "-image"
                try OCILayout.write(to: image, layer: tar)
                let bundle = image + "-bundle"
                try #require(Program("umoci")).run(["unpack", "--image", image + ":latest", bundle], on: image)
                try check(rmdir(directory), "rmdir", directory)
                try check(rename(bundle + "/rootfs", directory), "rename", bundle)
            }
        }

        /// A picture without what the program is known not to keep (Debian 12's versions).
        func known(_ picture: TreePicture) -> TreePicture {
            switch self {
            // GNU tar has a way of its own to write a name with `=`.
            case .tar: picture.without(texts: [" user.a=b%=[2]"])
            // It does not set the time of a directory that was there, and counts fractions before 1970 forward.
            case .bsdtar: picture.without(paths: ["/", "/plain"])
            // To Go's reader a record without a value is one that is taken back.
            case .umoci: picture.without(texts: [" user.a=b%=[2]", " user.empty=[]"])
            }
        }
    }

    @Test(arguments: Reader.allCases.filter(\.isThere)) func theyReadOurs(_ reader: Reader) throws {
        try withTrees { source, target, directory in
            try RichTree.make(in: source)
            let file = directory + "/layer.tar"
            _ = try diff(from: nil, to: source, into: file)
            try reader.extract(file, into: directory + "/target")
            let root = try FileDescriptor.openingDirectory(directory + "/target")
            defer { root.closeQuietly() }
            let (theirs, ours) = (try TreePicture(root), try TreePicture(source))
            #expect(reader.known(theirs).differences(from: reader.known(ours)) == [])
            #expect(try root.status(of: EntryName("sparse")).size == 20 << 20)
        }
    }

    /// Writers and formats that Lamina has to read.
    enum Writer: String, CaseIterable {
        case gnu, posix, ustar, bsdtarPax, bsdtarGnu

        func write(_ directory: String, to file: String) throws {
            let tar = ["-C", directory, "--numeric-owner", "--sort=name"]
            switch self {
            case .gnu: try #require(Program("tar")).run(tar + ["--format=gnu", "-S", "-cf", file, "."], on: file)
            case .posix:
                try #require(Program("tar")).run(
                    tar + ["--format=posix", "-S", "--xattrs", "--xattrs-include=*", "--acls", "-cf", file, "."],
                    on: file)
            case .ustar: try #require(Program("tar")).run(tar + ["--format=ustar", "-cf", file, "."], on: file)
            case .bsdtarPax:
                try #require(Program("bsdtar")).run(
                    ["-C", directory, "--numeric-owner", "--format=pax", "--acls", "--xattrs", "-cf", file, "."],
                    on: file)
            case .bsdtarGnu:
                try #require(Program("bsdtar")).run(
                    ["-C", directory, "--numeric-owner", "--format=gnutar", "-cf", file, "."], on: file)
            }
        }
    }

    @Test(arguments: Writer.allCases) func weReadTheirs(_ writer: Writer) throws {
        try withTrees { source, target, directory in
            if writer == .posix || writer == .bsdtarPax {
                try RichTree.make(in: source, oddNames: false)
                // Which bsdtar writes as -6.999999993.
                try source.setModified(.init(seconds: -5, nanoseconds: 0), of: EntryName("plain"))
            } else {
                // What formats without extended headers can hold.
                try makePlainTree(in: source)
            }
            let file = directory + "/theirs.tar"
            try writer.write(directory + "/source", to: file)
            _ = try applyTar(file, onto: target)
            #expect(try TreePicture(target).differences(from: TreePicture(source)) == [])
        }
    }

    @Test(arguments: ["gzip -c", "gzip -c1 a && gzip -c9 b", "zstd -qc", "zstd -qc a && zstd -qc b"])
    func packedAsTheyPack(_ command: String) throws {
        try withTrees { source, target, directory in
            try makePlainTree(in: source)
            let file = directory + "/theirs.tar"
            try Writer.gnu.write(directory + "/source", to: file)
            // Two members or frames, one after the other, of the two halves.
            let script = """
                cd \(directory) && split -n 2 theirs.tar half. && mv half.aa a && mv half.ab b &&
                { \(command.contains("a &&") ? command : command + " theirs.tar"); } > packed
                """
            try #require(Program("bash")).run(["-c", script], on: file)
            let plain = try applyTar(file, onto: target)
            for name in try target.entries() { try target.removeEntry(name) }
            let packed = try applyTar(directory + "/packed", onto: target)
            #expect(packed.diffID == plain.diffID)
            #expect(try TreePicture(target).differences(from: TreePicture(source)) == [])
        }
    }

    /// skopeo copies an image with our layers, checks each digest on the way, and says what it has.
    @Test(.enabled(if: Program("skopeo") != nil, "needs skopeo"), arguments: [Compression.none, .gzip, .zstd])
    func skopeoTakesOurLayers(_ compression: Compression) throws {
        try withTrees { source, _, directory in
            try RichTree.make(in: source)
            let file = directory + "/layer"
            let written = try diff(from: nil, to: source, into: file, compression: compression)
            try OCILayout.write(to: directory + "/image", layer: file, compression: compression, diffID: written.diffID)
            let skopeo = try #require(Program("skopeo"))
            try skopeo.run(["copy", "-q", "oci:\(directory)/image:latest", "oci:\(directory)/copy:latest"], on: file)
            try skopeo.run(["copy", "-q", "oci:\(directory)/image:latest", "dir:\(directory)/dir"], on: file)
            #expect(exists("\(directory)/dir/\(written.digest.dropFirst(7))"))
            // What is not packed it packs by itself.
            if compression == .none { return }
            let blob = "\(directory)/copy/blobs/sha256/\(written.digest.dropFirst(7))"
            #expect(try FileStatus(path: blob).size == written.bytes)
        }
    }

    private func makePlainTree(in root: FileDescriptor) throws {
        try write("plain\n", to: "plain", in: root)
        try root.makeDirectory(EntryName("d"), permissions: 0o755)
        try root.setPermissions(0o1777, of: EntryName("d"))
        try write("two", to: "d/two", in: root)
        try root.setOwner(of: EntryName("plain"), uid: 1000, gid: 1001)
        try root.setPermissions(0o4711, of: EntryName("plain"))
        let directory = try root.openEntry(EntryName("d"), flags: directoryFlag)
        defer { directory.closeQuietly() }
        try directory.makeLink(EntryName("link"), to: EntryName("plain"), in: root)
        try root.makeSymlink(EntryName("symlink"), to: Array("../d/two".utf8))
        try root.makeNode(EntryName("null"), .characterDevice, DeviceNumber(major: 1, minor: 3))
        try root.makeNode(EntryName("fifo"), .fifo, DeviceNumber(major: 0, minor: 0))
        for name in try directory.entries() { try directory.setModified(.init(seconds: 5, nanoseconds: 0), of: name) }
        for name in try root.entries() { try root.setModified(.init(seconds: 7, nanoseconds: 0), of: name) }
        try root.setModified(.init(seconds: 9, nanoseconds: 0), of: .itself)
    }

    /// Two directories of one ext4, `source` and `target`, and the directory of both.
    private func withTrees(_ body: (FileDescriptor, FileDescriptor, String) throws -> Void) throws {
        try withFilesystem("ext4", size: 400 << 20) { mounted in
            for name in ["source", "target"] { try makeDirectory("\(mounted)/\(name)", mode: 0o755) }
            let source = try FileDescriptor.openingDirectory(mounted + "/source")
            defer { source.closeQuietly() }
            let target = try FileDescriptor.openingDirectory(mounted + "/target")
            defer { target.closeQuietly() }
            try body(source, target, mounted)
        }
    }
}

/// An OCI image layout (OCI image specification, image-layout.md) of one layer, written by hand.
enum OCILayout {
    static func write(
        to directory: String, layer: String, compression: Compression = .none, diffID: String? = nil
    ) throws {
        try makeDirectories(directory + "/blobs/sha256")
        let data = try Data(contentsOf: URL(fileURLWithPath: layer))
        let suffix = compression == .none ? "" : "+\(compression.rawValue)"
        let layerDescriptor = try blob(data, "application/vnd.oci.image.layer.v1.tar\(suffix)", directory)
        let id = diffID ?? "\(layerDescriptor["digest"]!)"
        let config = try blob(
            json([
                "architecture": "amd64", "os": "linux", "config": [String: String](),
                "rootfs": ["type": "layers", "diff_ids": [id]],
            ]), "application/vnd.oci.image.config.v1+json", directory)
        var manifest = try blob(
            json([
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                "layers": [layerDescriptor],
            ]), "application/vnd.oci.image.manifest.v1+json", directory)
        manifest["annotations"] = ["org.opencontainers.image.ref.name": "latest"]
        try json(["schemaVersion": 2, "manifests": [manifest]])
            .write(to: URL(fileURLWithPath: directory + "/index.json"))
        try json(["imageLayoutVersion": "1.0.0"]).write(to: URL(fileURLWithPath: directory + "/oci-layout"))
    }

    private static func json(_ object: [String: Any]) throws -> Data {
        try JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
    }

    private static func blob(_ data: Data, _ type: String, _ directory: String) throws -> [String: Any] {
        let file = directory + "/blob"
        try data.write(to: URL(fileURLWithPath: file))
        try #require(Program("bash")).run(["-c", "sha256sum <'\(file)' >'\(file).sum'"], on: file)
        let sum = try #require(readText(file + ".sum")).prefix(64)
        unlink(file + ".sum")
        try check(rename(file, "\(directory)/blobs/sha256/\(sum)"), "rename", file)
        return ["mediaType": type, "digest": "sha256:\(sum)", "size": data.count]
    }
}
