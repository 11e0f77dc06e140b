import CDeviceMapper
import CDeviceMapperLog
import Glibc
import LinuxSystem
import Synchronization
import SystemPackage

/// One line of a dm table: a range of sectors (512 bytes) and what makes it.
public struct DMTarget: Sendable, Equatable {
    public let start: UInt64
    public let length: UInt64
    public let type: String
    public let parameters: String

    public init(start: UInt64 = 0, length: UInt64, type: String, parameters: String) {
        self.start = start
        self.length = length
        self.type = type
        self.parameters = parameters
    }
}

/// What the kernel tells of a dm device.
public struct DMInfo: Sendable, Equatable {
    public let number: DeviceNumber
    public let openCount: Int
    public let isReadOnly: Bool
    /// False of a device whose maker was killed between making it and giving it its table.
    public let hasTable: Bool
    /// Whether it goes when its last user does.
    public let isDeferredRemove: Bool
    /// Whether what is written to it waits.
    public let isSuspended: Bool

    /// Whether nobody uses it, and the kernel is about to remove it.
    public var isGoing: Bool { isDeferredRemove && openCount == 0 }
}

/// device-mapper through libdevmapper. Errors are errnos; what the library would print is dropped. Needs the
/// superuser.
public enum DeviceMapper {
    /// Whether the kernel has device-mapper now. Asked first, for opening its control node would load the module.
    public static var isInKernel: Bool { (readText("/proc/misc") ?? "").contains("device-mapper") }

    /// Of the kernel's interface ("4.48.0").
    public static func version() throws(SystemError) -> String {
        try run(Int(DM_DEVICE_VERSION), "version", "device-mapper") { task in
            var text = [CChar](repeating: 0, count: 64)
            return dm_task_get_driver_version(task, &text, text.count) == 1
                ? String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
        }
    }

    /// Targets that the kernel has now, with their versions.
    public static func targets() throws(SystemError) -> [String: String] {
        try run(Int(DM_DEVICE_LIST_VERSIONS), "list targets", "device-mapper") { task in
            var targets: [String: String] = [:]
            guard var entry = UnsafeMutableRawPointer(dm_task_get_versions(task)) else { return targets }
            while true {
                // struct dm_versions: offset of the next one, three numbers, and the name after them.
                let next = entry.load(as: UInt32.self)
                let numbers = (0..<3).map { String(entry.load(fromByteOffset: 4 + 4 * $0, as: UInt32.self)) }
                let name = String(cString: (entry + 16).assumingMemoryBound(to: CChar.self))
                targets[name] = numbers.joined(separator: ".")
                if next == 0 { return targets }
                entry += Int(next)
            }
        }
    }

    /// Nil when there is no device of that name.
    public static func info(_ name: String) throws(SystemError) -> DMInfo? {
        try run(Int(DM_DEVICE_INFO), "info", name) { task in
            dm_task_set_name(task, name)
        } then: { task in
            var info = dm_info()
            guard dm_task_get_info(task, &info) == 1, info.exists != 0 else { return nil }
            return DMInfo(
                number: DeviceNumber(major: info.major, minor: info.minor), openCount: Int(info.open_count),
                isReadOnly: info.read_only != 0,
                hasTable: info.live_table != 0, isDeferredRemove: info.deferred_remove != 0,
                isSuspended: info.suspended != 0)
        }
    }

    /// Makes a device, loads its table and starts it. Its node is there when this returns; nothing is left of a failed
    /// call.
    public static func create(
        _ name: String, uuid: String, _ targets: [DMTarget], readOnly: Bool = false
    ) throws(SystemError) {
        // In three steps: of libdevmapper's one, a table that the kernel refuses leaves no errno.
        try createWithoutTable(name, uuid: uuid)
        do throws(SystemError) {
            try run(Int(DM_DEVICE_RELOAD), "load table of", name) { task in
                if readOnly { dm_task_set_ro(task) }
                for target in targets {
                    dm_task_add_target(task, target.start, target.length, target.type, target.parameters)
                }
                return dm_task_set_name(task, name)
            } then: { _ in
            }
            try resume(name)
        } catch {
            try? remove(name)
            throw error
        }
    }

    /// Lets writes to a device wait from now on, when those under way have ended. A filesystem on it is frozen first:
    /// all that programs have written is on the device then, and it is as after an unmount. `resume` ends that.
    public static func suspend(_ name: String) throws(SystemError) {
        try run(Int(DM_DEVICE_SUSPEND), "suspend device", name) { task in
            dm_task_set_name(task, name)
        } then: { _ in
        }
    }

    /// A device that is not suspended is no error.
    public static func resume(_ name: String) throws(SystemError) {
        try change(Int(DM_DEVICE_RESUME), "resume device", name) { _ in }
    }

    /// The first step of making a device: it has its name, and neither table nor node.
    public static func createWithoutTable(_ name: String, uuid: String) throws(SystemError) {
        try run(Int(DM_DEVICE_CREATE), "create device", name) { task in
            dm_task_set_name(task, name) & dm_task_set_uuid(task, uuid)
        } then: { _ in
        }
    }

    /// One that is not there is no error: a removal that was deferred may have come true meanwhile.
    public static func remove(_ name: String) throws(SystemError) {
        try remove(name) { _ in }
    }

    /// Lets a device go with its last user, without waiting for that. Once this has returned, or a moment later, one that
    /// nobody uses has no name any more; its target may take some more moments to let go of what it has.
    public static func removeDeferred(_ name: String) throws(SystemError) {
        // Of a device that somebody has open the kernel only notes it; the last close hands it to a thread of the kernel
        // (dm_blk_close in drivers/md/dm.c). Of another it would be done in our time, most of which goes to waiting.
        let user = try? FileDescriptor.opening(path(name), flags: O_NONBLOCK)
        defer { user?.closeQuietly() }
        try remove(name) { task in dm_task_deferred_remove(task) }
    }

    private static func remove(_ name: String, _ prepare: (OpaquePointer) -> Void) throws(SystemError) {
        do throws(SystemError) {
            try change(Int(DM_DEVICE_REMOVE), "remove device", name, prepare)
        } catch {
            if error.errno != .noSuchAddressOrDevice { throw error }
        }
    }

    /// Takes back a removal that was deferred.
    /// - Returns: false when it has come true.
    public static func cancelDeferredRemove(_ name: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try message(name, "@cancel_deferred_remove")
        } catch {
            // EBUSY: the kernel has begun with it.
            guard error.errno == .noSuchAddressOrDevice || error.errno == .resourceBusy else { throw error }
            return false
        }
        // The library takes the node away when the removal is asked for, not when it comes true.
        try run(Int(DM_DEVICE_MKNODES), "make node of", name) { task in
            dm_task_set_name(task, name)
        } then: { _ in
            dm_task_update_nodes()
        }
        return true
    }

    /// Sends a message to the target at sector 0.
    public static func message(_ name: String, _ text: String) throws(SystemError) {
        try run(Int(DM_DEVICE_TARGET_MSG), "message \"\(text)\" to", name) { task in
            dm_task_set_name(task, name)
            dm_task_set_sector(task, 0)
            return dm_task_set_message(task, text)
        } then: { _ in
        }
    }

    /// The table that is in force.
    public static func table(_ name: String) throws(SystemError) -> [DMTarget] {
        try targets(Int(DM_DEVICE_TABLE), "table", name)
    }

    /// The status of each target, in `parameters`; never waits for the disk.
    public static func status(_ name: String) throws(SystemError) -> [DMTarget] {
        try targets(Int(DM_DEVICE_STATUS), "status", name)
    }

    /// Names of all devices.
    public static func names() throws(SystemError) -> [String] {
        try run(Int(DM_DEVICE_LIST), "list devices", "device-mapper") { task in
            var names: [String] = []
            guard var entry = UnsafeMutableRawPointer(dm_task_get_names(task)) else { return names }
            while true {
                // struct dm_names: the device, 0 where there is none; offset of the next one; the name.
                if entry.load(as: UInt64.self) == 0 { return names }
                let next = entry.load(fromByteOffset: 8, as: UInt32.self)
                names.append(String(cString: (entry + 12).assumingMemoryBound(to: CChar.self)))
                if next == 0 { return names }
                entry += Int(next)
            }
        }
    }

    public static func path(_ name: String) -> String { "/dev/mapper/\(name)" }

    // MARK: Tasks

    /// Guards libdevmapper, whose list of nodes to be made and other state are global. Held for one task, and for
    /// udev's answer to it.
    private static let library = Mutex(())

    /// Milliseconds that udev has for a node. It takes some ten; one of another IPC namespace never answers.
    private static let udevPatience = 10_000

    /// Whether a udev daemon makes nodes; else libdevmapper is told to make them itself.
    private static let hasUdev: Bool = {
        lam_dm_set_log_sink(nil)
        dm_set_dev_dir("/dev")
        if exists("/run/udev/control") { return true }
        setenv("DM_DISABLE_UDEV", "1", 1)
        return false
    }()

    private static func targets(_ type: Int, _ operation: String, _ name: String) throws(SystemError) -> [DMTarget] {
        try run(type, operation, name) { task in
            dm_task_no_flush(task)
            return dm_task_set_name(task, name)
        } then: { task in
            var targets: [DMTarget] = []
            var next: UnsafeMutableRawPointer?
            repeat {
                var (start, length): (UInt64, UInt64) = (0, 0)
                var (kind, parameters): (UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?) = (nil, nil)
                next = dm_get_next_target(task, next, &start, &length, &kind, &parameters)
                if let kind {
                    targets.append(
                        DMTarget(
                            start: start, length: length, type: String(cString: kind),
                            parameters: parameters.map { String(cString: $0) } ?? ""))
                }
            } while next != nil
            return targets
        }
    }

    /// A task that changes which nodes there are: waits until they are as they should be.
    private static func change(
        _ type: Int, _ operation: String, _ name: String, _ prepare: (OpaquePointer) -> Void
    ) throws(SystemError) {
        var cookie: UInt32 = 0
        try run(type, operation, name) { task in
            dm_task_set_name(task, name)
            prepare(task)
            // No rules but those that make the node: nobody is to open the device (linux/dm-ioctl's udev flags).
            let flags = UInt16(
                DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG
                    | DM_UDEV_DISABLE_OTHER_RULES_FLAG)
            return hasUdev ? dm_task_set_cookie(task, &cookie, flags) : 1
        } then: { _ in
        } finally: {
            if hasUdev { waitForUdev(cookie) } else { dm_task_update_nodes() }
        }
    }

    /// Waits until udev has answered. When it does not, the library makes the nodes, from then on without asking: the
    /// cookies are 0 then.
    private static func waitForUdev(_ cookie: UInt32) {
        if cookie == 0 {
            dm_task_update_nodes()
            return
        }
        for _ in 0..<udevPatience {
            var isReady: Int32 = 0
            guard dm_udev_wait_immediate(cookie, &isReady) == 1, isReady == 0 else { return }
            usleep(1000)
        }
        // In udev's place: what waits on the cookie is set free, and the cookie goes.
        dm_udev_complete(cookie)
        dm_udev_wait(cookie)
        dm_udev_set_sync_support(0)
    }

    private static func run<Result>(
        _ type: Int, _ operation: String, _ name: String, _ prepare: (OpaquePointer) -> Int32 = { _ in 1 },
        then read: (OpaquePointer) -> Result, finally: () -> Void = {}
    ) throws(SystemError) -> Result {
        _ = hasUdev
        return try library.withLock { _ throws(SystemError) in
            guard let task = dm_task_create(Int32(type)) else {
                // The library remembers that there is no device-mapper, and then leaves errno alone.
                throw SystemError(operation, name, .operationNotSupportedByDevice)
            }
            defer { dm_task_destroy(task) }
            guard prepare(task) == 1 else { throw SystemError(operation, name, .invalidArgument) }
            let succeeded = dm_task_run(task) == 1
            let errno = dm_task_get_errno(task)
            finally()
            guard succeeded else {
                throw SystemError(operation, name, errno == 0 ? .ioError : Errno(rawValue: errno))
            }
            return read(task)
        }
    }
}
