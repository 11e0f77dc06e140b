import LinuxSystem

/// What holds for every driver, whatever its mechanism: whether a state root can be at this place at all.
extension HostFacts {
    /// Below these a root is as good as full: records and the marks of operations need a little of both.
    private static let leastBytes: UInt64 = 64 << 20
    private static let leastInodes: UInt64 = 256

    /// What keeps any driver from having its root here, with what to do about it; nil where nothing does.
    public var refusal: (reason: DriverAssessment.Reason, remedy: String)? {
        if isOccupied { return (.init(.notDirectory, "\(path) is there and is no directory"), "choose another --root") }
        if let refusal = Self.refusal(of: filesystem.family, filesystem.type, at: path) { return refusal }
        if filesystem.isReadOnly {
            return (.init(.readOnly, "the filesystem of \(path) is read-only"), "choose a --root that can be written")
        }
        return nil
    }

    /// What keeps roots, also those that are there, from being used on a filesystem of this kind.
    /// - Parameter type: the filesystem's name.
    public static func refusal(
        of family: FilesystemKind.Family?, _ type: String, at path: String
    ) -> (reason: DriverAssessment.Reason, remedy: String)? {
        let place = "\(path) is on \(type)"
        let elsewhere = "choose a --root on a local disk (ext4, xfs, btrfs)"
        switch family {
        case .network:
            return (
                .init(.network, "\(place), a filesystem of another machine: locks and attributes do not hold"),
                elsewhere
            )
        case .fuse:
            return (.init(.fuse, "\(place), which a process serves"), elsewhere)
        case .pseudo:
            return (.init(.pseudo, "\(place), which keeps no files"), elsewhere)
        case .foreign:
            return (.init(.foreign, "\(place), which keeps no Unix owners, permissions or links"), elsewhere)
        case .image:
            return (.init(.readOnly, "\(place), which cannot be written"), elsewhere)
        case .disk, .memory, .stacked, nil:
            return nil
        }
    }

    /// What makes any driver limited here: it works, and is not chosen on its own.
    public var caveats: [DriverAssessment.Reason] {
        var caveats: [DriverAssessment.Reason] = []
        if filesystem.family == .memory {
            caveats.append(.init(.volatile, "\(path) is on \(filesystem.type): all layers are gone with a reboot"))
        }
        if filesystem.totalBytes > 0, filesystem.freeBytes < Self.leastBytes {
            caveats.append(
                .init(.noSpace, "only \(ByteCount(filesystem.freeBytes)) are free on \(filesystem.mountPoint)"))
        } else if filesystem.totalInodes > 0, filesystem.freeInodes < Self.leastInodes {
            caveats.append(.init(.noSpace, "only \(filesystem.freeInodes) inodes are free on \(filesystem.mountPoint)"))
        }
        return caveats
    }
}
