import Fixtures
import Glibc
import Lamina
import LinuxSystem
import Logging
import Synchronization
import SystemPackage
import Testing

@testable import LayerStore

struct SweeperTests {
    /// Of two that wait at once, none goes on before all is gone.
    @Test func whoeverWaitsWaitsForAll() throws {
        try withSweeper(pause: 20_000) { sweeper, driver, layout in
            for number in 1...10 { try leave(LayerNumber(UInt64(number)), to: sweeper, layout) }
            let early = concurrently(2) { _ in
                let wasBusy = sweeper.finish()
                #expect(wasBusy)
                #expect(driver.removed.withLock { $0.count } == 10)
            }
            #expect(early == [])
            #expect(!sweeper.finish())
            #expect(driver.removed.withLock { $0 } == (1...10).map { LayerNumber($0) })
        }
    }

    /// Several that remove faster than the thread does have to wait, all of them: each that waits costs a descriptor.
    @Test func noMoreThanTheMostWait() throws {
        try withSweeper(pause: 2_000) { sweeper, driver, layout in
            let mostMarks = Mutex(0)
            let failures = concurrently(4) { thread in
                for index in 0..<100 {
                    try leave(LayerNumber(UInt64(thread * 100 + index + 1)), to: sweeper, layout)
                    let marks = directoryNames(layout.inFlight)?.count ?? 0
                    mostMarks.withLock { $0 = max($0, marks) }
                }
            }
            #expect(failures == [])
            sweeper.finish()
            #expect(driver.removed.withLock { Set($0).count } == 400)
            #expect(directoryNames(layout.inFlight) == [])
            // Those that wait, the one that is being removed, and those of the four threads.
            #expect(mostMarks.withLock { $0 } <= 64 + 1 + 4)
        }
    }

    /// What is being removed is room for what is made, copies as well.
    @Test func whatIsBeingRemovedMakesRoom() throws {
        try withTemporaryDirectory { directory in
            let (root, drivers) = (directory + "/root", [FamilyDriver.self])
            try Root.initialize(path: root, driver: FamilyDriver.self, options: DriverOptions(), drivers: drivers)
            do {
                let store = try LayerStore(path: root, drivers: drivers)
                let (first, second, third) = (try LayerName("first"), try LayerName("second"), try LayerName("third"))
                for name in [first, second] { try store.create(name) }
                let full = #expect(throws: StorageError.self) { try store.create(third) }
                #expect(full?.kind == .resourceExhausted)
                try store.remove(second)
                try store.create(third)
                try store.remove(third)
                let nothing = try FileDescriptor.opening("/dev/null")
                defer { nothing.closeQuietly() }
                let made = #expect(throws: StorageError.self) {
                    try store.apply(first, from: nothing, named: "nothing")
                }
                #expect(made?.kind == .unimplemented, "the copy was made, and this driver mounts nothing: \(made!)")
            }
            try Root.deinitialize(path: root, force: true, driver: nil, drivers: drivers)
        }
    }

    private func leave(_ number: LayerNumber, to sweeper: Sweeper, _ layout: RootLayout) throws {
        try layout.withLock(number, .exclusive, "remove") { () throws(StorageError) in
            sweeper.remove(number, try InFlight(number, in: layout))
        }
    }

    private func withSweeper(
        pause: UInt32, _ body: (Sweeper, FamilyDriver, RootLayout) throws -> Void
    ) throws {
        try withTemporaryDirectory { directory in
            let layout = RootLayout(path: directory)
            try makeDirectory(layout.inFlight)
            let driver = FamilyDriver(pause: pause)
            try body(Sweeper(driver: driver, layout: layout, logger: Logger(label: "test")), driver, layout)
        }
    }
}

struct RecoveryTests {
    /// A kill, or a power cut, in the middle of the removal of a whole family: none of it can go before its children.
    @Test(arguments: ["boot", "another"]) func childrenAreRemovedBeforeTheirParents(_ lastBoot: String) throws {
        let numbers = (1...20).map { LayerNumber($0) }
        let lastBoot = lastBoot == "boot" ? currentBootID() : lastBoot
        try withRecovery(of: numbers, lastBoot: lastBoot) { recovery, driver in
            let layout = recovery.layout
            for number in numbers { _ = try InFlight(number, in: layout) }
            let done = try recovery.run(lastBoot: lastBoot)
            #expect(Set(done.map(\.number)) == Set(numbers))
            #expect(try driver.objects() == [])
            #expect(directoryNames(layout.inFlight) == [])
        }
    }

    /// Of two processes that open a root at once after a boot, one may have mounted layers before the other looks.
    @Test(arguments: [true, false]) func mountsOfThisBootStay(_ anotherWasFaster: Bool) throws {
        let number = LayerNumber(1)
        let recorded = anotherWasFaster ? currentBootID() : "another"
        try withRecovery(of: [number], lastBoot: recorded) { recovery, _ in
            try recovery.records.write("make", "layer") { db in
                let layer = Layer(
                    number: number, name: try LayerName("a"), kind: .committed, parent: nil, parentNumber: nil,
                    createdAt: .now, updatedAt: .now, labels: [:], sizeLimit: nil, diffID: nil)
                try LayerRecords.insert(layer, in: db)
                _ = try MountRecord.insert(layer, target: nil, readOnly: true, in: db)
            }
            _ = try recovery.run(lastBoot: "another")
            let mounts = try recovery.records.read("read", "mounts") { db in
                try MountRecord.all(ofLayer: number, in: db)
            }
            #expect(mounts.count == (anotherWasFaster ? 1 : 0))
        }
    }

    /// A root in whose driver is a chain of layers, none of them recorded.
    private func withRecovery(
        of chain: [LayerNumber], lastBoot: String, _ body: (RecoveryRun, FamilyDriver) throws -> Void
    ) throws {
        try withTemporaryDirectory { directory in
            let layout = RootLayout(path: directory)
            try makeDirectory(layout.inFlight)
            let records = try Records(file: layout.database)
            try records.write("make", "root") { db in
                try RootRecord(
                    id: "7e570001", driver: FamilyDriver.name, configuration: [:], isBuilt: true, ownsDirectory: true,
                    bootID: lastBoot
                ).insert(db)
                try db.execute(sql: "UPDATE root SET leasedBelow = 100")
            }
            let driver = FamilyDriver(chain: chain)
            try body(
                RecoveryRun(records: records, layout: layout, driver: driver, logger: Logger(label: "test")), driver)
        }
    }
}

/// A driver whose layers are each the parent of the next, of which none can be removed while it has a child.
private final class FamilyDriver: StorageDriver {
    static let name = "family"
    /// Numbers in the order in which they were removed.
    let removed = Mutex<[LayerNumber]>([])
    /// Microseconds that a removal takes.
    private let pause: UInt32
    /// How many there may be.
    private let room: Int
    /// What there is, parents first.
    private let chain: Mutex<[LayerNumber]>

    init(chain: [LayerNumber] = [], pause: UInt32 = 0, room: Int = .max) {
        self.chain = Mutex(chain)
        self.pause = pause
        self.room = room
    }

    /// A slow one with room for two.
    convenience init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {
        self.init(pause: 50_000, room: 2)
    }

    static func assess(_ host: HostFacts) -> DriverAssessment {
        DriverAssessment(driver: name, status: .unavailable, reasons: [])
    }
    static func plan(_ root: RootLocation, _ options: DriverOptions) throws(StorageError) -> DriverConfiguration { [:] }
    static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {}
    static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError) {}

    func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError) {
        try chain.withLock { chain throws(StorageError) in
            guard chain.count < room else {
                throw StorageError(.resourceExhausted, "create", objectName(layer), "full")
            }
            chain.append(layer)
        }
    }
    func commit(_ layer: LayerNumber) throws(StorageError) {}
    func reopen(_ layer: LayerNumber) throws(StorageError) {}
    func remove(_ layer: LayerNumber) throws(StorageError) {
        usleep(pause)
        try chain.withLock { chain throws(StorageError) in
            guard let place = chain.firstIndex(of: layer) else { return }
            if place != chain.endIndex - 1 {
                throw StorageError(.failedPrecondition, "remove", objectName(layer), "it has a child")
            }
            chain.removeLast()
        }
        removed.withLock { $0.append(layer) }
    }
    func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount] { [] }
    func release(_ layer: LayerNumber) throws(StorageError) {}
    func deactivate(_ layer: LayerNumber) throws(StorageError) {}
    func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage {
        LayerUsage(exclusiveBytes: 0, referencedBytes: 0)
    }
    func objects() throws(StorageError) -> [LayerNumber] { chain.withLock { $0.shuffled() } }
    func objectName(_ layer: LayerNumber) -> String { "\(layer)" }
    func status() throws(StorageError) -> DriverStatus {
        DriverStatus(health: .ok, space: DriverSpace(totalBytes: 0, usedBytes: 0, freeBytes: 0), details: [])
    }
}
