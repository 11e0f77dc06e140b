import Lamina
import Testing

/// Which driver a root gets, with the exact words.
@Suite struct SelectionTests {
    /// Drivers as they judge hosts, and one more that works wherever an upper directory can be, in its place in the
    /// order: what the rules do does not depend on which drivers are built.
    static func judgements(_ host: HostFacts) -> [DriverAssessment] {
        var judgements = host.assess().filter { ["btrfs", "devicemapper", "vfs"].contains($0.driver) }
        let canBeUpper =
            ["ext4", "xfs", "btrfs"].contains(host.filesystem.type) && host.filesystem.hasEntryTypes == true
        if host.refusal == nil {
            let upper = DriverAssessment(
                driver: "overlay2", status: canBeUpper && host.caveats.isEmpty ? .available : .limited,
                reasons: [.init(.canBeUpper, "on \(host.filesystem.type)")] + host.caveats)
            judgements.insert(upper, at: 2)
        }
        return judgements
    }

    /// What is asked, and the answer: `driver (rule: explanation)`, or `kind: message | hint`.
    struct Row: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let host: HostFacts
        let request: DriverSelection.Request
        let answer: String

        init(
            _ name: String, on place: HostFacts.Filesystem = .ext4, named: String? = nil,
            by source: String = "--driver",
            state: RootState = RootState(), options: DriverOptions = DriverOptions(),
            lacking change: (inout HostFacts) -> Void = { _ in }, _ answer: String
        ) {
            var host = HostFacts.with(place)
            change(&host)
            testDescription = name
            self.host = host
            request = DriverSelection.Request(
                path: "/root", named: named, namedBy: source, state: state, options: options)
            self.answer = answer
        }
    }

    static func answer(_ host: HostFacts, _ request: DriverSelection.Request) -> String {
        do throws(StorageError) {
            let chosen = try DriverSelection.select(judgements(host), request)
            return "\(chosen.driver) (\(chosen.rule.rawValue): \(chosen.explanation))"
        } catch {
            return "\(error.kind.rawValue): \(error.message)" + (error.hint.map { " | \($0)" } ?? "")
        }
    }

    private static let loop = "/root is on ext4; only in a file, with --loop SIZE: for trying out"
    private static let elsewhere = "choose a --root on a local disk (ext4, xfs, btrfs)"
    private static let copies = "every layer is a full copy of its parent: only when named, --driver vfs"
    private static let nothing =
        "failedPrecondition: no driver is chosen here without a word from you"
    private static let tryOut =
        " | lamina init --loop SIZE to try out in a file; lamina init --driver overlay2 if that is what you want; "
        + "lamina probe says why"

    static let rows = [
        // The best that needs no word, by filesystem.
        Row("ext4", "overlay2 (best: best available: on ext4)"),
        Row("xfs", on: .xfs, "overlay2 (best: best available: on xfs)"),
        Row("xfs without types", on: .xfsWithoutTypes, nothing + tryOut),
        Row("btrfs", on: .btrfs, "btrfs (best: best available: /root is on btrfs)"),
        Row("tmpfs", on: .tmpfs, nothing + ": /root is on tmpfs: all layers are gone with a reboot" + tryOut),
        Row("overlay", on: .overlay, nothing + tryOut),
        Row("unknown filesystem", on: .unknown, nothing + tryOut),
        Row(
            "full", on: .full,
            nothing + ": only 1.00 MiB are free on / | make room, or choose another --root; lamina probe says why"),
        Row(
            "nfs", on: .nfs,
            "failedPrecondition: /root is on nfs, a filesystem of another machine: locks and attributes do not hold | "
                + elsewhere),
        Row("fuse", on: .fuse, "failedPrecondition: /root is on fuse.sshfs, which a process serves | " + elsewhere),
        Row("proc", on: .proc, "failedPrecondition: /root is on proc, which keeps no files | " + elsewhere),
        Row(
            "vfat", on: .vfat,
            "failedPrecondition: /root is on vfat, which keeps no Unix owners, permissions or links | " + elsewhere),
        Row(
            "read-only", on: .readOnly,
            "failedPrecondition: the filesystem of /root is read-only | choose a --root that can be written"),
        Row(
            "squashfs", on: .squashfs,
            "failedPrecondition: /root is on squashfs, which cannot be written | " + elsewhere),

        // Named: before everything, and its failure is the answer.
        Row("named", named: "vfs", "vfs (named: named by --driver (\(copies)))"),
        Row(
            "named by environment", named: "vfs", by: "LAMINA_DRIVER", "vfs (named: named by LAMINA_DRIVER (\(copies)))"
        ),
        Row(
            "named, better ones there", on: .btrfs, named: "overlay2", "overlay2 (named: named by --driver (on btrfs))"),
        Row(
            "named with a device", named: "devicemapper",
            options: .init(backing: .devices(data: "/dev/sdb", metadata: nil)),
            "devicemapper (named: named by --driver (a pool or a block device must be named: --pool, --data or --loop))"
        ),
        Row(
            "named, not there", named: "nope",
            "invalidArgument: there is no such driver (named by --driver) | drivers: btrfs, devicemapper, overlay2, vfs"
        ),
        Row(
            "not there by environment", on: .btrfs, named: "nope", by: "LAMINA_DRIVER",
            "invalidArgument: there is no such driver (named by LAMINA_DRIVER) | "
                + "drivers: btrfs, devicemapper, overlay2, vfs"),
        Row(
            "named and unavailable", on: .btrfs, named: "devicemapper", lacking: { $0.deviceMapper = nil },
            "failedPrecondition: the driver devicemapper was named by --driver, and cannot work here: "
                + "the kernel 6.12.0 has no device-mapper | "
                + "run a kernel with device-mapper (modules dm_mod and dm_thin_pool)"),
        Row(
            "named on nfs", on: .nfs, named: "vfs",
            "failedPrecondition: the driver vfs was named by --driver, and cannot work here: /root is on nfs, "
                + "a filesystem of another machine: locks and attributes do not hold | " + elsewhere),
        Row(
            "named on tmpfs", on: .tmpfs, named: "vfs",
            "vfs (named: named by --driver (\(copies); /root is on tmpfs: all layers are gone with a reboot))"),
        Row(
            "named, the state's own", named: "vfs", state: .init(recorded: "vfs", found: ["vfs"]),
            "vfs (named: named by --driver (\(copies)))"),
        Row(
            "named, against the state", on: .btrfs, named: "vfs", state: .init(recorded: "btrfs", found: ["btrfs"]),
            "failedPrecondition: the root belongs to the driver btrfs, not to vfs | "
                + "leave out --driver, or use another --root"),
        Row(
            "environment against the state", on: .btrfs, named: "vfs", by: "LAMINA_DRIVER",
            state: .init(recorded: "btrfs", found: ["btrfs"]),
            "failedPrecondition: the root belongs to the driver btrfs, not to vfs | "
                + "leave out --driver, or use another --root"),

        // State: its driver or none.
        Row("state", on: .btrfs, state: .init(recorded: "vfs", found: ["vfs"]), "vfs (state: the root belongs to it)"),
        Row(
            "state without a directory", state: .init(recorded: "devicemapper"),
            "devicemapper (state: the root belongs to it)"),
        Row(
            "state in a file, mkfs gone", state: .init(recorded: "btrfs", found: ["btrfs"]),
            lacking: { $0.tools = [:] }, "btrfs (state: the root belongs to it)"),
        Row(
            "state, its mechanism gone", state: .init(recorded: "btrfs", found: ["btrfs"]),
            lacking: { $0.kernelFilesystems = ["ext4", "overlay"] },
            "failedPrecondition: the driver btrfs holds this root, and cannot work here: the kernel 6.12.0 has no btrfs"
                + " | run a kernel with btrfs (module btrfs)"),
        Row(
            "state of dm, its mechanism gone", on: .btrfs,
            state: .init(recorded: "devicemapper", found: ["devicemapper"]),
            lacking: {
                $0.deviceMapper = nil
                $0.availableModules = ["dm_mod"]
            },
            "failedPrecondition: the driver devicemapper holds this root, and cannot work here: "
                + "the kernel has device-mapper as a module that is not loaded | modprobe dm_thin_pool"),
        Row(
            "state of an unknown driver", on: .btrfs, state: .init(recorded: "ziplayers"),
            "unimplemented: the root belongs to the driver ziplayers, which is not known here"),
        Row(
            "state before options", state: .init(recorded: "vfs", found: ["vfs"]),
            options: .init(backing: .loop(bytes: 1 << 30)), "vfs (state: the root belongs to it)"),
        Row(
            "two with state", on: .btrfs, state: .init(recorded: "btrfs", found: ["btrfs", "vfs"]),
            "failedPrecondition: the drivers btrfs and vfs have state here | "
                + "--driver btrfs (or LAMINA_DRIVER) goes on with the root's own; or move /root/vfs away"),
        Row(
            "two with state, one named", on: .btrfs, named: "btrfs",
            state: .init(recorded: "btrfs", found: ["btrfs", "vfs"]),
            "btrfs (named: named by --driver (/root is on btrfs))"),
        Row(
            "two with state, one kept", on: .btrfs,
            state: .init(recorded: "btrfs", kept: ["vfs"], found: ["btrfs", "vfs"]),
            "btrfs (state: the root belongs to it)"),
        Row(
            "three with state, no records", state: .init(found: ["btrfs", "overlay2", "vfs"]),
            "failedPrecondition: the drivers btrfs, overlay2 and vfs have state here | "
                + "none has records (lamina.db): put them back, move /root/btrfs and /root/overlay2 and /root/vfs away, "
                + "or use another --root"),
        Row(
            "state without records", state: .init(found: ["vfs"]),
            "failedPrecondition: the driver vfs has state here without the records of its layers (lamina.db) | "
                + "put lamina.db back, move /root/vfs away, or use another --root"),
        Row(
            "state without records, named", named: "vfs", state: .init(found: ["vfs"]),
            "failedPrecondition: the driver vfs has state here without the records of its layers (lamina.db) | "
                + "put lamina.db back, move /root/vfs away, or use another --root"),

        // Options that ask for a driver.
        Row(
            "--loop", options: .init(backing: .loop(bytes: 1 << 30)),
            "btrfs (option: the first that works in a file (\(loop)))"),
        Row(
            "--loop without btrfs", options: .init(backing: .loop(bytes: 1 << 30)),
            lacking: { $0.kernelFilesystems = ["ext4"] },
            "devicemapper (option: the first that works in a file "
                + "(a pool or a block device must be named: --pool, --data or --loop))"),
        Row(
            "--loop without loop devices", options: .init(backing: .loop(bytes: 1 << 30)),
            lacking: { $0.hasLoop = false },
            "failedPrecondition: no driver works in a file here | lamina probe says why"),
        Row(
            "--loop on fuse", on: .fuse, options: .init(backing: .loop(bytes: 1 << 30)),
            "failedPrecondition: /root is on fuse.sshfs, which a process serves | " + elsewhere),
        Row(
            "--pool", on: .btrfs, options: .init(backing: .pool("pool")),
            "devicemapper (option: it makes layers in a thin pool)"),
        Row(
            "--pool without dm", on: .btrfs, options: .init(backing: .pool("pool")), lacking: { $0.deviceMapper = nil },
            "failedPrecondition: the driver devicemapper is what --pool needs, and cannot work here: "
                + "the kernel 6.12.0 has no device-mapper | "
                + "run a kernel with device-mapper (modules dm_mod and dm_thin_pool)"),
        Row(
            "--data", options: .init(backing: .devices(data: "/dev/sdb", metadata: nil)),
            "devicemapper (option: it makes layers in a thin pool)"),
        Row(
            "--fs in a file", options: .init(backing: .loop(bytes: 1 << 30), filesystem: "xfs"),
            "devicemapper (option: it puts a filesystem into each layer)"),
        Row(
            "--fs", on: .btrfs, options: .init(filesystem: "xfs"),
            "devicemapper (option: it puts a filesystem into each layer)"),
        Row(
            "in a container", on: .btrfs, lacking: { $0.privilege = .contained },
            "overlay2 (best: best available: on btrfs)"),
    ]

    @Test(arguments: rows) func theTable(_ row: Row) {
        #expect(Self.answer(row.host, row.request) == row.answer)
    }

    private static let states = [
        RootState(), .init(recorded: "vfs", found: ["vfs"]), .init(recorded: "btrfs", found: ["btrfs"]),
        .init(recorded: "devicemapper"), .init(recorded: "nope"), .init(recorded: "vfs", found: ["btrfs", "vfs"]),
        .init(found: ["btrfs"]), .init(found: ["btrfs", "vfs"]),
    ]
    private static let wants: [DriverOptions] = [
        .init(), .init(backing: .loop(bytes: 1 << 30)), .init(backing: .pool("p")),
        .init(backing: .devices(data: "/dev/sdb", metadata: nil)), .init(filesystem: "xfs"),
    ]
    private static let lacks: [@Sendable (inout HostFacts) -> Void] = [
        { _ in }, { $0.deviceMapper = nil }, { $0.kernelFilesystems = ["ext4"] }, { $0.hasLoop = false },
        { $0.tools = [:] }, { $0.privilege = .contained }, { $0.isOccupied = true },
    ]

    /// All of filesystem x lack x state x name x source x options: what holds of each.
    @Test(arguments: HostFacts.Filesystem.all) func everyCombination(_ place: HostFacts.Filesystem) {
        for lack in Self.lacks {
            var host = HostFacts.with(place)
            lack(&host)
            let judgements = Self.judgements(host)
            for state in Self.states {
                for named in [nil, "btrfs", "devicemapper", "vfs", "nope"] {
                    for source in ["--driver", "LAMINA_DRIVER"] {
                        for options in Self.wants {
                            let request = DriverSelection.Request(
                                path: "/root", named: named, namedBy: source, state: state, options: options)
                            do throws(StorageError) {
                                let chosen = try DriverSelection.select(judgements, request)
                                check(chosen, judgements, request)
                            } catch {
                                check(error, judgements, request)
                            }
                        }
                    }
                }
            }
        }
    }

    private func check(
        _ chosen: DriverSelection, _ judgements: [DriverAssessment], _ request: DriverSelection.Request
    ) {
        let judgement = judgements.first { $0.driver == chosen.driver }
        #expect(judgement != nil)
        #expect(chosen.driver == request.named ?? chosen.driver)
        switch chosen.rule {
        case .named:
            #expect(chosen.driver == request.named && chosen.explanation.contains(request.namedBy))
            #expect([nil, chosen.driver].contains(request.state.recorded))
        case .state:
            #expect(request.named == nil && chosen.driver == request.state.recorded && judgement?.opens == true)
            #expect(request.state.claimants == [chosen.driver])
        case .option:
            #expect(request.named == nil && request.state == RootState() && request.options != DriverOptions())
            #expect(judgement?.status != .unavailable && chosen.driver != "vfs")
        case .best:
            #expect(request.named == nil && request.state == RootState() && request.options == DriverOptions())
            #expect(
                judgement?.status == .available && chosen.driver == judgements.first { $0.status == .available }?.driver
            )
            #expect(chosen.driver != "vfs" && chosen.driver != "devicemapper")
        }
    }

    /// An error says what it is about: the drivers or the place.
    private func check(
        _ error: StorageError, _ judgements: [DriverAssessment], _ request: DriverSelection.Request
    ) {
        let kinds: [StorageError.Kind] = [.invalidArgument, .failedPrecondition, .unimplemented]
        #expect(kinds.contains(error.kind) && error.object != "")
        #expect(error.hint != nil || error.kind == .unimplemented)
        if request.named == nil, request.state.claimants.count > 1 {
            for driver in request.state.claimants { #expect(error.message.contains(driver)) }
            #expect(error.hint?.contains(request.state.recorded == nil ? "lamina.db" : "--driver") == true)
        } else if request.named == nil, let prior = request.state.recorded {
            #expect(error.message.contains(prior))
        }
    }
}
