import Glibc
import LinuxSystem

/// What this machine lets tests do. A test that cannot run is skipped with one of these as its reason.
public enum TestHost {
    public static let isRoot = geteuid() == 0
    public static let hasLoop = isRoot && exists("/dev/loop-control")
    public static let hasBtrfs =
        hasLoop && ((readText("/proc/filesystems") ?? "").contains("\tbtrfs\n") || loads("btrfs"))
    public static let hasDeviceMapper = hasLoop && (readText("/proc/misc") ?? "").contains("device-mapper")
    public static let hasZFS =
        hasLoop && (readText("/proc/filesystems") ?? "").contains("\tzfs\n") && Program("zfs") != nil
    /// Whether xfs holds project quotas here: asked of the kernel, by mounting one.
    public static let hasXFSQuota: Bool = {
        guard hasLoop else { return false }
        return (try? withFilesystem("xfs", size: 320 << 20, options: ["prjquota"]) { _ in true }) ?? false
    }()
    /// Whether ext4 does.
    public static let hasExt4Quota: Bool = {
        guard hasLoop else { return false }
        return
            (try? withFilesystem(
                "ext4", size: 32 << 20, options: ["prjquota"], makeArguments: ext4QuotaFeatures, { _ in true }))
            ?? false
    }()
    /// For mkfs.ext4.
    public static let ext4QuotaFeatures = ["-O", "quota,project", "-E", "quotatype=prjquota"]
    /// Whether the kernel still takes xfs of version 4, the only one that can be without types in directories.
    public static let hasOldXFS: Bool = {
        guard hasLoop else { return false }
        return (try? Place.xfsWithoutTypes.with { _ in true }) ?? false
    }()
    /// Whether bindfs, a filesystem of FUSE, can be mounted.
    public static let hasBindfs = isRoot && exists("/dev/fuse") && Program("bindfs") != nil
    /// Whether a user namespace can be made: not from inside of a chroot, as the guest's is.
    public static let hasUserNamespaces: Bool = {
        guard let unshare = Program("unshare") else { return false }
        return (try? unshare.run(["--user", "--map-root-user", "true"], on: "user namespace")) != nil
    }()
    /// Whether this is the small guest that `Tools/guest/run` starts.
    public static let isGuest = getenv("LAMINA_GUEST") != nil

    /// Whether tests are to run on this ground: all are, unless the environment names a part of some (LAMINA_GROUND).
    public static func isWanted(_ ground: String) -> Bool {
        guard let part = getenv("LAMINA_GROUND") else { return true }
        return ground.contains(String(cString: part))
    }

    /// Whether the kernel can load the filesystem when it is first mounted.
    private static func loads(_ filesystem: String) -> Bool {
        guard isRoot, let modprobe = Program("modprobe") else { return false }
        return (try? modprobe.run(["-q", filesystem], on: filesystem)) != nil
    }
}
