import CLinux
import Glibc
import SystemPackage

/// A loop device over a file (loop(4)). It is set up with autoclear: the kernel frees it when its last user (a
/// mount, a dm device, an open descriptor) lets go, so that a killed process leaves none.
public struct LoopDevice: ~Copyable {
    public let path: String
    /// Keeps the device from being freed while this value lives.
    private let descriptor: FileDescriptor

    deinit { descriptor.closeQuietly() }

    /// Sets up a loop device over `file`, or takes the one that already has it.
    ///
    /// The caller holds a lock that keeps others from doing the same for this file.
    public init(file: String) throws(SystemError) {
        if let device = try Self.attached(to: file) {
            (path, descriptor) = device
        } else {
            (path, descriptor) = try Self.attach(file)
        }
    }

    private static func attached(to file: String) throws(SystemError) -> (path: String, descriptor: FileDescriptor)? {
        guard let path = device(backing: file) else { return nil }
        return (path, try .opening(path, .readWrite))
    }

    private static func attach(_ file: String) throws(SystemError) -> (path: String, descriptor: FileDescriptor) {
        let backing = try FileDescriptor.opening(file, .readWrite)
        defer { backing.closeQuietly() }
        let control = try FileDescriptor.opening("/dev/loop-control", .readWrite)
        defer { control.closeQuietly() }
        while true {
            let index = try check(ioctl(control.rawValue, UInt(LOOP_CTL_GET_FREE)), "loop get free", file)
            let path = "/dev/loop\(index)"
            if !exists(path) {
                // Without udev or devtmpfs nobody makes the node; 7 is the loop driver's major number.
                try check(mknod(path, S_IFBLK | 0o600, gnu_dev_makedev(7, UInt32(index))), "mknod", path)
            }
            let device = try FileDescriptor.opening(path, .readWrite)
            var configuration = loop_config()
            configuration.fd = UInt32(backing.rawValue)
            configuration.info.lo_flags = UInt32(LO_FLAGS_AUTOCLEAR)
            withUnsafeMutableBytes(of: &configuration.info.lo_file_name) { name in
                name.copyBytes(from: file.utf8.prefix(name.count - 1))
            }
            if ioctl(device.rawValue, UInt(LAM_LOOP_CONFIGURE), &configuration) == 0 { return (path, device) }
            let error = SystemError.last("loop configure", file)
            device.closeQuietly()
            // Somebody else took the free device between the two calls: ask again.
            guard error.errno == .resourceBusy else { throw error }
        }
    }

    /// The loop device whose backing file is `file`, by device and inode; nil when there is none.
    public static func device(backing file: String) -> String? {
        guard let wanted = try? FileStatus(path: file) else { return nil }
        for name in directoryNames("/sys/block") ?? [] where name.hasPrefix("loop") {
            // Opening a device would keep it from being freed meanwhile: only those whose file has the same last name.
            guard let backing = readText("/sys/block/\(name)/loop/backing_file"),
                FilePath(String(backing.dropLast())).lastComponent == FilePath(file).lastComponent,
                let device = try? FileDescriptor.opening("/dev/\(name)")
            else { continue }
            let matches = device.closing { device in
                var info = loop_info64()
                return ioctl(device.rawValue, UInt(LOOP_GET_STATUS64), &info) == 0
                    && info.lo_inode == wanted.inode && info.lo_device == encoded(wanted.device)
            }
            if matches { return "/dev/\(name)" }
        }
        return nil
    }

    /// The kernel reports the backing device as `huge_encode_dev` (include/linux/kdev_t.h) makes it.
    private static func encoded(_ device: DeviceNumber) -> UInt64 {
        UInt64(device.minor & 0xff) | UInt64(device.major & 0xfff) << 8 | UInt64(device.minor & ~0xff) << 12
    }
}

/// Makes a sparse file of `size` bytes, readable by its owner only, or makes an existing one longer.
public func makeSparseFile(_ path: String, size: UInt64) throws(SystemError) {
    let fd = try FileDescriptor.opening(path, .readWrite, flags: O_CREAT)
    defer { fd.closeQuietly() }
    try check(ftruncate(fd.rawValue, off_t(size)), "truncate", path)
    try fd.synchronize()
}
