import Fixtures
import Glibc
import LinuxSystem
import SystemPackage
import Testing

@Suite(.enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct LoopAndMountTests {
    @Test func aLoopDeviceGoesWithItsLastUser() throws {
        try withTemporaryDirectory { directory in
            let image = directory + "/goes-with-its-last-user"
            try makeSparseFile(image, size: 16 << 20)
            do {
                let device = try LoopDevice(file: image)
                #expect(LoopDevice.device(backing: image) == device.path)
                let again = try LoopDevice(file: image)
                #expect(again.path == device.path)
            }
            // Another test that looks for a free device may hold this one open for a moment.
            #expect(eventually { LoopDevice.device(backing: image) == nil })
        }
    }

    @Test func aDetachedMountIsWritableAndLeavesNothing() throws {
        try withFilesystem("ext4", size: 16 << 20) { target in
            let mounts = MountTable.current().entries.count
            do {
                let detached = try DetachedMount(Mount(type: "bind", source: target, options: ["ro"]))
                let root = try detached.openRoot()
                defer { root.closeQuietly() }
                #expect(throws: SystemError.self) { try root.openBeneath("new", .readWrite, flags: O_CREAT) }
            }
            #expect(MountTable.current().entries.count == mounts)
        }
    }
}

@Suite struct FileLockTests {
    @Test func excludesTheSameProcess() throws {
        try withTemporaryDirectory { directory in
            let file = directory + "/locks"
            func isFree(_ byte: UInt64, _ mode: FileLock.Mode) throws -> Bool {
                let lock = try FileLock.take(file, byte: byte, mode, wait: false)
                return lock != nil
            }
            do {
                let held = try FileLock.take(file, byte: 7, .exclusive)
                #expect(try !isFree(7, .shared))
                #expect(try isFree(8, .exclusive))
                _ = consume held
            }
            #expect(try isFree(7, .exclusive))
        }
    }
}

@Suite struct TreeRemovalTests {
    /// Deeper than a path may be long.
    @Test func aDeepTreeGoes() throws {
        try withTemporaryDirectory { path in
            let root = try FileDescriptor.opening(path, flags: O_DIRECTORY)
            defer { root.closeQuietly() }
            let name = EntryName(String(repeating: "deep", count: 50))
            var directory = try root.openEntry(.itself, flags: O_DIRECTORY)
            for _ in 0..<1500 {
                try directory.makeDirectory(name, permissions: 0o700)
                let below = try directory.openEntry(name, flags: O_DIRECTORY)
                directory.closeQuietly()
                directory = below
            }
            directory.closeQuietly()
            try root.removeEntry(name)
            #expect(try root.entries() == [])
        }
    }

    @Test func aWideTreeGoesAndLinksAreNotFollowed() throws {
        try withTemporaryDirectory { path in
            let root = try FileDescriptor.opening(path, flags: O_DIRECTORY)
            defer { root.closeQuietly() }
            try makeDirectory(path + "/stays")
            try write("stays", to: "stays/file", in: root)
            try makeDirectory(path + "/tree")
            for number in 0..<300 {
                try makeDirectory(path + "/tree/\(number)")
                for name in ["one", "two"] { try write("x", to: "tree/\(number)/\(name)", in: root) }
                try root.makeSymlink(EntryName("tree/\(number)/link"), to: Array("../../stays".utf8))
            }
            try root.removeEntry(EntryName("tree"))
            #expect(try root.entries() == [EntryName("stays")])
            #expect(try read("stays/file", in: root) == "stays")
            #expect(throws: SystemError.self) { try root.removeEntry(EntryName("tree")) }
        }
    }
}
