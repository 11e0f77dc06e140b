import Glibc
import HostProbe
import LayerStore
import LinuxSystem
import Logging
import StorageDriver
import SystemPackage

/// A driver with a root of its own, for the time of a bench.
final class Contender {
    let choice: DriverChoice
    /// What it stands on, in words.
    let ground: String
    private(set) var recorder = Recorder()
    private(set) var failures: [Report.Failure] = []
    private let directory: String
    /// The file with a filesystem that was made for the driver; nil where there is none.
    private let image: String?
    private var openStore: LayerStore?

    var driver: String { choice.driver }
    var rootPath: String { directory + "/root" }
    /// There from the end of `init` until it is taken down.
    var store: LayerStore { openStore! }

    /// Makes the root. What a failed call has made is gone.
    /// - Parameters:
    ///   - place: a directory that is the bench's alone.
    ///   - wanted: what the user wants the drivers to stand on.
    init(
        _ choice: DriverChoice, in place: String, _ wanted: DriverOptions, logger: Logger
    ) throws(StorageError) {
        self.choice = choice
        directory = "\(place)/\(choice.driver)"
        var options = DriverOptions()
        let filesystem = wanted.filesystem ?? "ext4"
        let fileBytes = wanted.backing?.loopBytes ?? 0
        let size = "\(ByteCount(fileBytes))"
        switch choice.ground {
        case .place:
            image = nil
            let type = (try? FilesystemStatus(path: place))?.typeName ?? "?"
            ground = "the \(type) of \(place.split(separator: "/").dropLast().map { "/" + $0 }.joined())"
        case .ownFile:
            image = nil
            options.backing = wanted.backing
            if choice.driver == "devicemapper" { options.filesystem = filesystem }
            ground =
                choice.driver == "devicemapper"
                ? "a thin pool in files of \(size), layers with \(filesystem)" : "a file of \(size)"
        case .given:
            image = nil
            options = wanted
            ground = Self.words(wanted.backing) + (choice.driver == "zfs" ? "" : ", layers with \(filesystem)")
        case .filesystemInFile:
            image = "\(place)/\(choice.driver).img"
            ground = "\(filesystem) in a file of \(size)"
        }
        do throws(StorageError) {
            try attempt("bench", directory) { try makeDirectory(directory) }
            if let image { try mountImage(image, filesystem, bytes: fileBytes) }
            let type = try DriverRegistry.driver(named: choice.driver)
            try Root.initialize(
                path: rootPath, driver: type, options: options, drivers: DriverRegistry.drivers, logger: logger)
            openStore = try LayerStore(path: rootPath, drivers: DriverRegistry.drivers, logger: logger)
        } catch {
            try? takeDown()
            throw error
        }
    }

    private static func words(_ backing: DriverOptions.Backing?) -> String {
        switch backing {
        case .pool(let name): "the pool \(name)"
        case .devices(let data, let metadata?): "a thin pool on \(data), its metadata on \(metadata)"
        case .devices(let data, nil): "a thin pool on \(data)"
        case .loop, nil: ""
        }
    }

    private func mountImage(_ image: String, _ filesystem: String, bytes: UInt64) throws(StorageError) {
        guard let make = Program("mkfs.\(filesystem)") else {
            throw StorageError(
                .failedPrecondition, "bench", driver, "mkfs.\(filesystem) is not installed",
                hint: "apt install \(filesystem == "xfs" ? "xfsprogs" : "e2fsprogs")")
        }
        try attempt("bench", image) {
            try makeSparseFile(image, size: bytes)
            // What ext4 would else write in the background, while it is measured.
            let all = filesystem == "ext4" ? ["-E", "lazy_itable_init=0,lazy_journal_init=0"] : []
            try make.run(["-q"] + all + [image], on: image)
            let device = try LoopDevice(file: image)
            try DetachedMount(Mount(type: filesystem, source: device.path, options: ["discard"])).attach(to: directory)
        }
    }

    /// Takes down all that was made. May be called again when it has failed.
    func takeDown() throws(StorageError) {
        openStore = nil
        if exists(rootPath + "/lamina.db") {
            try Root.deinitialize(path: rootPath, force: true, driver: nil, drivers: DriverRegistry.drivers)
        }
        try attempt("take down", directory) {
            if let image, exists(image) {
                if (try? FileStatus(path: directory))?.isMountRoot == true { try LinuxSystem.unmount(directory) }
                unlink(image)
            }
            if exists(directory) { try check(rmdir(directory), "rmdir", directory) }
        }
    }

    // MARK: Layers

    func create(_ name: String, parent: String? = nil) throws {
        try store.create(LayerName(name), parent: parent.map { name throws(StorageError) in try LayerName(name) })
    }

    func commit(_ name: String) throws { try store.commit(LayerName(name)) }
    func view(_ name: String, of parent: String) throws { try store.view(LayerName(name), parent: LayerName(parent)) }
    /// Also waits until it is gone: what is measured next is not to meet that.
    func remove(_ name: String) throws {
        try store.remove(LayerName(name))
        store.finishRemovals()
    }

    /// The same; what is timed is what its caller waits for by itself.
    func remove(_ name: String, timedAs measurement: String, by recorder: inout Recorder) throws {
        try recorder.time(measurement) { try store.remove(LayerName(name)) }
        store.finishRemovals()
    }
    func mount(_ name: String) throws -> String { try store.mount(LayerName(name)).target }
    func unmount(_ name: String) throws { try store.unmount(LayerName(name)) }

    /// Runs `body` on the root directory of a layer, mounted where the layer itself has its place.
    func withMounted<Result>(_ name: String, _ body: (FileDescriptor) throws -> Result) throws -> Result {
        let target = try mount(name)
        let result: Result
        do {
            let root = try FileDescriptor.openingDirectory(target)
            defer { root.closeQuietly() }
            result = try body(root)
        } catch {
            try? unmount(name)
            throw error
        }
        try unmount(name)
        return result
    }

    /// Makes a committed layer that `body` fills.
    func make(_ name: String, parent: String? = nil, _ body: (FileDescriptor) throws -> Void) throws {
        try create(name, parent: parent)
        try withMounted(name, body)
        try commit(name)
    }

    /// Removes all layers.
    func clear() throws {
        // Children are younger than their parents.
        for layer in try store.layers().reversed() {
            if try !store.mountsInForce(of: layer).isEmpty { try store.unmount(layer.name) }
            try store.remove(layer.name)
        }
        store.finishRemovals()
    }

    // MARK: Equal beginnings

    /// Has all data written that earlier work has left, so that none of it is written while others are measured.
    func settle() throws {
        let root = try FileDescriptor.openingDirectory(nearestDirectory(rootPath + "/" + driver))
        defer { root.closeQuietly() }
        try root.synchronizeFilesystem()
    }

    /// Waits until so many bytes are free: some drivers give back what was removed a while later.
    func awaitRoom(_ bytes: UInt64, _ bench: Bench) throws {
        let start = Clock.nanoseconds
        while try store.driver.status().space.freeBytes < bytes,
            Clock.nanoseconds - start < bench.plan.spacePatience * 1_000_000_000
        {
            try bench.checkpoint()
            usleep(250_000)
            try settle()
        }
    }

    /// Has the kernel forget what it has read of the files that devices are in.
    func forgetFiles() {
        if let image { forget(image) }
        for place in [rootPath, rootPath + "/" + driver] {
            for name in directoryNames(place) ?? [] where name.hasSuffix(".img") { forget("\(place)/\(name)") }
        }
    }

    private func forget(_ path: String) {
        guard let file = try? FileDescriptor.opening(path) else { return }
        defer { file.closeQuietly() }
        fdatasync(file.rawValue)
        posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_DONTNEED)
    }

    // MARK: Results

    /// Runs a work that may fail, which takes this driver out of it.
    /// - Returns: whether it did not fail.
    /// - Throws: `.aborted` when the user has stopped it.
    func run(_ work: any Work, _ body: (inout Recorder) throws -> Void) throws(StorageError) -> Bool {
        do {
            try body(&recorder)
            return true
        } catch let error as StorageError where error.kind == .aborted {
            throw error
        } catch {
            recorder.isWarmUp = false
            failures.append(Report.Failure(measurement: work.measurement, message: "\(error)"))
            return false
        }
    }

    func entry(_ fidelity: Report.Fidelity?) -> Report.Entry {
        let isScored = fidelity.map { $0.losses.isEmpty } ?? true
        return Report.Entry(
            kind: .driver, name: driver, ground: ground, fidelity: fidelity,
            results: isScored ? recorder.results() : [], failures: failures.isEmpty ? nil : failures)
    }
}
