import Fixtures
import Glibc
import Lamina
import LinuxSystem
import Logging
import Synchronization
import SystemPackage
import Testing
import ThinPool

@testable import Bench

/// The bench on pools and disks of the user: they are given back.
@Suite(.serialized, .enabled(if: TestHost.hasDeviceMapper, "the kernel has no device-mapper"))
struct BenchGroundTests {
    private static let logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }

    private func run(
        _ place: String, _ ground: DriverOptions, driver: String = "devicemapper",
        isStopped: @escaping @Sendable () -> Bool = { false }
    ) throws -> Report.Entry {
        defer { #expect(directoryNames(place)?.filter { $0.hasPrefix("lamina-bench") } == []) }
        let options = BenchRun.Options(plan: .smallest, drivers: [driver], place: place, ground: ground)
        let report = try BenchRun(options, logger: Self.logger, isStopped: isStopped).run()
        return try #require(report.runs.first?.entries.first)
    }

    @Test func aPoolIsGivenBack() throws {
        try withPool(megabytes: 512) { place, pool in
            let entry = try run(place, DriverOptions(backing: .pool(pool.name)))
            #expect(entry.ground == "the pool \(pool.name), layers with ext4")
            #expect(entry.failures == nil && entry.fidelity?.losses == [] && entry.result("create.child") != nil)
            let status = try pool.status()
            #expect(status.transactionID == 0 && status.usedDataBlocks == 0)
            // Another may have it, and this one again.
            #expect(throws: StorageError.self) {
                _ = try run(place, DriverOptions(backing: .pool(pool.name))) { true }
            }
            #expect(try pool.status().transactionID == 0)
        }
    }

    @Test func disksAreGivenBack() throws {
        try withDevices([512 << 20, 16 << 20]) { place, devices in
            let before = try DeviceMapper.names()
            let (data, metadata) = (devices[0], devices[1])
            let ground = DriverOptions(backing: .devices(data: data, metadata: metadata), filesystem: "xfs")
            let entry = try run(place, ground)
            #expect(entry.ground == "a thin pool on \(data), its metadata on \(metadata), layers with xfs")
            #expect(entry.failures == nil && entry.fidelity?.losses == [])
            #expect(try DeviceMapper.names() == before)
            for device in devices { #expect(throws: Never.self) { _ = try BlockDevice(device, exclusively: true) } }
        }
    }

    @Test(.enabled(if: TestHost.hasZFS, "the kernel has no zfs")) func aDatasetIsGivenBack() throws {
        try withZFSPool { pool, place in
            try runZFS("create", "\(pool)/mine")
            let entry = try run(place, DriverOptions(backing: .pool("\(pool)/mine")), driver: "zfs")
            #expect(entry.ground == "the pool \(pool)/mine" && entry.failures == nil)
            #expect(entry.fidelity?.losses == [] && entry.result("create.child") != nil)
            #expect(try zfsDatasets(below: pool) == [pool, "\(pool)/mine"])
        }
    }

    @Test func whatSomebodyHasIsLeftAlone() throws {
        try withDevices([512 << 20]) { place, devices in
            try #require(Program("mkfs.ext4")).run(["-q", devices[0]], on: devices[0])
            func begin() throws -> [UInt8] {
                let device = try FileDescriptor.opening(devices[0])
                defer { device.closeQuietly() }
                return try device.readBytes(1 << 20, at: 0, of: devices[0])
            }
            let before = try begin()
            var ground = DriverOptions(backing: .devices(data: devices[0], metadata: nil))
            let error = #expect(throws: StorageError.self) { _ = try run(place, ground) }
            #expect(error?.kind == .failedPrecondition && error?.hint?.contains("--force") == true)
            #expect(try begin() == before)
            ground.force = true
            // Once the pool is made.
            let asked = Atomic(0)
            let stopped = #expect(throws: StorageError.self) {
                _ = try run(place, ground) { asked.wrappingAdd(1, ordering: .relaxed).newValue > 1 }
            }
            #expect(try stopped?.kind == .aborted && begin() != before)
            #expect(throws: Never.self) { _ = try BlockDevice(devices[0], exclusively: true) }
        }
    }

    @Test func aPoolThatIsTooSmallIsRefusedAndGivenBack() throws {
        try withPool(megabytes: 128) { place, pool in
            let error = #expect(throws: StorageError.self) {
                _ = try run(place, DriverOptions(backing: .pool(pool.name)))
            }
            #expect(error?.kind == .resourceExhausted)
            let status = try pool.status()
            #expect(status.transactionID == 0 && status.usedDataBlocks == 0)
        }
    }
}
