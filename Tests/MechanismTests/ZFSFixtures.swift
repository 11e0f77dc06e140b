import Fixtures
import Glibc
import LinuxSystem
import Testing

/// Runs `zfs`, which must do it.
func runZFS(_ arguments: String...) throws {
    try #require(Program("zfs")).run(arguments, on: arguments.last ?? "zfs")
}

/// Names of a dataset, and of all datasets and snapshots below it; none where it is not there.
func zfsDatasets(below name: String) throws -> [String] {
    let listed = try #require(Program("zfs")).capture(["list", "-H", "-r", "-t", "all", "-o", "name", name])
    return listed.output.split(separator: "\n").map(String.init).sorted()
}

/// A pool that somebody has made, in a file of 1 GiB, for the time of `body`, which is given its name and a directory.
func withZFSPool(_ body: (String, String) throws -> Void) throws {
    try withTemporaryDirectory { directory in
        let (pool, file) = ("lamina-test-\(UInt32.random(in: 0...UInt32.max))", directory + "/pool")
        let zpool = try #require(Program("zpool"))
        try makeSparseFile(file, size: 1 << 30)
        try zpool.run(["create", "-o", "cachefile=none", "-O", "mountpoint=none", pool, file], on: pool)
        defer { #expect(throws: Never.self) { try zpool.run(["destroy", "-f", pool], on: pool) } }
        try body(pool, directory)
    }
}
