import CLinux
import Fixtures
import Glibc
import Lamina
import LinuxSystem
import SystemPackage
import Testing
import VFSDriver

/// Full copies: all that a layer holds, and no more of the disk than the filesystem makes necessary.
@Suite(.enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct VFSDriverTests {
    private static let filesystems = ["ext4", "xfs"] + (TestHost.hasBtrfs ? ["btrfs"] : [])

    private func withDriver(on filesystem: String, _ body: (VFSDriver, RootLocation) throws -> Void) throws {
        try withFilesystem(filesystem, size: 400 << 20) { path in
            let root = RootLocation(path: path, id: "7e570001")
            try VFSDriver.build(root, [:])
            defer { #expect(throws: Never.self) { try VFSDriver.destroy(root, [:]) } }
            try body(VFSDriver(root, [:]), root)
        }
    }

    @Test(arguments: filesystems) func aCopyHasAllThatALayerHolds(_ filesystem: String) throws {
        try withDriver(on: filesystem) { driver, _ in
            let (parent, child, grandchild) = (LayerNumber(1), LayerNumber(2), LayerNumber(3))
            try driver.create(parent, from: nil, limit: nil)
            let (picture, allocated) = try driver.withTree(parent) { root throws in
                try RichTree.make(in: root, sockets: true)
                try root.synchronizeFilesystem()
                return (try TreePicture(root), try root.status(of: EntryName("sparse")).allocated)
            }
            // Of an active layer as of a committed one.
            try driver.create(child, from: parent, limit: nil)
            try driver.commit(child)
            try driver.create(grandchild, from: child, limit: nil)
            for layer in [child, grandchild] {
                try driver.withTree(layer, readOnly: true) { root throws in
                    #expect(try TreePicture(root).differences(from: picture) == [])
                    // Holes stay holes.
                    #expect(try root.status(of: EntryName("sparse")).allocated < allocated + 65536)
                }
            }
        }
    }

    @Test(arguments: filesystems) func dataIsSharedWhereTheFilesystemCan(_ filesystem: String) throws {
        try withDriver(on: filesystem) { driver, root in
            let (parent, child) = (LayerNumber(1), LayerNumber(2))
            let megabytes: UInt64 = 64
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { root throws in
                let piece = (0..<(1 << 17)).map { _ in UInt64.random(in: .min ... .max) }
                let file = try root.openEntry(EntryName("file"), .writeOnly, flags: O_CREAT, permissions: 0o600)
                defer { file.closeQuietly() }
                for _ in 0..<megabytes { try piece.withUnsafeBytes { try file.writeFully($0, to: "file") } }
            }
            try driver.commit(parent)
            func free() throws -> UInt64 {
                try FileDescriptor.openingDirectory(root.path).closing { try $0.synchronizeFilesystem() }
                return try FilesystemStatus(path: root.path).freeBytes
            }
            let before = try free()
            try driver.create(child, from: parent, limit: nil)
            let taken = Int64(before) - Int64(try free())
            if filesystem == "ext4" {
                #expect(taken >= Int64(megabytes - 1) << 20)
            } else {
                #expect(taken < Int64(megabytes) << 18)
            }
            // Shared, and yet each its own.
            try driver.withTree(child) { try write("changed", to: "file", in: $0) }
            try driver.withTree(parent, readOnly: true) { root throws in
                #expect(try root.status(of: EntryName("file")).size == megabytes << 20)
            }
        }
    }
}
