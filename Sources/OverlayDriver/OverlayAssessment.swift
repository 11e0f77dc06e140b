import StorageDriver

extension OverlayDriver {
    /// Filesystems on which the conformance suite runs.
    static let provenFilesystems: Set = ["ext4", "xfs", "btrfs"]
    /// Filesystems whose directories overlayfs does not write to (fs/overlayfs/super.c: those that look at names anew
    /// at each use), or that have no extended attributes of the kind that it needs.
    static let refusedFilesystems: Set = [
        "overlay", "aufs", "nfs", "fuse", "9p", "cifs", "smb2", "ceph", "squashfs", "erofs", "ramfs",
    ]

    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(_ code: String, _ message: String, _ remedy: String) -> DriverAssessment {
            DriverAssessment(driver: name, status: .unavailable, reasons: [.init(code, message)], remedy: remedy)
        }
        guard host.supports(filesystem: "overlay") else {
            return unavailable(
                "OVERLAY_MISSING", "the kernel \(host.kernelRelease) has no overlayfs",
                "run a kernel with overlayfs (module overlay)")
        }
        let type = host.filesystem.type
        if refusedFilesystems.contains(type) {
            return unavailable(
                "FS_NOT_UPPER", "\(host.path) is on \(type), which overlayfs cannot write layers to",
                "put --root on ext4, xfs or btrfs")
        }
        if let reason = host.readOnlyReason {
            return unavailable(reason.code, reason.message, "choose a --root that can be written")
        }
        if host.filesystem.hasEntryTypes == false {
            return unavailable(
                "FS_NO_D_TYPE", "the \(type) of \(host.path) keeps no file types in directories (d_type)",
                "make the filesystem anew (xfs: mkfs.xfs -n ftype=1, ext4: mkfs.ext4 -O filetype)")
        }
        let strengths = "layers are plain directories, mounted at once, and share their files in memory"
        if type == "tmpfs" {
            return DriverAssessment(
                driver: name, status: .limited,
                reasons: [.init("FS_VOLATILE", "\(host.path) is on tmpfs: layers are gone with the next boot")],
                remedy: "put --root on ext4, xfs or btrfs", strengths: strengths)
        }
        guard provenFilesystems.contains(type) else {
            return DriverAssessment(
                driver: name, status: .limited,
                reasons: [.init("FS_UNKNOWN", "nobody has tried layers on \(type): only when named, and checked then")],
                remedy: "put --root on ext4, xfs or btrfs", strengths: strengths)
        }
        return DriverAssessment(
            driver: name, status: .available, reasons: [.init("FS_UPPER", "\(host.path) is on \(type)")],
            strengths: strengths)
    }
}
