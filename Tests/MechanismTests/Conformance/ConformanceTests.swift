import Fixtures
import Glibc
import Lamina
import SystemPackage
import Testing

/// What every driver must do, on every ground that this machine has.
@Suite(.serialized) struct ConformanceTests {
    /// One test for each ground that is not to be had here, skipped with its reason, so that it is counted.
    @Test(.enabled(if: Ground.btrfs.missing == nil, "the kernel has no btrfs")) func btrfsIsHere() {}
    @Test(.enabled(if: Ground.devicemapper.missing == nil, "the kernel has no device-mapper"))
    func deviceMapperIsHere() {}
    @Test(.enabled(if: Ground.zfs.missing == nil, "the kernel has no zfs")) func zfsIsHere() {}
    @Test(.enabled(if: TestHost.hasXFSQuota, "the kernel has no xfs with quotas")) func quotaOfXFSIsHere() {}
    @Test(.enabled(if: TestHost.hasExt4Quota, "the kernel has no ext4 with quotas")) func quotaOfExt4IsHere() {}

    @Test(arguments: Ground.here) func anEmptyLayerIsEmpty(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let old = umask(0o077)
            defer { umask(old) }
            try driver.create(LayerNumber(1), from: nil, limit: nil)
            try driver.withTree(LayerNumber(1)) { root throws in
                let status = try root.status()
                #expect(status.permissions == 0o755)
                #expect(status.uid == 0 && status.gid == 0)
                #expect(try root.entries() == [])
            }
        }
    }

    @Test(arguments: Ground.here) func attributesSurvive(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let (one, two) = (LayerNumber(1), LayerNumber(2))
            try driver.create(one, from: nil, limit: nil)
            try driver.withTree(one) { root throws in
                try write("program", to: "setuid", in: root)
                try check(fchownat(root.rawValue, "setuid", 1000, 1001, 0), "chown", "setuid")
                try check(fchmodat(root.rawValue, "setuid", 0o6755, 0), "chmod", "setuid")
                try check(mkdirat(root.rawValue, "sticky", 0o700), "mkdir", "sticky")
                try check(fchmodat(root.rawValue, "sticky", 0o1777, 0), "chmod", "sticky")
                try check(linkat(root.rawValue, "setuid", root.rawValue, "sticky/link", 0), "link", "link")
                try check(symlinkat("/nowhere", root.rawValue, "symlink"), "symlink", "symlink")
                try check(mkfifoat(root.rawValue, "fifo", 0o640), "mkfifo", "fifo")
                try check(mknodat(root.rawValue, "null", S_IFCHR | 0o666, 0x103), "mknod", "null")
                try root.setExtendedAttribute("trusted.lamina", [1, 0, 2], of: EntryName("setuid"))
            }
            let before = try driver.withTree(one) { try Self.facts(of: $0) }
            try driver.commit(one)
            try driver.create(two, from: one, limit: nil)
            try driver.withTree(two) { root throws in
                #expect(try Self.facts(of: root) == before)
                let file = try root.status(of: EntryName("setuid"))
                #expect(file.permissions == 0o6755 && file.uid == 1000 && file.gid == 1001 && file.linkCount == 2)
                let sticky = try root.openEntry(EntryName("sticky"), flags: directoryFlag)
                defer { sticky.closeQuietly() }
                #expect(try sticky.status().permissions == 0o1777)
                #expect(try sticky.status(of: EntryName("link")).inode == file.inode)
                #expect(try root.extendedAttributes(of: EntryName("setuid"))["trusted.lamina"] == [1, 0, 2])
                #expect(try root.status(of: EntryName("null")).node == DeviceNumber(major: 1, minor: 3))
                #expect(try root.readLink(EntryName("symlink")) == Array("/nowhere".utf8))
            }
        }
    }

    /// Kind, mode, owner, times and size of all entries of a directory.
    private static func facts(of root: FileDescriptor) throws -> [String] {
        try root.entries().map { name in
            let status = try root.status(of: name)
            return "\(name.text) \(status.kind) \(status.permissions) \(status.uid) \(status.gid) \(status.modified) "
                + "\(status.kind == .directory ? 0 : status.size)"
        }
    }

    @Test(arguments: Ground.here) func snapshotsAreIsolated(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let (parent, left, right) = (LayerNumber(1), LayerNumber(2), LayerNumber(3))
            try driver.create(parent, from: nil, limit: nil)
            try driver.withTree(parent) { try write("parent", to: "file", in: $0) }
            try driver.commit(parent)
            for child in [left, right] { try driver.create(child, from: parent, limit: nil) }
            try driver.withTree(left) { root throws in
                #expect(try read("file", in: root) == "parent")
                try write("left", to: "file", in: root)
                try write("left", to: "new", in: root)
            }
            try driver.withTree(right) { root throws in
                #expect(try read("file", in: root) == "parent")
                #expect(try root.entries().count == 1)
            }
            try driver.withTree(parent, readOnly: true) { root throws in
                #expect(try read("file", in: root) == "parent")
                #expect(try root.entries().count == 1)
            }
            try driver.withTree(left) { root throws in #expect(try read("file", in: root) == "left") }
        }
    }

    @Test(arguments: Ground.here) func aLongChainIsReadable(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            // zfs twice would take too long where each step is a process.
            let length: UInt64 = ground == .zfsDataset ? 20 : 130
            for number in 1...length {
                let layer = LayerNumber(number)
                try driver.create(layer, from: number == 1 ? nil : LayerNumber(number - 1), limit: nil)
                if number % 10 == 0 || number == 1 {
                    try driver.withTree(layer) { try write("\(number)", to: "file-\(number)", in: $0) }
                }
                try driver.commit(layer)
            }
            try driver.withTree(LayerNumber(length), readOnly: true) { root throws in
                #expect(try root.entries().count == Int(length) / 10 + 1)
                #expect(try read("file-1", in: root) == "1")
                #expect(try read("file-\(length)", in: root) == "\(length)")
            }
        }
    }

    @Test(arguments: Ground.here) func whatIsCommittedCannotBeWritten(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let layer = LayerNumber(1)
            try driver.create(layer, from: nil, limit: nil)
            try driver.withTree(layer) { try write("before", to: "file", in: $0) }
            try driver.commit(layer)
            try driver.commit(layer)
            try driver.withTree(layer, readOnly: true) { root throws in
                let error = #expect(throws: SystemError.self) { try write("after", to: "file", in: root) }
                #expect(error?.errno == .readOnlyFileSystem || error?.errno == .notPermitted)
                #expect(throws: SystemError.self) { try write("after", to: "new", in: root) }
                #expect(try read("file", in: root) == "before")
            }
        }
    }

    @Test(arguments: Ground.here) func whatIsMountedStays(_ ground: Ground) throws {
        try ground.withRoot { driver, root in
            let layer = LayerNumber(1)
            try driver.create(layer, from: nil, limit: nil)
            let target = root.path + "/target"
            try makeDirectory(target)
            try DetachedMount(try driver.mounts(layer, readOnly: false)[0]).attach(to: target)
            for refused in [driver.commit, driver.remove, driver.deactivate] {
                let error = #expect(throws: StorageError.self) { try refused(layer) }
                #expect(error?.kind == .failedPrecondition)
                #expect(error?.errno == .resourceBusy)
            }
            try unmount(target)
            rmdir(target)
            try driver.commit(layer)
            try driver.remove(layer)
        }
    }

    @Test(arguments: Ground.here) func limitsHold(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let layer = LayerNumber(1)
            if !ground.holdsLimits {
                let error = #expect(throws: StorageError.self) {
                    try driver.create(layer, from: nil, limit: ground.smallLimit)
                }
                #expect(error?.kind == .unimplemented)
                #expect(try driver.objects() == [])
                return
            }
            try driver.create(layer, from: nil, limit: ground.smallLimit)
            try driver.withTree(layer) { root throws in
                let file = try root.openBeneath("file", .writeOnly, flags: O_CREAT, permissions: 0o600)
                defer { file.closeQuietly() }
                // Random, so that no filesystem makes less of it.
                let piece = (0..<(1 << 17)).map { _ in UInt64.random(in: .min ... .max) }
                let error = #expect(throws: SystemError.self) {
                    for _ in 0...(ground.smallLimit >> 20) {
                        try piece.withUnsafeBytes { try file.writeFully($0, to: "file") }
                    }
                    try file.synchronize()
                }
                #expect(error?.errno == .noSpace || error?.errno == .diskQuotaExceeded)
            }
        }
    }

    @Test(arguments: Ground.here) func whatAKilledCallHasLeftIsMadeAnew(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let layer = LayerNumber(1)
            try driver.create(layer, from: nil, limit: nil)
            try driver.withTree(layer) { try write("old", to: "file", in: $0) }
            try driver.create(layer, from: nil, limit: nil)
            try driver.withTree(layer) { root throws in #expect(try root.entries() == []) }
            #expect(try driver.objects() == [layer])
            try driver.remove(layer)
            try driver.remove(layer)
            try driver.release(layer)
            #expect(throws: StorageError.self) { try driver.mounts(layer, readOnly: true) }
        }
    }

    @Test(arguments: Ground.here) func eightAtOnce(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let parent = LayerNumber(1)
            try driver.create(parent, from: nil, limit: nil)
            try driver.commit(parent)
            let failures = concurrently(8) { index in
                let layer = LayerNumber(UInt64(10 + index))
                try driver.create(layer, from: parent, limit: nil)
                try driver.withTree(layer) { try write("\(index)", to: "file", in: $0) }
                try driver.commit(layer)
            }
            #expect(failures == [])
            #expect(try driver.objects().count == 9)
            #expect(concurrently(8) { try driver.remove(LayerNumber(UInt64(10 + $0))) } == [])
            #expect(try driver.objects() == [parent])
        }
    }

    @Test(arguments: Ground.here) func manyCyclesLeaveNothing(_ ground: Ground) throws {
        try ground.withRoot { driver, root in
            let parent = LayerNumber(1)
            try driver.create(parent, from: nil, limit: nil)
            try driver.commit(parent)
            let mounts = MountTable.current().entries.filter { $0.target.hasPrefix(root.path) }.count
            for number in 2...(ground.isSlow ? 21 : 201) {
                let layer = LayerNumber(UInt64(number))
                let limited = ground == .btrfs && number % 20 == 0
                try driver.create(layer, from: parent, limit: limited ? 64 << 20 : nil)
                if number % 10 == 0 { try driver.withTree(layer) { try write("x", to: "file", in: $0) } }
                try driver.remove(layer)
            }
            #expect(try driver.objects() == [parent])
            #expect(MountTable.current().entries.filter { $0.target.hasPrefix(root.path) }.count == mounts)
            if TestHost.hasDeviceMapper {
                let left = try deviceMapperNames().filter { $0.contains(root.id) && !$0.hasSuffix("-pool") }
                #expect(left == [])
            }
            if ground == .btrfs { #expect(try strayQuotaGroups(of: root.path + "/btrfs/layers") == 0) }
        }
    }

    @Test(arguments: Ground.here) func statusAndUsageSaySomething(_ ground: Ground) throws {
        try ground.withRoot { driver, _ in
            let (one, two) = (LayerNumber(1), LayerNumber(2))
            try driver.create(one, from: nil, limit: nil)
            try driver.withTree(one) { root throws in
                try write(String(repeating: "0123456789abcdef", count: 1 << 16), to: "file", in: root)
            }
            try driver.commit(one)
            try driver.create(two, from: one, limit: nil)
            let (usage, child) = (try driver.usage(one), try driver.usage(two))
            #expect(usage.exclusiveBytes >= 1 << 20 && usage.referencedBytes >= 1 << 20)
            #expect(child.referencedBytes >= 1 << 20)
            if driver.name != "vfs" { #expect(child.exclusiveBytes < 1 << 20) }
            let status = try driver.status()
            #expect(status.space.usedBytes >= 1 << 20)
            #expect(status.space.totalBytes == status.space.usedBytes + status.space.freeBytes)
            #expect(status.health != .failed)
        }
    }
}
