import LinuxSystem
import StorageDriver
import ThinPool

extension DeviceMapperDriver: LiveSnapshots {
    /// The layer's device is suspended for as long as the kernel needs for the snapshot, its filesystem frozen: programs
    /// that write wait for so long. A process that is killed meanwhile leaves it so: `reopen` ends that.
    public func snapshot(_ layer: LayerNumber, as copy: LayerNumber) throws(StorageError) {
        guard let info = try stayingInfo(layer), !info.isReadOnly else {
            try create(copy, from: layer, limit: nil)
            return try settle(copy)
        }
        // What still uses a layer that was released keeps it no longer than before.
        defer { if info.isDeferredRemove { try? release(layer) } }
        try attempt("snapshot", objectName(layer)) {
            try PoolHealth.requireRoom(try pool.status(), pool.name)
            try DeviceMapper.suspend(objectName(layer))
            let made = Result {
                try fresh(copy) { () throws(SystemError) in
                    try pool.createSnapshot(copy.rawValue, of: layer.rawValue)
                }
            }
            try DeviceMapper.resume(objectName(layer))
            try made.get()
        }
    }

    /// Nil unless somebody may be writing to the layer's device, which does not go by itself from now on.
    private func stayingInfo(_ layer: LayerNumber) throws(StorageError) -> DMInfo? {
        guard let info = try info(layer), !info.isGoing else { return nil }
        guard info.isDeferredRemove else { return info }
        return try attempt("snapshot", objectName(layer)) {
            try DeviceMapper.cancelDeferredRemove(objectName(layer)) ? info : nil
        }
    }

    /// Replays the journal of a copy where something is in it: a frozen filesystem has nothing there, and one that was
    /// unmounted neither, but of one that a power cut has left nobody knows.
    private func settle(_ copy: LayerNumber) throws(StorageError) {
        do throws(StorageError) {
            try attempt("snapshot", objectName(copy)) { try activateSettled(copy) }
        } catch {
            try? remove(copy)
            throw error
        }
    }
}
