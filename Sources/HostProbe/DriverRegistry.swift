import AUFSDriver
import BtrfsDriver
import DeviceMapperDriver
import OverlayDriver
import StorageDriver
import VFSDriver
import ZFSDriver

/// The drivers that Lamina knows, and the order in which they are preferred.
public enum DriverRegistry {
    /// A driver's place in the order of preference, and why it is there.
    public struct Preference: Sendable, Equatable {
        public let driver: String
        public let reason: String
    }

    /// Best first. Of those that are available the first one is chosen; the judgement of each (`assess`) says where it
    /// is available: those that need a device, a pool or a file to be named never are, and vfs neither.
    public static let order: [Preference] = [
        Preference(
            driver: "btrfs",
            reason:
                "the root is on btrfs: layers are subvolumes of it, nothing is made, changes are found by the kernel"),
        Preference(
            driver: "devicemapper",
            reason:
                "a block device or a thin pool that is named: limits hold, and layers are devices for virtual machines"),
        Preference(
            driver: "zfs",
            reason: "a pool of ZFS: layers are its datasets; after the others, for it is driven through its commands"),
        Preference(
            driver: "overlay2",
            reason: "ext4, xfs and what else can be an upper directory: nothing is made, but files are copied up whole"),
        Preference(
            driver: "aufs",
            reason: "as overlay2, for old kernels that have it: it is no part of Linux"),
        Preference(
            driver: "vfs",
            reason: "copies: works anywhere, costs the most; only when named"),
    ]

    /// One line for each driver.
    private static let known: [any StorageDriver.Type] = [
        BtrfsDriver.self,
        DeviceMapperDriver.self,
        ZFSDriver.self,
        OverlayDriver.self,
        AUFSDriver.self,
        VFSDriver.self,
    ]

    /// All drivers, in the order of preference.
    public static let drivers: [any StorageDriver.Type] = order.compactMap { preference in
        known.first { $0.name == preference.driver }
    }

    /// Why a driver is at its place in the order.
    public static func preference(_ driver: String) -> String {
        order.first { $0.driver == driver }?.reason ?? ""
    }

    /// - Parameter source: where the name comes from ("LAMINA_DRIVER"), where that is not plain.
    /// - Throws: `.invalidArgument` for a name that no driver has.
    public static func driver(
        named name: String, by source: String? = nil
    ) throws(StorageError) -> any StorageDriver.Type {
        guard let driver = drivers.first(where: { $0.name == name }) else {
            throw .unknownDriver(name, namedBy: source, known: drivers.map { $0.name })
        }
        return driver
    }
}

extension StorageError {
    /// - Parameter namedBy: where the name comes from; nil where that is plain.
    static func unknownDriver(_ name: String, namedBy: String?, known: [String]) -> StorageError {
        StorageError(
            .invalidArgument, "choose driver", name,
            "there is no such driver" + (namedBy.map { " (named by \($0))" } ?? ""),
            hint: "drivers: " + known.joined(separator: ", "))
    }
}
