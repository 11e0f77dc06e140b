import Fixtures
import Foundation
import Lamina
import LinuxSystem
import Testing

/// What cannot be is refused with a reason, and nothing is made.
/// The kernel has no part in it: not in the guest, where it takes minutes.
@Suite(.enabled(if: TestHost.isRoot && !TestHost.isGuest, "needs root, outside of the guest")) struct BadInputTests {
    /// Arguments, the status and a part of the message.
    static let lines: [([String], Int32, String)] = [
        (["init", "--driver", "nope"], 1, "there is no such driver (named by --driver)"),
        (["init", "--driver", "Btrfs"], 1, "there is no such driver"),
        (["init", "--driver", "../btrfs"], 1, "there is no such driver"),
        (["init", "--driver", ""], 2, "--driver has an empty value"),
        (["init", "--driver="], 2, "--driver has an empty value"),
        (["init", "--driver"], 2, "--driver"),
        (["probe", "--driver", "nope"], 1, "there is no such driver"),
        (["layer", "ls", "--driver", "nope"], 1, "there is no such driver"),
        // Options of others.
        (["init", "--driver", "btrfs", "--pool", "x"], 1, "--pool is not an option of the btrfs driver"),
        (["init", "--driver", "btrfs", "--data", "/dev/null"], 1, "--data is not an option of the btrfs driver"),
        (["init", "--driver", "btrfs", "--fs", "xfs"], 1, "--fs is not an option of the btrfs driver"),
        (["init", "--driver", "vfs", "--pool", "x"], 1, "--pool is not an option of the vfs driver"),
        (["init", "--driver", "vfs", "--loop", "1G"], 1, "--loop is not an option of the vfs driver"),
        (["init", "--driver", "vfs", "--data", "/dev/null"], 1, "--data is not an option of the vfs driver"),
        (["init", "--driver", "vfs", "--fs", "ext4"], 1, "--fs is not an option of the vfs driver"),
        (["init", "--driver", "devicemapper"], 1, "devicemapper"),
        (["init", "--driver", "btrfs"], 1, "and has nothing to stand on"),
        (["layer", "ls", "--pool", "x"], 2, "--pool"),
        // Twice.
        (["init", "--driver", "vfs", "--driver", "btrfs"], 2, "--driver is given twice"),
        (["--driver", "vfs", "init", "--driver=btrfs"], 2, "--driver is given twice"),
        (["init", "--loop", "1G", "--loop", "2G"], 2, "--loop is given twice"),
        (["init", "--root", "/nowhere/else"], 2, "--root is given twice"),
        (["init", "--pool", "a", "--pool", "a"], 2, "--pool is given twice"),
        (["layer", "create", "x", "--size", "1G", "--size", "2G"], 2, "--size is given twice"),
        // Together.
        (["init", "--loop", "1G", "--pool", "x"], 2, "exclude each other"),
        (["init", "--pool", "x", "--data", "/dev/null"], 2, "exclude each other"),
        (["init", "--metadata", "/dev/null"], 2, "--metadata needs --data"),
        // Nonsense.
        (["init", "--loop", "0"], 2, "loop"), (["init", "--loop", "-1"], 2, "loop"),
        (["init", "--loop", "1.5G"], 2, "loop"), (["init", "--loop", "lots"], 2, "loop"),
        (["init", "--loop", "1Q"], 2, "loop"), (["init", "--loop", "99999999999T"], 2, "loop"),
        (["init", "--loop", ""], 2, "--loop has an empty value"),
        (["init", "--driver", "btrfs", "--loop", "1M"], 1, "needs 128 MiB at least"),
        (["init", "--fs", "ntfs"], 2, "--fs is ext4 or xfs, not ntfs"),
        (["init", "--log-level", "loud"], 2, "there is no log level loud"),
        (["init", "--nonsense"], 2, "--nonsense"), (["init", "extra"], 2, "extra"), (["explode"], 2, "explode"),
        (["probe", ""], 2, "the path is empty"),
        // The bench.
        (["bench", "--drivers", "nope"], 1, "there is no such driver (named by --drivers)"),
        (["bench", "--drivers", "vfs,nope"], 1, "there is no such driver"),
        (["bench", "--drivers", "vfs,,vfs"], 2, "--drivers has an empty name in it"),
        (["bench", "--drivers", "zfs"], 1, "it cannot work at"),
        (["bench", "--seed", "lots"], 2, "seed"), (["bench", "--seed", "-1"], 2, "seed"),
        (["bench", "--profile", "slow"], 2, "profile"), (["bench", "--fs", "xfs"], 2, "--fs needs --loop"),
        (["bench", "--loop", "4G", "--pool", "x"], 2, "exclude each other"),
        (["bench", "--loop", "4G", "--data", "/dev/null"], 2, "exclude each other"),
        (["bench", "--metadata", "/dev/null"], 2, "--metadata needs --data"),
        (["bench", "--loop", "4G", "--force"], 2, "--force needs --data"),
        (["bench", "--drivers", "btrfs,vfs", "--data", "/dev/null"], 1, "no driver of btrfs, vfs takes it"),
        (["bench", "--drivers", "devicemapper,zfs", "--pool", "x"], 1, "devicemapper and zfs both take it"),
        (["bench", "--loop", "4G", "--fs", "ntfs"], 2, "--fs is ext4 or xfs, not ntfs"),
        (["bench", "--loop", "128M"], 1, "the profile quick needs"),
        (["bench", "--real", "/nowhere.tar"], 1, "No such file"),
        (["bench", "--real", "/dev/null"], 1, "no regular file"),
        (["bench", "--out", "/proc/nowhere"], 1, "write report /proc/nowhere"),
        (["bench", "compare", "/nowhere", "/nowhere"], 1, "No such file"),
        (["bench", "compare", "/nowhere"], 2, "after"),
        (["bench", "compare", "/etc/passwd", "/etc/passwd"], 1, "it is no report of lamina bench"),
        (["bench", "report", "/etc/passwd", "--out", "/nowhere"], 1, "it is no report of lamina bench"),
        (["bench", "report", "/etc/passwd"], 2, "--out"), (["bench", "report", "--out", "/nowhere"], 2, "files"),
    ]

    @Test(arguments: lines) func isRefused(_ arguments: [String], _ status: Int32, _ words: String) throws {
        // Where the driver is not in the kernel, that is the reason.
        if words.contains("btrfs"), !TestHost.hasBtrfs { return }
        try withTemporaryDirectory { directory in
            let result = try LaminaTool(root: directory + "/root").run(arguments)
            #expect(result.status == status, "\(result.error)")
            #expect(result.error.hasPrefix("lamina: ") && result.error.contains(words), "\(result.error)")
            #expect(result.output == "" && directoryNames(directory) == [])
            let json = try LaminaTool(root: directory + "/root").run(arguments + ["--json"])
            #expect(json.status == status && json.error.contains("{\"error\":{"), "\(json.error)")
            #expect(directoryNames(directory) == [])
        }
    }

    @Test func theEnvironment() throws {
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            func run(_ arguments: [String], driver: String) throws -> LaminaTool.Result {
                try lamina.run(arguments, environment: ["LAMINA_DRIVER": driver])
            }
            let unknown = try run(["init"], driver: "nope")
            #expect(unknown.status == 1 && unknown.error.contains("no such driver (named by LAMINA_DRIVER)"))
            let foreign = try run(["init", "--pool", "x"], driver: "vfs")
            #expect(foreign.status == 1 && foreign.error.contains("--pool is not an option of the vfs driver"))
            #expect(directoryNames(directory) == [])
            // The option wins.
            let made = try run(["init", "--driver", "vfs"], driver: "btrfs")
            #expect(made.status == 0 && made.output.contains("named by --driver"), "\(made.error)")
            let other = try run(["layer", "ls"], driver: "btrfs")
            #expect(other.status == 1 && other.error.contains("belongs to the driver vfs, not to btrfs"))
            #expect(try run(["layer", "ls", "--driver", "vfs"], driver: "btrfs").status == 0)
            let named = try run(["probe", "--json"], driver: "btrfs")
            #expect(named.status == 0 && named.output.contains("belongs to the driver vfs, not to btrfs"))
            #expect(try lamina("deinit").status == 0)
            let fromEnvironment = try run(["init"], driver: "vfs")
            #expect(fromEnvironment.output.contains("named by LAMINA_DRIVER"), "\(fromEnvironment.error)")
            #expect(try lamina("deinit").status == 0)
        }
    }

    @Test func placesThatAreNoDirectory() throws {
        try withTemporaryDirectory { directory in
            try writeText("mine", to: directory + "/file")
            for path in ["/file", "/file/below"] {
                let result = try LaminaTool(root: directory + path)("init", "--driver", "vfs")
                #expect(result.status == 1 && result.error.contains("is no directory"), "\(result.error)")
            }
            #expect(readText(directory + "/file") == "mine")
            let proc = try LaminaTool(root: "/proc/lamina")("init", "--driver", "vfs")
            #expect(proc.status == 1 && proc.error.contains("which keeps no files"))
        }
    }

    /// A root is for its owner alone: a directory that others use must not become one by a slip.
    @Test func directoriesWithOtherFiles() throws {
        try withTemporaryDirectory { directory in
            try check(chmod(directory, 0o755), "chmod", directory)
            try writeText("mine", to: directory + "/file")
            let lamina = LaminaTool(root: directory)
            let refused = try lamina("init", "--driver", "vfs")
            #expect(refused.status == 1 && refused.error.contains("has other files in it (file)"), "\(refused.error)")
            #expect(directoryNames(directory) == ["file"])
            #expect(try FileStatus(path: directory).permissions == 0o755)
            #expect(try lamina("init", "--driver", "vfs", "--force").status == 0)
            #expect(try lamina("deinit").status == 0)
            #expect(directoryNames(directory) == ["file"])
        }
    }

    @Test func twoDriversWithState() throws {
        try CommandGround.vfs.withRoot { lamina throws in
            let other = lamina.root + "/devicemapper"
            try makeDirectories(other + "/names")
            for arguments in [["layer", "ls"], ["layer", "create", "x"], ["info"], ["init"]] {
                let result = try lamina.run(arguments)
                #expect(result.status == 1, "\(arguments)")
                #expect(result.error.contains("the drivers vfs and devicemapper have state here"), "\(result.error)")
                #expect(result.error.contains("hint: --driver vfs (or LAMINA_DRIVER) goes on"), "\(result.error)")
            }
            let probe = try lamina("probe", "--json")
            #expect(probe.status == 0 && probe.output.contains("\"selected\":null"))
            #expect(probe.output.contains("the drivers vfs and devicemapper have state here"))
            #expect(try lamina("layer", "ls", "--driver", "vfs").status == 0)
            let wrong = try lamina("layer", "ls", "--driver", "devicemapper")
            #expect(wrong.status == 1 && wrong.error.contains("belongs to the driver vfs"))
            removeTree(other)
        }
    }

    /// What a migration would take for its own, and remove.
    @Test func stateThatIsInTheWayOfAMigration() throws {
        try CommandGround.vfs.withRoot { lamina throws in
            try makeDirectories(lamina.root + "/overlay2/layers/7/diff")
            let refused = try lamina("migrate", "--to", "overlay2", "--driver", "vfs")
            #expect(
                refused.status == 1 && refused.error.contains("has state here that no record explains"),
                "\(refused.error)")
            #expect(exists(lamina.root + "/overlay2/layers/7/diff"))
            removeTree(lamina.root + "/overlay2")
        }
    }

    @Test func placesThatNobodyCouldName() throws {
        try withTemporaryDirectory { directory in
            try check(symlink("nowhere", directory + "/dangling"), "symlink", directory)
            let places = [
                ("/missing/../root", "there is no missing"), ("/dangling", "a symbolic link that leads nowhere"),
                ("/dangling/root", "a symbolic link that leads nowhere"),
                ("/" + String(repeating: "x", count: 256), "a name of 256 bytes"),
            ]
            for (place, words) in places {
                for command in [["init", "--driver", "vfs"], ["probe"], ["layer", "create", "x"]] {
                    let result = try LaminaTool(root: directory + place).run(command)
                    #expect(result.status == 2 && result.error.contains(words), "\(place): \(result.error)")
                }
                #expect(directoryNames(directory) == ["dangling"])
            }
            // Words that are not text become others on the way: by a shell.
            for word in [#"--root "$1"/$'u\xff'"#, "--root \"$1\"/u --driver $'\\xfe'"] {
                let result = try LaminaTool.run(["/bin/bash", "-c", "\"$0\" init \(word)", LaminaTool.path, directory])
                #expect(result.status == 2 && result.error.contains("is not UTF-8"), "\(result.error)")
                #expect(directoryNames(directory) == ["dangling"])
            }
        }
    }

    /// Whose directory it is can take a root away from under it.
    @Test func aDirectoryOfAnotherUser() throws {
        try withTemporaryDirectory { directory in
            try makeDirectory(directory + "/theirs")
            try check(chown(directory + "/theirs", 65534, 65534), "chown", directory)
            let result = try LaminaTool(root: directory + "/theirs")("init", "--driver", "vfs")
            #expect(result.status == 1 && result.error.contains("belongs to the user 65534"), "\(result.error)")
            #expect(directoryNames(directory + "/theirs") == [])
        }
    }

    /// The probe looks into directories of anybody.
    @Test func namesOfDriversThatAreNone() throws {
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory)
            let file = directory + "/driver"
            for make in [{ mkfifo(file, 0o644) }, { symlink("/dev/zero", file) }, { mkdir(file, 0o755) }] {
                try check(make(), "make", file)
                let result = try lamina("probe", "--json")
                #expect(result.status == 0 && !result.output.contains("belongs to the driver"), "\(result.error)")
                try check(remove(file), "remove", file)
            }
            try writeText("\u{1B}[31mred\n", to: file)
            let result = try lamina("probe")
            #expect(result.status == 0 && !result.output.contains("\u{1B}"))
            #expect(result.output.contains("belongs to the driver ??31mred"), "\(result.output)")
        }
    }

    /// A root that was made on a disk, seen through a process.
    @Test(.enabled(if: Program("bindfs") != nil, "bindfs is not installed")) func aRootThroughFUSE() throws {
        try withTemporaryDirectory { directory in
            for name in ["/disk", "/seen"] { try makeDirectory(directory + name) }
            let lamina = LaminaTool(root: directory + "/disk/root")
            #expect(try lamina("init", "--driver", "vfs").status == 0)
            try #require(Program("bindfs")).run([directory + "/disk", directory + "/seen"], on: directory)
            defer { #expect(throws: Never.self) { try unmount(directory + "/seen") } }
            for command in [["info"], ["layer", "create", "x"], ["layer", "ls"]] {
                let result = try LaminaTool(root: directory + "/seen/root").run(command)
                #expect(result.status == 1 && result.error.contains("which a process serves"), "\(result.error)")
            }
            #expect(try lamina("deinit").status == 0)
        }
    }

    /// Layers whose records are gone are not taken for leftovers.
    @Test func stateWithoutRecords() throws {
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            #expect(try lamina("init", "--driver", "vfs").status == 0)
            #expect(try lamina("layer", "create", "x").status == 0)
            for name in ["lamina.db", "lamina.db-wal", "lamina.db-shm", "driver"] { unlink("\(lamina.root)/\(name)") }
            for arguments in [["init"], ["init", "--driver", "vfs"], ["layer", "create", "y"]] {
                let result = try lamina.run(arguments)
                #expect(result.status == 1 && result.error.contains("without the records of its layers"))
            }
            #expect(exists(lamina.root + "/vfs/active/1"))
        }
    }

    /// The driver of a root that cannot be opened is not replaced by another.
    @Test(.enabled(if: TestHost.hasBtrfs, "the kernel has no btrfs")) func thePriorDriverFails() throws {
        try withTemporaryDirectory { directory in
            let lamina = LaminaTool(root: directory + "/root")
            #expect(try lamina("init", "--driver", "btrfs", "--loop", "256M").status == 0)
            try unmount(lamina.root + "/btrfs")
            let image = lamina.root + "/btrfs.img"
            try check(rename(image, directory + "/away"), "rename", image)
            for arguments in [["layer", "create", "x"], ["info"]] {
                let result = try lamina.run(arguments)
                #expect(result.status == 1 && result.error.contains(image), "\(result.error)")
            }
            #expect(try lamina("init").error.contains("there is a Lamina root already (driver btrfs)"))
            #expect(!exists(lamina.root + "/vfs"))
            try check(rename(directory + "/away", image), "rename", image)
            #expect(try lamina("layer", "ls").status == 0)
            #expect(try lamina("deinit").status == 0)
        }
    }
}
