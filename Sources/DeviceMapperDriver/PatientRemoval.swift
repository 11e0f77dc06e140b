import LinuxSystem
import ThinPool

extension DeviceMapper {
    /// Removes a device, and has a little patience with one in use.
    /// - Throws: EBUSY when it is still in use after that.
    static func removePatiently(_ device: String) throws(SystemError) {
        try patiently { () throws(SystemError) in try remove(device) }
    }

    /// A device as it is, once one has been removed that has no table: a process was killed while it made it. The caller
    /// holds the lock that keeps others from making it now.
    /// - Returns: nil when there is none.
    static func infoUnlessUnfinished(_ device: String) throws(SystemError) -> DMInfo? {
        guard let info = try info(device) else { return nil }
        if info.hasTable { return info }
        try remove(device)
        return nil
    }
}

extension ThinPool {
    /// Deletes a thin device: one whose device-mapper name is gone may still be in use for a moment.
    func deletePatiently(_ id: UInt64) throws(SystemError) {
        try patiently { () throws(SystemError) in try delete(id) }
    }
}
