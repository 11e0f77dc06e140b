import LinuxSystem

/// Makes layers out of one kernel mechanism.
///
/// A driver gets numbers, not names. It keeps no records besides what the kernel holds; the store above it does, and
/// holds a lock on each layer that it names in a call, so that no two calls about one layer overlap. Calls about
/// different layers come from any thread and any process at once.
///
/// All calls block, and may be repeated: what is already so is not an error.
public protocol StorageDriver: Sendable {
    /// The name that users say (`"btrfs"`).
    static var name: String { get }

    /// Whether it does what the kernel lets only the superuser of the host do.
    static var needsHostPrivilege: Bool { get }

    /// Judges whether the driver can work on a host, from facts alone: nothing is touched. What holds for every driver
    /// (`HostFacts.refusal`, `HostFacts.caveats`, `needsHostPrivilege`) is the caller's to add.
    static func assess(_ host: HostFacts) -> DriverAssessment

    /// Whether the driver has something in the root at a path, by its files: a part of the root named as the driver
    /// with anything in it. Opens nothing.
    static func hasState(in root: String) -> Bool

    /// Checks the user's wishes against the host and decides what to make; makes nothing.
    /// - Returns: all that `build`, `open` and `destroy` need to find the driver's objects again.
    /// - Throws: `.invalidArgument` for an option that is not this driver's, `.failedPrecondition` and others for a
    ///   device, pool or filesystem that cannot serve.
    static func plan(_ root: RootLocation, _ options: DriverOptions) throws(StorageError) -> DriverConfiguration

    /// Makes what was planned. May find parts of it made by an earlier call that did not end.
    static func build(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError)

    /// Opens what was built, and activates it where a reboot has left it inactive.
    /// - Throws: `.unavailable` or `.failedPrecondition` when the pool or filesystem is gone or broken.
    init(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError)

    /// Removes every object that the driver made for this root, also of a `build` that did not end, and nothing else.
    static func destroy(_ root: RootLocation, _ configuration: DriverConfiguration) throws(StorageError)

    /// Makes a writable layer as a snapshot of `parent`, which is committed, or active and not activated; or an empty
    /// one: a root directory of mode 0755 owned by 0:0 and nothing in it.
    /// - Parameter limit: most bytes the layer may hold, its parent's included; nil for the driver's own limit.
    /// - Throws: `.resourceExhausted` before anything is made when the pool is below its reserve; `.unimplemented`
    ///   for a limit where the driver cannot hold one. Nothing is left of a failed call.
    func create(_ layer: LayerNumber, from parent: LayerNumber?, limit: UInt64?) throws(StorageError)

    /// Puts the layer's data on the disk and makes the layer read-only. When this returns, the data survives a
    /// power cut.
    /// - Throws: `.failedPrecondition` when the layer is mounted.
    func commit(_ layer: LayerNumber) throws(StorageError)

    /// Makes a layer writable again whose commit was interrupted before it was recorded.
    /// - Throws: `.notFound` when it is not there, or not all of it.
    func reopen(_ layer: LayerNumber) throws(StorageError)

    /// Removes the layer. A number that has no object is not an error. Works on a full pool too.
    /// - Throws: `.failedPrecondition` when the layer is in use; then nothing is changed.
    func remove(_ layer: LayerNumber) throws(StorageError)

    /// Activates the layer and says how to mount it. With `readOnly`, nothing can be written through the mount.
    /// Several callers may have a layer activated read-only.
    /// - Throws: `.notFound` when the number has no object.
    func mounts(_ layer: LayerNumber, readOnly: Bool) throws(StorageError) -> [Mount]

    /// Undoes `mounts` when the last mount is gone. What still uses the layer keeps it until it lets go.
    func release(_ layer: LayerNumber) throws(StorageError)

    /// Makes sure that nothing holds the layer, as before a commit or a removal.
    /// - Throws: `.failedPrecondition` with EBUSY when something does.
    func deactivate(_ layer: LayerNumber) throws(StorageError)

    /// The space of a layer, active or committed.
    func usage(_ layer: LayerNumber) throws(StorageError) -> LayerUsage

    /// All layers that the kernel holds for this root, in no order.
    func objects() throws(StorageError) -> [LayerNumber]

    /// What the layer is to the kernel: the subvolume's path, the thin device's name.
    func objectName(_ layer: LayerNumber) -> String

    /// Health, space and facts; must not hang on a broken pool.
    func status() throws(StorageError) -> DriverStatus
}

extension StorageDriver {
    public var name: String { Self.name }
    public static var needsHostPrivilege: Bool { true }

    public static func hasState(in root: String) -> Bool {
        directoryNames("\(root)/\(name)").map { !$0.isEmpty } ?? false
    }
}

/// What a driver needs in order to find its objects again; kept in the root's records.
public typealias DriverConfiguration = [String: String]

/// Where a root is, and its identity.
public struct RootLocation: Sendable, Hashable {
    /// Absolute, links resolved.
    public let path: String
    /// Eight hexadecimal digits, random; part of every name that the kernel sees, so that roots never meet.
    public let id: String

    public init(path: String, id: String) {
        self.path = path
        self.id = id
    }
}

/// What the user wishes of a driver when a root is made.
public struct DriverOptions: Sendable, Equatable {
    public enum Backing: Sendable, Equatable {
        /// A file of this many bytes in the root, used through a loop device.
        case loop(bytes: UInt64)
        /// A thin pool that exists, by its device-mapper name; for zfs, a pool or dataset.
        case pool(String)
        /// Block devices to make a pool of; without `metadata`, both are made from `data`.
        case devices(data: String, metadata: String?)

        /// Of the file; nil where there is none.
        public var loopBytes: UInt64? { if case .loop(let bytes) = self { bytes } else { nil } }
    }

    /// Nil: what the state root itself is on.
    public var backing: Backing?
    /// The filesystem inside the layers, for drivers that make block devices.
    public var filesystem: String?
    /// Take devices that carry a signature, and a directory that has other files.
    public var force: Bool

    public init(backing: Backing? = nil, filesystem: String? = nil, force: Bool = false) {
        self.backing = backing
        self.filesystem = filesystem
        self.force = force
    }

    /// For drivers that take no options of their own.
    /// - Throws: `.invalidArgument` for one of another driver.
    public func requireNone(of driver: String, _ root: RootLocation) throws(StorageError) {
        let option: String? =
            switch backing {
            case .loop: "--loop"
            case .pool: "--pool"
            case .devices: "--data"
            case nil: filesystem == nil ? nil : "--fs"
            }
        if let option {
            throw StorageError(
                .invalidArgument, "init", root.path, "\(option) is not an option of the \(driver) driver")
        }
    }
}
