import LinuxSystem

/// What tells a block device from others whatever its name is in this boot: the names of disks may change with every
/// one, and a pool on the wrong disk destroys what is there.
enum DeviceIdentity {
    /// What sysfs has of it: the uuid of a dm device, the file of a loop device, a disk's own number, and of a
    /// partition its disk's and its place. Nil where the device has nothing of its own.
    static func read(_ path: String) throws(SystemError) -> String? {
        let number = try FileStatus(path: path).node
        let directory = "/sys/dev/block/\(number.major):\(number.minor)"
        if let partition = line("\(directory)/partition") {
            // The link leads into the directory of the disk.
            return identity(of: "\(directory)/..").map { "\($0) partition \(partition)" }
        }
        return identity(of: directory)
    }

    private static func identity(of directory: String) -> String? {
        ["dm/uuid", "loop/backing_file", "wwid", "device/wwid", "serial", "device/serial"].lazy
            .compactMap { line("\(directory)/\($0)") }.first
    }

    private static func line(_ file: String) -> String? {
        readText(file)?.split(separator: "\n").first.map(String.init)
    }
}
