import LinuxSystem
import StorageDriver
import SystemPackage

/// Judges where the user wants a root's datasets to be. Makes nothing.
enum ZFSPlan {
    /// OpenZFS takes no file below 64 MiB (SPA_MINDEVSIZE, sys/vdev_impl.h), and keeps so much of one for itself that
    /// with less than this nothing useful is left.
    static let smallestLoop: UInt64 = 256 << 20

    /// A dataset's name has 255 bytes at most (ZFS_MAX_DATASET_NAME_LEN, sys/fs/zfs.h): below this are left
    /// "/lamina-" and eight digits, "/" and a number of twenty, "@copy-" and another.
    static let longestName = 180

    static func make(_ root: RootLocation, _ options: DriverOptions) throws(StorageError) -> DriverConfiguration {
        func fail(_ kind: StorageError.Kind, _ reason: String, hint: String? = nil) -> StorageError {
            StorageError(kind, "init", root.path, reason, hint: hint)
        }
        if options.filesystem != nil { throw fail(.invalidArgument, "--fs is not an option of the zfs driver") }
        let zfs = try ZFSCommands("init", root.path)
        let own = try attempt("init", root.path) { try FilesystemStatus(path: nearestDirectory(root.path)) }
        switch options.backing {
        case .devices: throw fail(.invalidArgument, "--data is not an option of the zfs driver")
        case .loop(let bytes):
            guard bytes >= smallestLoop else {
                throw fail(
                    .invalidArgument,
                    "a zfs pool in a file needs \(ByteCount(smallestLoop)) at least, not \(ByteCount(bytes))")
            }
            if own.typeName == "zfs" {
                throw fail(
                    .failedPrecondition, "it is on zfs: a pool in a file there may wait for itself for ever",
                    hint: "leave out --loop")
            }
            return ["loopBytes": String(bytes)]
        case .pool(let name):
            try check(name, zfs)
            return ["dataset": name]
        case nil:
            guard own.typeName == "zfs",
                let mount = MountTable.current().entry(holding: nearestDirectory(root.path)), mount.type == "zfs"
            else {
                throw fail(
                    .failedPrecondition, "it is on \(own.typeName), not on zfs",
                    hint: "name a pool or dataset with --pool, or try out with --loop SIZE")
            }
            try check(mount.source, zfs)
            return ["dataset": mount.source]
        }
    }

    private static func check(_ name: String, _ zfs: ZFSCommands) throws(StorageError) {
        func refuse(_ kind: StorageError.Kind, _ reason: String, hint: String? = nil) -> StorageError {
            StorageError(kind, "init", name, reason, hint: hint)
        }
        guard isName(name) else { throw refuse(.invalidArgument, "this is no name of a pool or dataset") }
        if name.utf8.count > longestName {
            throw refuse(.invalidArgument, "the name is too long: \(longestName) bytes at most")
        }
        let found = try attempt("init", name) { try zfs.properties(["type"], of: [name])[name] }
        guard let found else { throw refuse(.notFound, "there is no such pool or dataset", hint: "zfs list") }
        if found["type"] != "filesystem" { throw refuse(.invalidArgument, "it is no filesystem but a volume") }
        let pool = String(name.prefix { $0 != "/" })
        let properties = try attempt("init", name) { try zfs.poolProperties(["health", "readonly"], of: pool) }
        if properties?["readonly"] == "on" { throw refuse(.failedPrecondition, "the pool is imported read-only") }
    }

    /// Whether it is made as names of datasets are (zfs(8)): parts of letters, digits and `-_.: `, between slashes. Never
    /// an option, a snapshot or a path.
    static func isName(_ name: String) -> Bool {
        name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
            guard let first = part.utf8.first, isAlphanumeric(first) else { return false }
            return part.utf8.allSatisfy { isAlphanumeric($0) || "-_.: ".utf8.contains($0) }
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
}
