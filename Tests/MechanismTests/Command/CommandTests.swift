import Fixtures
import Foundation
import Lamina
import SystemPackage
import Testing

@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct CommandTests {
    @Test(arguments: CommandGround.here) func theLifeOfLayers(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "base", "--label", "a=b=c").output == "base\n")
            let path = try lamina("--json", "layer", "mount", "base").value("target")
            let target = try #require(path)
            try writeText("one", to: target + "/file")
            #expect(try lamina("layer", "commit", "base").status == 1)
            #expect(try lamina("layer", "rm", "base").error.contains(target))
            #expect(try lamina("layer", "umount", target).status == 0)
            #expect(!exists(target))
            #expect(try lamina("layer", "commit", "base", "done").output == "done\n")
            #expect(try lamina("layer", "inspect", "base").status == 1)
            #expect(try lamina("layer", "create", "top", "--parent", "done").status == 0)
            #expect(try lamina("layer", "rm", "done").error.contains("top"))
            #expect(try lamina("layer", "view", "look", "--parent", "done").status == 0)
            let view = try lamina("layer", "mount", "look").output.dropLast()
            #expect(throws: SystemError.self) { try writeText("two", to: view + "/file") }
            #expect(readText(view + "/file") == "one")
            #expect(try lamina("layer", "umount", "look").status == 0)
            let mounts = try lamina("layer", "mounts", "top", "--json")
            #expect(mounts.output.contains("\"source\""))
            #expect(try lamina("layer", "rm", "top").error.contains("release"))
            #expect(try lamina("layer", "release", "top").status == 0)
            #expect(try lamina("layer", "release", "top").status == 1)
            #expect(try lamina("layer", "inspect", "done", "--json").output.contains("\"children\":[\"top\",\"look\"]"))
            #expect(try lamina("layer", "rm", "top", "nope", "look", "done").status == 1)
            #expect(try lamina("layer", "ls", "--json").output == "[]\n")
            #expect(try lamina("layer", "create", "done").status == 0)
        }
    }

    @Test(arguments: CommandGround.here) func aTarComesInAndGoesOut(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                try makeDirectories(directory + "/tree/sub")
                try writeText("one", to: directory + "/tree/sub/one")
                try writeText("two", to: directory + "/tree/two")
                let tar = directory + "/in.tar.gz"
                try #require(Program("tar")).run(["-C", directory + "/tree", "-czf", tar, "."], on: tar)
                let imported = try lamina("layer", "import", "base", tar, "--json")
                #expect(imported.value("entries") == "4", "\(imported.error)")
                #expect(try lamina("layer", "create", "top", "--parent", "base").status == 0)
                let target = String(try lamina("layer", "mount", "top").output.dropLast())
                try #require(Program("rm")).run([target + "/two"], on: target)
                try writeText("three", to: target + "/sub/three")
                #expect(try lamina("layer", "changes", "top").output == "C /sub\nA /sub/three\nD /two\n")
                let (plain, packed) = (directory + "/out.tar", directory + "/out.tar.zst")
                let first = try lamina("layer", "diff", "top", "-o", plain, "--json")
                let second = try lamina("layer", "diff", "top", "-o", packed, "--compress", "zstd", "--json")
                #expect(first.value("diffID") != nil && first.value("diffID") == second.value("diffID"))
                let again = try lamina("layer", "import", "again", packed, "--parent", "base", "--json")
                #expect(again.value("diffID") == first.value("diffID"), "\(again.error)")
                #expect(
                    try lamina("layer", "diff", "again", "-o", plain, "--json").value("diffID")
                        == first.value("diffID"))
                #expect(try lamina("layer", "umount", "top").status == 0)
            }
        }
    }

    /// The digest is a constant: a tree's tar never changes, whatever the driver, the kernel or the version.
    @Test(arguments: CommandGround.here) func theSameTreeIsTheSameTar(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                #expect(try lamina("layer", "create", "x").status == 0)
                let root = try FileDescriptor.openingDirectory(
                    String(try lamina("layer", "mount", "x").output.dropLast()))
                do {
                    defer { root.closeQuietly() }
                    try RichTree.make(in: root)
                }
                #expect(try lamina("layer", "umount", "x").status == 0)
                let digest = "sha256:6af5137be5f07baca0358db659e82d042023cf9211b5128dc121ecc2d16b3074"
                let file = directory + "/x.tar"
                for arguments in [["diff", "x", "-o", file], ["import", "y", file], ["diff", "y", "-o", file]] {
                    let told = try lamina.run(["layer"] + arguments + ["--json"])
                    #expect(told.value("diffID") == digest, "\(told.output) \(told.error)")
                }
            }
        }
    }

    @Test(arguments: CommandGround.here) func aBrokenTarLeavesNothing(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                try writeText(String(repeating: "some text ", count: 50000), to: directory + "/file")
                let tar = directory + "/whole.tar.gz"
                try #require(Program("tar")).run(["-C", directory, "-czf", tar, "file"], on: tar)
                let whole = try Data(contentsOf: URL(fileURLWithPath: tar))
                let broken = directory + "/broken.tar.gz"
                try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: broken))
                for file in [broken, directory + "/file", directory + "/nothing", directory] {
                    let result = try lamina("layer", "import", "x", file)
                    #expect(result.status == 1, "\(file)")
                    #expect(result.error.contains(file), "\(result.error)")
                }
                #expect(try lamina("layer", "ls", "--json").output == "[]\n")
                #expect(try lamina("layer", "import", "x", tar).status == 0)
                #expect(directoryNames(lamina.root + "/in-flight") == [])
            }
        }
    }

    @Test(arguments: CommandGround.here) func aFailedApplyLeavesTheLayerAsItWas(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                let whole = tar([
                    Member(name: "mine", data: "mine"), Member(name: "new", data: "n"), Member(name: ".wh.old"),
                ])
                let broken = whole[..<1024] + tar([Member(name: "../out")])
                for (name, bytes) in [("whole", whole), ("broken", Array(broken))] {
                    try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
                }
                #expect(try lamina("layer", "create", "x", "--label", "a=b").status == 0)
                let target = String(try lamina("layer", "mount", "x").output.dropLast())
                try writeText("old", to: target + "/old")
                try writeText("first", to: target + "/mine")
                let mounted = try lamina("layer", "apply", "x", directory + "/whole")
                #expect(mounted.status == 1 && mounted.error.contains("mounted"), "\(mounted.error)")
                #expect(try lamina("layer", "umount", "x").status == 0)
                let before = try lamina("layer", "diff", "x", "-o", directory + "/before", "--json").value("diffID")

                let failed = try lamina("layer", "apply", "x", directory + "/broken")
                #expect(failed.status == 1 && failed.error.contains(".."), "\(failed.error)")
                #expect(
                    try lamina("layer", "diff", "x", "-o", directory + "/after", "--json").value("diffID") == before)
                let limited = try lamina("layer", "apply", "x", directory + "/whole", "--max-entries", "1")
                #expect(limited.status == 1 && limited.error.contains("--max-entries"), "\(limited.error)")
                #expect(
                    try lamina("layer", "diff", "x", "-o", directory + "/after", "--json").value("diffID") == before)

                let applied = try lamina("layer", "apply", "x", directory + "/whole", "--json")
                #expect(applied.status == 0, "\(applied.error)")
                #expect(try lamina("layer", "changes", "x").output == "A /mine\nA /new\n")
                #expect(try lamina("layer", "inspect", "x", "--json").output.contains("\"a\":\"b\""))
                #expect(directoryNames(lamina.root + "/in-flight") == [])
            }
        }
    }

    /// A name in a tar says nothing to the terminal.
    @Test(.enabled(if: TestHost.isRoot, "needs root")) func namesAreNoCommandsToTheTerminal() throws {
        try CommandGround.vfs.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                for (name, shown) in [("..\u{1B}[2J/..", "..\\u{1b}[2J"), ("a\nb/..", "a b")] {
                    try Data(tar([Member(name: name)])).write(to: URL(fileURLWithPath: directory + "/tar"))
                    let result = try lamina("layer", "import", "x", directory + "/tar")
                    #expect(result.status == 1 && result.error.contains(shown), "\(result.error)")
                    #expect(!result.error.contains("\u{1B}"))
                }
            }
        }
    }

    /// CVE-2014-9357, GHSA-x86f-5xw2-fm2r: nothing is run to unpack, whatever stands on the PATH.
    @Test(.enabled(if: TestHost.isRoot, "needs root")) func noProgramIsRunToUnpack() throws {
        try CommandGround.vfs.withRoot { lamina throws in
            try withTemporaryDirectory { directory in
                for program in [
                    "xz", "unxz", "unpigz", "pigz", "gzip", "gunzip", "bzip2", "zstd", "zstdcat", "lz4", "sh",
                ] {
                    let path = "\(directory)/\(program)"
                    try writeText("#!/bin/bash\n: >\(directory)/ran\ncat\n", to: path)
                    try check(chmod(path, 0o755), "chmod", path)
                }
                for magic: [UInt8] in [
                    [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], Array("BZh91AY&SY".utf8), [0x1F, 0x8B, 8], [0x1F, 0x9D, 0x90],
                    [0x28, 0xB5, 0x2F, 0xFD], [0x04, 0x22, 0x4D, 0x18], [0x5D, 0, 0, 0x80, 0],
                ] {
                    let file = directory + "/packed"
                    try Data(magic + [UInt8](repeating: 7, count: 2000)).write(to: URL(fileURLWithPath: file))
                    let process = Process()
                    process.executableURL = URL(fileURLWithPath: LaminaTool.path)
                    process.arguments = ["layer", "import", "x", file, "--root", lamina.root]
                    process.environment = ["PATH": directory]
                    process.standardError = FileHandle.nullDevice
                    try process.run()
                    process.waitUntilExit()
                    #expect(process.terminationStatus == 1)
                }
                #expect(!exists(directory + "/ran"))
            }
        }
    }

    @Test(arguments: CommandGround.here) func badNamesAreRefused(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "there").status == 0)
            let before = try lamina("layer", "ls", "--json").output
            for name in ["a/b", "..", "a\nb", String(repeating: "x", count: 300), "", "there"] {
                let result = try lamina("layer", "create", name, "--json")
                #expect(result.status == 1, "\(name)")
                #expect(result.output == "")
                #expect(result.error.hasPrefix("lamina: "))
                #expect(result.error.contains("{\"error\":{"))
            }
            let orphan = try lamina("layer", "create", "x", "--parent", "nobody")
            #expect(orphan.status == 1 && orphan.error.contains("nobody"))
            #expect(try lamina("layer", "create", "x", "--parent", "there").error.contains("must be committed"))
            #expect(try lamina("layer", "create", "--", "-x").output == "-x\n")
            #expect(try lamina("layer", "rm", "--", "-x").status == 0)
            #expect(try lamina("layer", "create", "x", "--size", "1.5G").status == 2)
            #expect(try lamina("layer", "create").status == 2)
            #expect(try lamina("layer", "explode").status == 2)
            #expect(try lamina("layer", "ls", "--json").output == before)
        }
    }

    @Test func rootsAndDriversAreNotMixed() throws {
        try CommandGround.vfs.withRoot { lamina throws in
            let other = try lamina("--driver", "btrfs", "layer", "ls")
            #expect(other.status == 1 && other.error.contains("belongs to the driver vfs"))
            #expect(try lamina("--driver", "zzz", "layer", "ls").error.contains("no such driver"))
            #expect(try lamina("init", "--driver", "vfs").error.contains("already"))
            #expect(try lamina("init", "--driver", "btrfs", "--loop", "512M").error.contains("belongs to"))
        }
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            for arguments in [
                ["init", "--driver", "vfs", "--loop", "1G"], ["init", "--driver", "btrfs", "--pool", "x"],
                ["init", "--driver", "btrfs", "--loop", "1M"], ["init", "--driver", "devicemapper"],
                ["init", "--pool", "lamina-no-such-pool"], ["init", "--data", "/dev/null"],
                ["init", "--data", "/no/such/device"], ["init", "--driver", "btrfs"], ["layer", "ls"],
            ] {
                let result = try lamina.run(arguments)
                #expect(result.status == 1, "\(arguments)")
                #expect(result.error.hasPrefix("lamina: "), "\(arguments): \(result.error)")
                #expect(directoryNames(directory) == [], "\(arguments)")
            }
            #expect(try lamina("init", "--loop", "1G", "--pool", "x").status == 2)
        }
    }

    @Test func twoRootsDoNotMeet() throws {
        try CommandGround.here[0].withRoot { one throws in
            try CommandGround.here[0].withRoot { two throws in
                for lamina in [one, two] { #expect(try lamina("layer", "create", "same").status == 0) }
                #expect(try one("layer", "rm", "same").status == 0)
                #expect(try two("layer", "inspect", "same").status == 0)
            }
        }
    }
}
