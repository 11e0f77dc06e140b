import Fixtures
import LinuxSystem
import Subvolume
import SystemPackage
import ThinPool

/// Names of all dm devices.
func deviceMapperNames() throws -> [String] { try DeviceMapper.names() }

/// Quota groups below a directory of subvolumes whose subvolume is gone, once the kernel's cleaner has had its time.
func strayQuotaGroups(of layers: String) throws -> Int {
    let directory = try FileDescriptor.openingDirectory(layers)
    defer { directory.closeQuietly() }
    var left = 0
    _ = try eventually {
        try directory.synchronizeFilesystem()
        var known: Set<UInt64> = [5]
        for name in directoryNames(layers) ?? [] {
            let subvolume = try FileDescriptor.openingDirectory("\(layers)/\(name)")
            defer { subvolume.closeQuietly() }
            known.insert(try Subvolume.info(subvolume).id)
        }
        left = try QuotaGroup.all(on: directory).filter { !known.contains($0) }.count
        return left == 0
    }
    return left
}
