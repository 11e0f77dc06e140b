import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// What there is, and what it occupies.
extension OverlayDriver {
    public func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        try attempt("usage", objectName(layer)) {
            let chain = try ground.chain(from: layer)
            let own = try ownBytes(layer)
            let inherited = try chain.dropFirst().reduce(0) { try $0 + ownBytes($1) }
            return LayerUsage(exclusiveBytes: own, referencedBytes: own + inherited)
        }
    }

    /// Bytes on the disk of what is in the layer's own directory. Those of a committed one are counted once, and kept
    /// in an extended attribute.
    private func ownBytes(_ layer: LayerNumber) throws(SystemError) -> UInt64 {
        let directory = try FileDescriptor.openingDirectory(ground.layer(layer))
        defer { directory.closeQuietly() }
        let isCommitted = ground.isCommitted(layer)
        if isCommitted, let kept = try directory.extendedAttribute(Self.bytesAttribute, of: .itself),
            let bytes = UInt64(String(decoding: kept, as: UTF8.self))
        {
            return bytes
        }
        let diff = try directory.openEntry(EntryName("diff"), flags: O_DIRECTORY)
        defer { diff.closeQuietly() }
        let bytes = try TreeSize(of: diff).bytes
        if isCommitted {
            // On a full disk it is counted again the next time.
            try? directory.setExtendedAttribute(Self.bytesAttribute, Array(String(bytes).utf8), of: .itself)
        }
        return bytes
    }

    private static let bytesAttribute: AttributeName = "trusted.lamina.bytes"

    public func objects() throws(StorageError) -> [LayerNumber] {
        var numbers: Set<LayerNumber> = []
        for place in [ground.layers, ground.partials] {
            guard let names = directoryNames(place) else {
                throw StorageError(.unavailable, "list", place, "it cannot be read", errno: .current)
            }
            numbers.formUnion(names.compactMap { UInt64($0).map { LayerNumber($0) } })
        }
        return Array(numbers)
    }

    public func status() throws(StorageError) -> DriverStatus {
        let (filesystem, isNative, holdsLimits) = try attempt("status", ground.directory) {
            let directory = try FileDescriptor.openingDirectory(ground.directory)
            defer { directory.closeQuietly() }
            return (
                try FilesystemStatus(path: ground.directory), try? NativeDiff(ground: ground).isProven(),
                ProjectQuota.isEnforced(on: directory)
            )
        }
        let space = DriverSpace(
            totalBytes: filesystem.totalBytes, usedBytes: filesystem.totalBytes - filesystem.freeBytes,
            freeBytes: filesystem.freeBytes)
        let message: String? =
            filesystem.isReadOnly
            ? "the filesystem is read-only: see the kernel's log (dmesg)"
            : isNative == nil
                ? "overlayfs cannot be mounted here"
                : isNative == false ? "changes are found by a walk: this overlayfs does not note them all" : nil
        return DriverStatus(
            health: filesystem.isReadOnly || isNative == nil ? .failed : isNative == false ? .degraded : .ok,
            message: message, space: space,
            details: [
                .init("directory", ground.directory), .init("filesystem", filesystem.typeName),
                .init("nativeDiff", isNative == true ? "yes" : "no"), .init("quota", holdsLimits ? "on" : "off"),
                .init("mount options", OverlayGround.options.joined(separator: ",")),
                .init("lowers", OverlayStack.kernelTakesLowersOneByOne ? "one by one" : "in a page of options"),
            ])
    }
}
