import StorageDriver

extension BtrfsDriver {
    public static func assess(_ host: HostFacts) -> DriverAssessment {
        guard host.supports(filesystem: "btrfs") else {
            return DriverAssessment(
                driver: name, status: .unavailable,
                reasons: [.init(.btrfsMissing, "the kernel \(host.kernelRelease) has no btrfs")],
                remedy: "run a kernel with btrfs (module btrfs)")
        }
        let strengths = "snapshots of any size at once, shared space, changes found without a walk"
        if host.filesystem.type == "btrfs" {
            return DriverAssessment(
                driver: name, status: .available,
                reasons: [.init(.onBtrfs, "\(host.path) is on btrfs")], strengths: strengths)
        }
        var reasons = [DriverAssessment.Reason(.notBtrfs, "\(host.path) is on \(host.filesystem.type)")]
        if !host.hasLoop { reasons.append(.init(.loopMissing, "there are no loop devices")) }
        if host.tools["mkfs.btrfs"] == nil {
            reasons.append(.init(.toolMissing, "mkfs.btrfs is not installed (package btrfs-progs)"))
        }
        let worksOnLoop = reasons.count == 1
        if worksOnLoop { reasons.append(.init(.loopOnly, "only in a file, with --loop SIZE: for trying out")) }
        return DriverAssessment(
            driver: name, status: worksOnLoop ? .limited : .unavailable, reasons: reasons,
            remedy: "put --root on a btrfs filesystem", strengths: worksOnLoop ? strengths : nil,
            worksOnLoop: worksOnLoop, opens: host.hasLoop)
    }
}
