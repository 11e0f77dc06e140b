import Fixtures
import Glibc
import Lamina
import SystemPackage
import Testing

/// `lamina import-root --from aufs`: trees as Docker's aufs driver has left them.
@Suite(.serialized, .enabled(if: TestHost.isRoot, "needs root")) struct ImportRootTests {
    static let grounds: [CommandGround] = CommandGround.here.filter { $0 == .btrfs || $0 == .vfs }

    @Test(arguments: grounds) func aTreeComesIn(_ ground: CommandGround) throws {
        try ground.withRoot { lamina in
            try withTemporaryDirectory { directory in
                let aufs = try tree(in: directory)
                let before = try picture(of: aufs)
                let imported = try lamina("import-root", "--from", "aufs", aufs, "--json")
                #expect(imported.status == 0, "\(imported.error)")
                #expect(imported.output == "{\"imported\":[\"base\",\"middle\",\"top\"],\"skipped\":[]}\n")
                #expect(imported.error.contains("-removing") && imported.error.contains("diff/stray"))
                #expect(imported.error.contains(".wh..gone.0123"), "\(imported.error)")

                let top = String(try layer("top", lamina).dropLast())
                #expect(directoryNames(top)?.sorted() == ["added", "kept", "linked", "links", "opaque", "replaced"])
                #expect(directoryNames(top + "/opaque") == ["only"])
                #expect(readText(top + "/kept") == "base" && readText(top + "/added") == "middle")
                #expect(try FileStatus(path: top + "/kept").permissions == 0o640)
                #expect(try FileStatus(path: top + "/replaced").kind == .directory)
                // Links inside a layer are links; one of two in the layer below has become a file of its own.
                let (one, two) = (top + "/links/one", top + "/links/two")
                #expect(try FileStatus(path: one).inode == FileStatus(path: two).inode)
                #expect(readText(top + "/linked") == "changed")
                #expect(try FileStatus(path: top).permissions == 0o711)
                try FileDescriptor.openingDirectory(top).closing { root in
                    let note = try root.extendedAttributes(of: EntryName("kept"))["trusted.note"]
                    #expect(note == [1, 2])
                }
                #expect(try lamina("layer", "umount", "top").status == 0)
                #expect(try lamina("layer", "inspect", "middle", "--json").value("parent") == "base")
                #expect(try lamina("layer", "inspect", "base", "--json").output.contains("\"imported-from\":\"aufs\""))

                // Nothing of it was changed, and nothing is made twice.
                #expect(try picture(of: aufs) == before)
                #expect(try lamina("layer", "rm", "top").status == 0)
                let again = try lamina("import-root", "--from", "aufs", aufs, "--json")
                let expected = "{\"imported\":[\"top\"],\"skipped\":[\"base\",\"middle\"]}\n"
                #expect(again.output == expected, "\(again.error)")
                let children = try lamina("layer", "create", "work", "--parent", "top")
                #expect(children.status == 0, "\(children.error)")
            }
        }
    }

    /// Kills imports at random moments: what is there is whole, and the next one makes the rest.
    @Test(arguments: grounds) func killedImportsGoOn(_ ground: CommandGround) throws {
        try ground.withRoot { lamina in
            try withTemporaryDirectory { directory in
                let aufs = try tree(in: directory)
                for _ in 0..<(TestHost.isGuest ? 2 : 12) {
                    let process = try lamina.start(["import-root", "--from", "aufs", aufs])
                    usleep(UInt32.random(in: 0...(TestHost.isGuest ? 2_000_000 : 120_000)))
                    kill(process.processIdentifier, SIGKILL)
                    process.waitUntilExit()
                    #expect(try lamina("layer", "ls").status == 0)
                }
                #expect(try lamina("import-root", "--from", "aufs", aufs).status == 0)
                let top = String(try layer("top", lamina).dropLast())
                #expect(directoryNames(top)?.count == 6)
                #expect(try lamina("layer", "umount", "top").status == 0)
                let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
                #expect(try store.driver.objects().count == 3)
            }
        }
    }

    @Test func badTreesAreRefused() throws {
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            func refused(_ message: String, _ damage: (String) throws -> Void) throws {
                try makeDirectory(directory + "/source")
                defer { removeTree(directory + "/source") }
                let aufs = try tree(in: directory + "/source")
                try damage(aufs)
                let result = try lamina("import-root", "--from", "aufs", aufs, "--driver", "vfs")
                #expect(result.status == 1 && result.error.contains(message), "\(message): \(result.error)")
                #expect(!exists(lamina.root), "\(message)")
            }
            try refused("no directories layers and diff") { removeTree($0 + "/layers") }
            try refused("there is no layers/lost") { try writeText("lost\n", to: $0 + "/layers/base") }
            try refused("different parents") { try writeText("top\n", to: $0 + "/layers/base") }
            try refused("names itself") { try writeText("base\n", to: $0 + "/layers/base") }
            try refused("different parents") { try writeText("middle\n", to: $0 + "/layers/top") }
            try refused("diff/top") { removeTree($0 + "/diff/top") }
            try refused("diff/top") { aufs in
                removeTree(aufs + "/diff/top")
                try check(symlink("/etc", aufs + "/diff/top"), "symlink", aufs)
            }
            try refused("no file that can be read") { aufs in
                try check(symlink("/etc/hostname", aufs + "/layers/link"), "symlink", aufs)
            }
            try refused("cannot contain a newline") { aufs in
                try writeText("", to: aufs + "/layers/a\nb")
                try makeDirectory(aufs + "/diff/a\nb")
            }
            try refused("there is no layers/../..") { try writeText("../../etc\n", to: $0 + "/layers/odd") }
            #expect(try lamina("import-root", "--from", "aufs", directory + "/nothing").status == 1)
            #expect(try lamina("import-root", "--from", "zfs", directory).status == 2)
            #expect(try lamina("import-root", directory).status == 2)
        }
    }

    @Test func namesThatAreTakenAreRefused() throws {
        try CommandGround.vfs.withRoot { lamina in
            try withTemporaryDirectory { directory in
                let aufs = try tree(in: directory)
                #expect(try lamina("layer", "create", "top").status == 0)
                let result = try lamina("import-root", "--from", "aufs", aufs)
                #expect(result.status == 1 && result.error.contains("another layer of this name"), "\(result.error)")
                #expect(try lamina("layer", "ls", "--json").output.contains("\"base\"") == false)
            }
        }
    }

    /// Mounts a layer, and gives where.
    private func layer(_ name: String, _ lamina: LaminaTool) throws -> String {
        let mounted = try lamina("layer", "mount", name)
        try #require(mounted.status == 0, "\(mounted.error)")
        return mounted.output
    }

    /// Three layers, with all that aufs knows of, and what it and Docker leave lying about.
    private func tree(in directory: String) throws -> String {
        let aufs = directory + "/aufs"
        for name in ["diff", "layers", "mnt"] { try makeDirectories("\(aufs)/\(name)") }
        let lists = ["base": "", "middle": "base\n", "top": "middle\nbase\n", "x-removing": "base\n"]
        for (name, parents) in lists {
            try writeText(parents, to: "\(aufs)/layers/\(name)")
            try makeDirectory("\(aufs)/diff/\(name)", mode: 0o755)
            try makeDirectory("\(aufs)/mnt/\(name)")
        }
        try makeDirectory("\(aufs)/diff/stray")
        func branch(_ name: String, _ body: (FileDescriptor) throws -> Void) throws {
            let root = try FileDescriptor.openingDirectory("\(aufs)/diff/\(name)")
            defer { root.closeQuietly() }
            try write("", to: ".wh..wh.aufs", in: root, permissions: 0o444)
            for own in [".wh..wh.orph", ".wh..wh.plnk"] {
                try root.makeDirectory(EntryName(own), permissions: 0o700)
            }
            try body(root)
        }
        func below(_ root: FileDescriptor, _ name: String, _ body: (FileDescriptor) throws -> Void) throws {
            try root.makeDirectory(EntryName(name), permissions: 0o755)
            let directory = try root.openEntry(EntryName(name), flags: directoryFlag)
            defer { directory.closeQuietly() }
            try body(directory)
        }
        try branch("base") { root in
            try write("base", to: "kept", in: root, permissions: 0o640)
            try root.setExtendedAttribute("trusted.note", [1, 2], of: EntryName("kept"))
            for name in ["deleted", "replaced", "linked"] { try write("base", to: name, in: root) }
            try root.makeLink(EntryName("linked too"), to: EntryName("linked"), in: root)
            try below(root, "opaque") { try write("hidden", to: "hidden", in: $0) }
            try below(root, "gone directory") { try write("gone", to: "gone", in: $0) }
        }
        try branch("middle") { root in
            try write("middle", to: "added", in: root)
            for gone in ["deleted", "gone directory", "linked too"] {
                try write("", to: ".wh." + gone, in: root, permissions: 0o444)
            }
            // A name of two that was written, and the link that aufs keeps of it.
            try write("changed", to: "linked", in: root)
            try root.makeLink(EntryName(".wh..wh.plnk/123.456"), to: EntryName("linked"), in: root)
            try root.makeDirectory(EntryName(".wh..gone.0123"), permissions: 0o700)
        }
        try branch("top") { root in
            try root.setPermissions(0o711, of: .itself)
            try below(root, "opaque") { directory in
                try write("", to: ".wh..wh..opq", in: directory, permissions: 0o444)
                try write("only", to: "only", in: directory)
            }
            try below(root, "replaced") { _ in }
            try below(root, "links") { directory in
                try write("one", to: "one", in: directory)
                try directory.makeLink(EntryName("two"), to: EntryName("one"), in: directory)
            }
        }
        return aufs
    }

    private func picture(of path: String) throws -> TreePicture {
        let root = try FileDescriptor.openingDirectory(path)
        defer { root.closeQuietly() }
        return try TreePicture(root)
    }
}
