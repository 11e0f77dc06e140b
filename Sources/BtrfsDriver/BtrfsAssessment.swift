import StorageDriver

extension BtrfsDriver {
    public static func assess(_ host: HostFacts) -> DriverAssessment {
        guard host.supports(filesystem: "btrfs") else {
            return DriverAssessment(
                driver: name, status: .unavailable,
                reasons: [.init("BTRFS_MISSING", "the kernel \(host.kernelRelease) has no btrfs")],
                remedy: "run a kernel with btrfs (module btrfs)")
        }
        let strengths = "snapshots of any size at once, space shared between layers, changes found without a walk"
        if host.filesystem.type == "btrfs" {
            if let reason = host.readOnlyReason {
                return DriverAssessment(
                    driver: name, status: .unavailable, reasons: [reason],
                    remedy: "choose a --root that can be written")
            }
            return DriverAssessment(
                driver: name, status: .available,
                reasons: [.init("FS_BTRFS", "\(host.path) is on btrfs")], strengths: strengths)
        }
        var reasons = [DriverAssessment.Reason("FS_NOT_BTRFS", "\(host.path) is on \(host.filesystem.type)")]
        if !host.hasLoop { reasons.append(.init("LOOP_MISSING", "there are no loop devices")) }
        if host.tools["mkfs.btrfs"] == nil {
            reasons.append(.init("TOOL_MISSING", "mkfs.btrfs is not installed (package btrfs-progs)"))
        }
        if let reason = host.readOnlyReason { reasons.append(reason) }
        let worksOnLoop = reasons.count == 1
        if worksOnLoop { reasons.append(.init("LOOP_ONLY", "only in a file, with --loop SIZE: for trying out")) }
        return DriverAssessment(
            driver: name, status: worksOnLoop ? .limited : .unavailable, reasons: reasons,
            remedy: "put --root on a btrfs filesystem", strengths: worksOnLoop ? strengths : nil,
            worksOnLoop: worksOnLoop)
    }
}
