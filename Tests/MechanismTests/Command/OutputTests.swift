import Fixtures
import Foundation
import Lamina
import LinuxSystem
import Testing

/// What the command writes goes where the user said, whole, or there is an error.
/// The kernel has no part in it: not in the guest, where it takes minutes.
@Suite(.enabled(if: TestHost.isRoot && !TestHost.isGuest, "needs root, outside of the guest")) struct OutputTests {
    /// Runs a line of the shell, in which $0 is the command, $1 the root and $2 a directory to work in.
    private func run(_ line: String, _ lamina: LaminaTool, _ directory: String) throws -> LaminaTool.Result {
        try LaminaTool.run(["/bin/bash", "-c", line, LaminaTool.path, lamina.root, directory])
    }

    private func withLayer(_ body: (LaminaTool, String) throws -> Void) throws {
        try CommandGround.vfs.withRoot { lamina in
            try withTemporaryDirectory { directory in
                #expect(try lamina("layer", "create", "x").status == 0)
                let target = String(try lamina("layer", "mount", "x").output.dropLast())
                try writeText("text", to: target + "/file")
                #expect(try lamina("layer", "umount", "x").status == 0)
                try body(lamina, directory)
            }
        }
    }

    /// As root, `-o /dev/null` must not make a file of a device.
    @Test func aDiffGoesIntoWhatIsThere() throws {
        try withLayer { lamina, directory in
            let plain = directory + "/plain"
            #expect(try lamina("layer", "diff", "x", "-o", plain).status == 0)
            let tar = try Data(contentsOf: URL(fileURLWithPath: plain))
            #expect(
                try run("\"$0\" --root \"$1\" layer diff x -o - | cmp - \"$2/plain\"", lamina, directory).status == 0)

            try check(mknod(directory + "/null", S_IFCHR | 0o666, 0x103), "mknod", directory)
            #expect(try lamina("layer", "diff", "x", "-o", directory + "/null").status == 0)
            #expect(try FileStatus(path: directory + "/null").kind == .characterDevice)

            let pipe = """
                mkfifo "$2/fifo"; cat "$2/fifo" >"$2/through" & "$0" --root "$1" layer diff x -o "$2/fifo" && wait
                cmp "$2/through" "$2/plain"
                """
            #expect(try run(pipe, lamina, directory).status == 0)

            try writeText("old", to: directory + "/aim")
            try check(symlink("aim", directory + "/link"), "symlink", directory)
            #expect(try lamina("layer", "diff", "x", "-o", directory + "/link").status == 0)
            #expect(try FileStatus(path: directory + "/link", followLinks: false).kind == .symlink)
            #expect(try Data(contentsOf: URL(fileURLWithPath: directory + "/aim")) == tar)
            try check(symlink("nowhere", directory + "/dangling"), "symlink", directory)
            let dangling = try lamina("layer", "diff", "x", "-o", directory + "/dangling")
            #expect(dangling.status == 1 && dangling.error.contains("leads nowhere"), "\(dangling.error)")
            let missing = try lamina("layer", "diff", "x", "-o", directory + "/not/there")
            #expect(missing.status == 1 && missing.error.contains("write \(directory)/not/there"), "\(missing.error)")
            #expect(
                directoryNames(directory)?.sorted() == ["aim", "dangling", "fifo", "link", "null", "plain", "through"])
        }
    }

    /// What is printed into a full disk is not taken for all there is.
    @Test func whatIsLostIsSaid() throws {
        try withLayer { lamina, directory in
            for command in ["layer ls", "layer ls --json", "layer changes x", "layer changes x --json", "version"] {
                let result = try run("\"$0\" --root \"$1\" \(command) >/dev/full", lamina, directory)
                #expect(result.status == 1 && result.error.contains("not all written"), "\(command): \(result.error)")
            }
            let tar = try run("\"$0\" --root \"$1\" layer diff x >/dev/full", lamina, directory)
            #expect(tar.status == 1 && tar.error.contains("No space left"), "\(tar.error)")
        }
    }

    /// A file of Lamina's own would get the number of a descriptor that is closed.
    @Test func closedDescriptorsStayClosed() throws {
        try withLayer { lamina, directory in
            let locks = try FileStatus(path: lamina.root + "/locks").size
            for command in ["layer diff x", "layer ls", "layer changes x"] {
                #expect(try run("\"$0\" --root \"$1\" \(command) >&-", lamina, directory).status == 1, "\(command)")
            }
            #expect(try run("\"$0\" --root \"$1\" layer import y - <&-", lamina, directory).status == 1)
            #expect(try run("\"$0\" --root \"$1\" layer ls 2>&-", lamina, directory).status == 0)
            #expect(try FileStatus(path: lamina.root + "/locks").size == locks)
            #expect(try lamina("layer", "inspect", "y").status == 1)
        }
    }
}
