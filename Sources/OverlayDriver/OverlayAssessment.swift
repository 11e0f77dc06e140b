import StorageDriver

extension OverlayDriver {
    /// Filesystems on which the conformance suite runs.
    static let provenFilesystems: Set = ["ext4", "xfs", "btrfs"]
    /// Filesystems whose directories overlayfs does not write to (fs/overlayfs/super.c: those that look at names anew
    /// at each use), or that have no extended attributes of the kind that it needs.
    static let refusedFilesystems: Set = [
        "overlay", "aufs", "nfs", "fuse", "9p", "cifs", "smb3", "ceph", "squashfs", "erofs", "ramfs",
    ]

    public static func assess(_ host: HostFacts) -> DriverAssessment {
        func unavailable(_ code: ReasonCode, _ message: String, _ remedy: String) -> DriverAssessment {
            DriverAssessment(driver: name, status: .unavailable, reasons: [.init(code, message)], remedy: remedy)
        }
        guard host.supports(filesystem: "overlay") else {
            return unavailable(
                .overlayMissing, "the kernel \(host.kernelRelease) has no overlayfs",
                "run a kernel with overlayfs (module overlay)")
        }
        let type = host.filesystem.type
        if refusedFilesystems.contains(type) {
            return unavailable(
                .notUpper, "\(host.path) is on \(type), which overlayfs cannot write layers to",
                "put --root on ext4, xfs or btrfs")
        }
        if host.filesystem.hasEntryTypes == false {
            return unavailable(
                .noEntryTypes, "the \(type) of \(host.path) keeps no file types in directories (d_type)",
                "make the filesystem anew (xfs: mkfs.xfs -n ftype=1, ext4: mkfs.ext4 -O filetype)")
        }
        let strengths = "layers are plain directories, mounted at once, and share their files in memory"
        let limits = host.filesystem.hasProjectQuota ? ", limits by project quotas" : ""
        // What is in memory only is limited by the caller.
        let isProven = provenFilesystems.contains(type) || host.filesystem.family == .memory
        var reasons = [
            isProven
                ? DriverAssessment.Reason(.canBeUpper, "\(host.path) is on \(type)")
                : DriverAssessment.Reason(
                    .untried, "nobody has tried layers on \(type): only when named, and checked then")
        ]
        if !host.filesystem.hasProjectQuota {
            reasons.append(.init(.noProjectQuota, "no --size, for \(type) is not mounted with project quotas"))
        }
        return DriverAssessment(
            driver: name, status: isProven ? .available : .limited, reasons: reasons,
            remedy: isProven ? nil : "put --root on ext4, xfs or btrfs", strengths: strengths + limits)
    }
}
