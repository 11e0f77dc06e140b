import LinuxSystem
import ThinPool

extension DeviceMapper {
    /// Removes a device, and has a little patience with one in use.
    /// - Throws: EBUSY when it is still in use after that.
    static func removePatiently(_ device: String) throws(SystemError) {
        try patiently { () throws(SystemError) in try remove(device) }
    }

    /// Removes a device that has no table: a process was killed while it made it. The caller holds the lock that keeps
    /// others from making it now.
    /// - Returns: whether the device is there, with its table.
    static func removeUnlessActive(_ device: String) throws(SystemError) -> Bool {
        guard let info = try info(device) else { return false }
        if !info.hasTable { try remove(device) }
        return info.hasTable
    }
}
