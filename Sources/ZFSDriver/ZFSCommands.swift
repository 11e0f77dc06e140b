import LinuxSystem
import StorageDriver
import SystemPackage

/// The commands `zfs` and `zpool`, asked for what programs can read (`-H`: tabs and no header, `-p`: exact numbers).
///
/// Both end with 1 whatever has failed, and say why in English only: what failed is found out by asking what is there.
struct ZFSCommands: Sendable {
    /// Properties of a dataset, a snapshot or a pool, by name; "-" for one that it does not have.
    typealias Properties = [String: String]

    private let zfs: Program
    private let zpool: Program

    /// - Throws: `.failedPrecondition` where the commands are not installed, or the kernel has no zfs now: they would
    ///   load its module by themselves.
    init(_ operation: String, _ object: String) throws(StorageError) {
        guard let zfs = Program("zfs"), let zpool = Program("zpool") else {
            throw StorageError(
                .failedPrecondition, operation, object, "the commands zfs and zpool are not installed",
                hint: "apt install zfsutils-linux")
        }
        guard Self.isInKernel else {
            throw StorageError(
                .failedPrecondition, operation, object, "the kernel has no zfs now", hint: "modprobe zfs")
        }
        self.zfs = zfs
        self.zpool = zpool
    }

    static var isInKernel: Bool { (readText("/proc/filesystems") ?? "").contains("\tzfs\n") }

    /// Runs `zfs`.
    func run(_ arguments: [String], on object: String) throws(SystemError) { try zfs.run(arguments, on: object) }

    /// Runs `zpool`.
    func runPool(_ arguments: [String], on object: String) throws(SystemError) { try zpool.run(arguments, on: object) }

    /// Runs `zfs` or `zpool` for what fails while something is in use: again for a moment, for the kernel lets go of what
    /// was unmounted a little later.
    /// - Throws: EBUSY with the program's words, whatever they say.
    func destroy(_ arguments: [String], isPool: Bool = false, on object: String) throws(SystemError) {
        try patiently { () throws(SystemError) in
            let outcome = try (isPool ? zpool : zfs).capture(["destroy"] + arguments + [object])
            if outcome.status != 0 {
                throw SystemError("destroy", object, .resourceBusy, detail: outcome.complaint)
            }
        }
    }

    /// Properties of those of the datasets and snapshots that are there.
    func properties(_ names: [String], of targets: [String]) throws(SystemError) -> [String: Properties] {
        let columns = (["name"] + names).joined(separator: ",")
        let arguments = ["list", "-Hp", "-t", "filesystem,volume,snapshot", "-o", columns]
        return Self.rows(names, try zfs.capture(arguments + targets).output)
    }

    /// Properties of a dataset and of all of these types below it, as deep as `depth` says; empty where it is not
    /// there.
    func properties(
        _ names: [String], below target: String, depth: Int? = nil, types: String
    ) throws(SystemError) -> [String: Properties] {
        let depth = depth.map { ["-d", String($0)] } ?? ["-r"]
        let columns = (["name"] + names).joined(separator: ",")
        let arguments = ["list", "-Hp"] + depth + ["-t", types, "-o", columns, target]
        return Self.rows(names, try zfs.capture(arguments).output)
    }

    /// Properties of a pool; nil where it is not imported.
    func poolProperties(_ names: [String], of pool: String) throws(SystemError) -> Properties? {
        let arguments = ["list", "-Hp", "-o", (["name"] + names).joined(separator: ","), pool]
        return Self.rows(names, try zpool.capture(arguments).output)[pool]
    }

    private static func rows(_ names: [String], _ output: String) -> [String: Properties] {
        var rows: [String: Properties] = [:]
        for line in output.split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == names.count + 1 else { continue }
            rows[fields[0]] = Dictionary(zip(names, fields.dropFirst())) { first, _ in first }
        }
        return rows
    }
}

extension ZFSCommands.Properties {
    /// A number of bytes; 0 where there is none.
    func bytes(_ name: String) -> UInt64 { self[name].flatMap { UInt64($0) } ?? 0 }
}
