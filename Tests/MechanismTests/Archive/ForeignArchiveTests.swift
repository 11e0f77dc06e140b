import Fixtures
import Glibc
import Lamina
import LayerArchive
import SystemPackage
import Testing

/// Tars as other programs write them, and have written them.
@Suite(.enabled(if: TestHost.isRoot, "needs root")) struct ForeignArchiveTests {
    /// Of some builders of images all names begin with a slash.
    @Test func absoluteNamesBeginAtTheLayersRoot() throws {
        let members = [
            Member(name: "/", type: "5", mode: 0o711), Member(name: "/app/", type: "5"),
            Member(name: "/app/program", data: "x"), Member(name: "//app//./hard", type: "1", link: "/app/program"),
            Member(name: "/app/.wh.gone"), Member(name: "/link", type: "2", link: "/app"),
            Member(name: "/link/below", data: "y"),
        ]
        let (result, entries) = try applyToNewLayer(tar(members)) { layer in
            try makeDirectories(layer + "/app")
            try writeText("", to: layer + "/app/gone")
        } inspect: { root in
            #expect(try root.status().permissions == 0o711)
            let app = try root.openEntry(EntryName("app"), flags: directoryFlag)
            defer { app.closeQuietly() }
            #expect(try app.entries().map(\.text) == ["below", "hard", "program"])
            #expect(try app.status(of: EntryName("hard")).linkCount == 2)
        }
        #expect(throws: Never.self) { try result.get() }
        #expect(entries == ["app", "link"])
    }

    /// AUFS kept files with several names in a directory of its own, and its whiteouts are hard links to each other.
    @Test func hardLinksOfAUFSAreKept() throws {
        let members = [
            Member(name: ".wh..wh.plnk/", type: "5"), Member(name: ".wh..wh.plnk/12.34", data: "x", owner: 7),
            Member(name: "d/one", type: "1", link: ".wh..wh.plnk/12.34"),
            Member(name: "two", type: "1", link: "/.wh..wh.plnk/12.34"), Member(name: ".wh.gone"),
            Member(name: ".wh.gone too", type: "1", link: ".wh.gone"), Member(name: ".wh..wh.orph/x", data: "x"),
            Member(name: "d/.wh..wh..opq", type: "1", link: ".wh.gone"),
        ]
        let (result, entries) = try applyToNewLayer(tar(members)) { layer in
            try makeDirectories(layer + "/d")
            for name in ["gone", "gone too", "d/hidden"] { try writeText("", to: "\(layer)/\(name)") }
        } inspect: { root in
            let two = try root.status(of: EntryName("two"))
            #expect(two.linkCount == 2 && two.uid == 7 && two.size == 1)
            let d = try root.openEntry(EntryName("d"), flags: directoryFlag)
            defer { d.closeQuietly() }
            #expect(try d.entries().map(\.text) == ["one"])
        }
        #expect(throws: Never.self) { try result.get() }
        #expect(entries == ["d", "two"])
    }

    /// Two names that Unicode takes for one, and one that is no Unicode.
    @Test func namesOfAttributesAreBytes() throws {
        let names: [[UInt8]] = [Array("\u{E9}".utf8), Array("e\u{301}".utf8), [0xFF, 0xFE]]
        let records = names.enumerated().map { index, name in
            (key: "SCHILY.xattr.trusted.", name: name, value: [UInt8(index)])
        }
        let member = Member(name: "f", byteRecords: records.map { (Array($0.key.utf8) + $0.name, $0.value) })
        let (result, _) = try applyToNewLayer(
            tar([member]),
            inspect: { root in
                let attributes = try root.extendedAttributes(of: EntryName("f"))
                for (index, name) in names.enumerated() {
                    #expect(attributes[AttributeName(Array("trusted.".utf8) + name)] == [UInt8(index)])
                }
            })
        #expect(throws: Never.self) { try result.get() }
    }

    @Test func namesInACLsAreTold() throws {
        let acl = "user::rw-,user:daemon:r--,user:joe:r--:1000,group::r--,mask::r--,other::r--"
        let member = Member(name: "f", records: [("SCHILY.acl.access", Array(acl.utf8))])
        let (result, _) = try applyToNewLayer(
            tar([member]),
            inspect: { root in
                let attribute = try root.extendedAttribute("system.posix_acl_access", of: EntryName("f"))
                #expect(attribute?.count == 4 + 5 * 8)
            })
        #expect(try result.get().warnings == ["f: its ACL names daemon without a number: left out"])
    }

    /// As tar, bsdtar and all engines do, but not in silence.
    @Test func whatIsWrongWithTheEndIsTold() throws {
        let whole = tar([Member(name: "f", data: "x")])
        let cases: [(bytes: [UInt8], warning: String?)] = [
            (whole, nil), (whole + [UInt8](repeating: 0, count: 1 << 21), nil), (Array(whole.dropLast(512)), nil),
            (Array(whole.dropLast(1024)), "end mark"), (whole + whole, "left out"), (whole + [1], "left out"),
            (whole + [UInt8](repeating: 0, count: 1 << 21) + [1], "left out"),
            (Array(whole.dropLast(512)) + whole, "left out"),
        ]
        for (index, (bytes, warning)) in cases.enumerated() {
            let applied = try applyToNewLayer(bytes).result.get()
            #expect(applied.bytes == UInt64(bytes.count))
            #expect(applied.warnings.count == (warning == nil ? 0 : 1), "\(index): \(applied.warnings)")
            if let warning { #expect(applied.warnings.first?.contains(warning) == true) }
        }
    }

    @Test func timesThatDoNotFitAreTold() throws {
        try withFilesystem("ext4", size: 64 << 20) { mounted in
            let far = [(key: "mtime", value: Array("99999999999.5".utf8))]
            let bytes = tar([
                Member(name: "f", records: far), Member(name: "d/", type: "5", records: far),
                Member(name: "l", type: "2", link: "f", records: far),
                Member(name: "near", records: [(far[0].key, [0x31])]),
            ])
            let file = mounted + "/tar"
            try write(bytes, to: file)
            try makeDirectory(mounted + "/layer")
            let root = try FileDescriptor.openingDirectory(mounted + "/layer")
            defer { root.closeQuietly() }
            // The root, of which the tar does not tell, has the time of the first member.
            let warnings = try applyTar(file, onto: root).warnings
            #expect(warnings.count == 4 && warnings.allSatisfy { $0.contains("time") }, "\(warnings)")
        }
    }

    /// Packed streams in pieces, with something between and after them. Each name says what it is.
    @Test(arguments: Packing.allCases) func packedStreamsInPieces(_ packing: Packing) throws {
        let whole = tar([Member(name: "f", data: String(repeating: "text ", count: 5000))])
        let plain = try applyToNewLayer(whole).result.get()
        try withTemporaryDirectory { directory in
            func packed(_ bytes: some Sequence<UInt8>) throws -> [UInt8] {
                try write(Array(bytes), to: directory + "/plain")
                let command = "\(packing.rawValue) -c <'\(directory)/plain' >'\(directory)/packed'"
                try #require(Program("bash")).run(["-c", command], on: directory)
                return try read(directory + "/packed")
            }
            let halves = [try packed(whole[..<3000]), try packed(whole[3000...])]
            let nothing = try packed([])
            let garbage: [[UInt8]] = [Array("garbage".utf8), [0, 0, 0] + Array("garbage".utf8), [0x1F], [0x28]]
            for bytes in packing.between(halves, nothing) {
                #expect(try applyToNewLayer(bytes).result.get().diffID == plain.diffID)
                for garbage in garbage {
                    let (result, _) = try applyToNewLayer(bytes + garbage)
                    let error = #expect(throws: StorageError.self) { try result.get() }
                    #expect(error?.kind == .dataLoss)
                }
                for cut in [1, 4, 8, halves[1].count - 3] {
                    let (result, _) = try applyToNewLayer(Array(bytes.dropLast(cut)))
                    #expect(throws: StorageError.self, "\(cut)") { try result.get() }
                }
            }
        }
    }

    enum Packing: String, CaseIterable {
        case gzip, zstd

        /// Two members or frames, with what may stand before, between and after them.
        func between(_ halves: [[UInt8]], _ nothing: [UInt8]) -> [[UInt8]] {
            switch self {
            case .gzip:
                [
                    halves[0] + halves[1], halves[0] + [UInt8](repeating: 0, count: 700) + halves[1],
                    nothing + halves[0] + nothing + nothing + halves[1],
                ]
            case .zstd:
                // A frame to skip (RFC 8878, 3.1.2), of three bytes.
                [[0x50], [0x5F]].flatMap { (first: [UInt8]) -> [[UInt8]] in
                    let skipped = first + [0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3]
                    return [skipped + halves[0] + skipped + halves[1], halves[0] + nothing + halves[1]]
                }
            }
        }
    }

    @Test(arguments: ["xz", "bzip2", "lz4", "lzip"]) func otherPackingsAreNamed(_ program: String) throws {
        if Program(program) == nil { return }
        try withTemporaryDirectory { directory in
            try write(tar([Member(name: "f", data: "x")]), to: directory + "/plain")
            let command = "\(program) -c <'\(directory)/plain' >'\(directory)/packed'"
            try #require(Program("bash")).run(["-c", command], on: directory)
            let (result, _) = try applyToNewLayer(try read(directory + "/packed"))
            let error = #expect(throws: StorageError.self) { try result.get() }
            #expect(error?.kind == .unimplemented && error?.message.contains(program) == true)
        }
    }

    /// A reader of zstd that gives what a frame asks for may need two gigabytes.
    @Test func largeWindowsAreRefused() throws {
        try withTemporaryDirectory { directory in
            let command = "head -c 200M /dev/zero | zstd -q --long=27 -o '\(directory)/packed'"
            try #require(Program("bash")).run(["-c", command], on: directory)
            let (result, _) = try applyToNewLayer(try read(directory + "/packed"))
            let error = #expect(throws: StorageError.self) { try result.get() }
            #expect(error?.kind == .resourceExhausted && error?.hint?.contains("zstd -dc") == true)
        }
    }

    private func write(_ bytes: [UInt8], to file: String) throws {
        let output = try FileDescriptor.opening(file, .writeOnly, flags: O_CREAT | O_TRUNC)
        defer { output.closeQuietly() }
        try bytes.withUnsafeBytes { try output.writeFully($0, to: file) }
    }

    private func read(_ file: String) throws -> [UInt8] {
        let input = try FileDescriptor.opening(file)
        defer { input.closeQuietly() }
        return try input.readBytes(Int(input.status().size), at: 0, of: file)
    }
}
