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
