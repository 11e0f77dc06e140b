import Fixtures
import LinuxSystem
import Testing
import ThinPool

/// Loop devices over files of these sizes, as paths, for the time of `body`.
func withDevices(_ sizes: [UInt64], _ body: (String, [String]) throws -> Void) throws {
    try withTemporaryDirectory { directory in
        func make(_ rest: ArraySlice<UInt64>, _ paths: [String]) throws {
            guard let size = rest.first else { return try body(directory, paths) }
            let file = "\(directory)/device-\(paths.count)"
            try makeSparseFile(file, size: size)
            let device = try LoopDevice(file: file)
            try make(rest.dropFirst(), paths + [device.path])
            extendLifetime(device)
        }
        try make(sizes[...], [])
    }
}

/// A thin pool that somebody has made, by name.
func withPool(
    megabytes: UInt64, features: Set<ThinPoolTable.Feature> = [.errorIfNoSpace],
    _ body: (String, ThinPool) throws -> Void
) throws {
    try withDevices([megabytes << 20, 16 << 20]) { directory, devices in
        let pool = ThinPool(name: "lamina-test-\(UInt32.random(in: 0...UInt32.max))")
        let table = ThinPoolTable(
            metadata: devices[1], data: devices[0], blockSectors: 128, lowWaterBlocks: 0, features: features)
        let target = DMTarget(length: megabytes << 11, type: "thin-pool", parameters: table.parameters)
        try DeviceMapper.create(pool.name, uuid: pool.name, [target])
        defer {
            #expect(throws: Never.self) {
                try patiently { () throws(SystemError) in try DeviceMapper.remove(pool.name) }
            }
        }
        try body(directory, pool)
    }
}
