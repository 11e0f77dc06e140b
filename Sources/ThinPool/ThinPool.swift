import LinuxSystem
import SystemPackage

/// A thin pool that is active, by its device-mapper name. Messages have been committed to the pool's metadata when
/// they return.
public struct ThinPool: Sendable, Hashable {
    public let name: String

    public init(name: String) { self.name = name }

    /// Thin ids have 24 bits.
    public static let largestID: UInt64 = (1 << 24) - 1
    public static let sectorSize: UInt64 = 512

    /// - Throws: ENXIO where there is no such device; EINVAL where it is no thin pool.
    public func status() throws(SystemError) -> ThinPoolStatus {
        let target = try onlyTarget(try DeviceMapper.status(name))
        guard let status = ThinPoolStatus(parsing: target.parameters) else {
            throw SystemError("read status of", name, .invalidArgument, detail: target.parameters)
        }
        return status
    }

    public func table() throws(SystemError) -> ThinPoolTable {
        let target = try onlyTarget(try DeviceMapper.table(name))
        guard let table = ThinPoolTable(parsing: target.parameters) else {
            throw SystemError("read table of", name, .invalidArgument, detail: target.parameters)
        }
        return table
    }

    /// - Throws: EEXIST when the id is in use.
    public func createThin(_ id: UInt64) throws(SystemError) { try DeviceMapper.message(name, "create_thin \(id)") }

    /// The origin must not be active for writing.
    /// - Throws: EEXIST when the id is in use; ENODATA when the origin is not there.
    public func createSnapshot(_ id: UInt64, of origin: UInt64) throws(SystemError) {
        try DeviceMapper.message(name, "create_snap \(id) \(origin)")
    }

    /// An id that is not there is not an error.
    /// - Throws: EBUSY while the device is active.
    public func delete(_ id: UInt64) throws(SystemError) {
        do throws(SystemError) {
            try DeviceMapper.message(name, "delete \(id)")
        } catch {
            if error.errno != .noData { throw error }
        }
    }

    /// Compare and swap.
    /// - Throws: EINVAL when the pool has another than `old`.
    public func setTransactionID(from old: UInt64, to new: UInt64) throws(SystemError) {
        try DeviceMapper.message(name, "set_transaction_id \(old) \(new)")
    }

    /// Makes a thin device usable as a block device.
    /// - Parameter bytes: its size.
    public func activate(
        _ id: UInt64, as device: String, uuid: String, bytes: UInt64, readOnly: Bool = false
    ) throws(SystemError) {
        let target = DMTarget(
            length: bytes / Self.sectorSize, type: "thin", parameters: "\(DeviceMapper.path(name)) \(id)")
        try DeviceMapper.create(device, uuid: uuid, [target], readOnly: readOnly)
    }

    private func onlyTarget(_ targets: [DMTarget]) throws(SystemError) -> DMTarget {
        guard targets.count == 1, targets[0].type == "thin-pool" else {
            let types = targets.map(\.type).joined(separator: ", ")
            throw SystemError("open pool", name, .invalidArgument, detail: "its target is \(types), not thin-pool")
        }
        return targets[0]
    }
}
