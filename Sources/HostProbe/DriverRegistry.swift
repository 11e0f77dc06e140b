import AUFSDriver
import BtrfsDriver
import DeviceMapperDriver
import OverlayDriver
import StorageDriver
import VFSDriver
import ZFSDriver

/// The drivers that Lamina knows, in order of preference: one line each.
public enum DriverRegistry {
    /// btrfs first, for where the root is on it nothing has to be made; devicemapper where a pool or a device is named;
    /// zfs where the root is on it; overlay2 on the plain filesystems, and aufs where there is nothing better;
    /// vfs, which copies, last and only when named.
    public static let drivers: [any StorageDriver.Type] = [
        BtrfsDriver.self,
        DeviceMapperDriver.self,
        ZFSDriver.self,
        OverlayDriver.self,
        AUFSDriver.self,
        VFSDriver.self,
    ]

    /// - Throws: `.invalidArgument` for a name that no driver has.
    public static func driver(named name: String) throws(StorageError) -> any StorageDriver.Type {
        guard let driver = drivers.first(where: { $0.name == name }) else {
            throw StorageError(
                .invalidArgument, "choose driver", name, "there is no such driver",
                hint: "drivers: " + drivers.map { $0.name }.joined(separator: ", "))
        }
        return driver
    }
}
