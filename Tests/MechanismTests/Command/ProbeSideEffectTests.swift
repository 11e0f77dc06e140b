import Fixtures
import Foundation
import Lamina
import LinuxSystem
import Testing
import ThinPool

/// The probe changes nothing: seen by what there is before and after it, and by what it asks of the kernel.
@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct ProbeSideEffectTests {
    /// Mounts (in a namespace of the probe's own, for other tests mount at the same time), modules, devices, device
    /// nodes, semaphores, dm tables, and all files of a root and of the system's state, as they were last changed.
    private static let picture = """
        picture() {
            # Those of other tests, below /tmp, go with their directories.
            grep -v ' /tmp/' /proc/self/mountinfo; grep " $root" /proc/self/mountinfo
            cat /proc/modules /proc/swaps /proc/sysvipc/sem 2>/dev/null
            ls /sys/module /sys/class/misc
            ls /sys/block | grep -v '^loop'
            find /dev -xdev -not -path '*/loop*' -not -path '/dev/disk*' -not -path '/dev/mapper*' \\
                -printf '%p %y %m %i %T@\\n' | grep -v '^/dev d'
            # What is in files of filesystems is written when they see fit.
            find "$root" /var/lib/lamina -not -name '*.img' -printf '%p %y %m %i %s %T@ %C@\\n' 2>/dev/null
            if [ -e /dev/mapper/control ]; then
                { dmsetup table; dmsetup info -c --noheadings; ls /dev/mapper; } | grep "$mine"
            fi
        }
        """

    @Test(arguments: CommandGround.here) func nothingIsOtherThanBefore(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            #expect(try lamina("layer", "create", "x").status == 0)
            let script = """
                \(Self.picture)
                root=\(lamina.root)
                mine=\(TestHost.isGuest ? "." : try lamina("info", "--json").value("id") ?? "")
                before=$(picture)
                for path in $root $root/not/there /tmp; do
                    for options in '' --json --explain; do "$0" probe $path $options >/dev/null || exit 3; done
                done
                diff <(echo "$before") <(picture)
                """
            let result = try LaminaTool.run(
                ["/usr/bin/unshare", "--mount", "/bin/bash", "-c", script, LaminaTool.path])
            #expect(result.status == 0, "\(result.output)\(result.error)")
        }
    }

    /// Calls that only read, on files that do nothing when they are opened.
    @Test(.enabled(if: Program("strace") != nil, "strace is not installed"))
    func theKernelIsOnlyAskedToRead() throws {
        let strace = try #require(Program("strace")).path
        try withTemporaryDirectory { directory in
            for path in ["/", directory + "/not/there"] {
                let log = directory + "/log"
                let result = try LaminaTool.run([strace, "-f", "-o", log, LaminaTool.path, "probe", path, "--json"])
                try #require(result.status == 0, "\(result.error)")
                let lines = (readText(log) ?? "").split(separator: "\n").map { $0.drop { $0 != " " }.dropFirst() }
                #expect(lines.count > 50)
                var programs = 0
                for line in lines {
                    let call = line.drop { $0 == " " }.prefix { $0 != "(" }
                    if call == "execve" { programs += 1 }
                    #expect(!Self.changing.contains(String(call)), "\(line)")
                    guard call.hasPrefix("open") else { continue }
                    let isMapper = line.contains("\"/dev/mapper/control\"") && TestHost.hasDeviceMapper
                    if !isMapper {
                        #expect(
                            ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].allSatisfy { !line.contains($0) }, "\(line)")
                    }
                    for node in ["loop-control", "btrfs-control", "fuse", "zfs", "cuse", "kvm"] {
                        #expect(!line.contains("\"/dev/\(node)\""), "\(line)")
                    }
                }
                #expect(programs == 1)
            }
        }
    }

    private static let changing: Set<String> = [
        "mount", "umount2", "fsopen", "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr", "fspick",
        "pivot_root", "swapon", "swapoff", "init_module", "finit_module", "delete_module", "mkdir", "mkdirat", "mknod",
        "mknodat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "symlink",
        "symlinkat", "truncate", "ftruncate", "fallocate", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat",
        "lchown", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
        "quotactl", "quotactl_fd", "semget", "semctl", "fsync", "fdatasync", "sync", "syncfs", "fork", "vfork",
        "connect", "bind",
    ]
}
