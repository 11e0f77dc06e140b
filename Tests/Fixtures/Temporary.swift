import Glibc
import LinuxSystem

/// A new directory for the time of `body`. Everything mounted below it is unmounted after it, and the directory is
/// removed, also when `body` throws.
public func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    var template = Array("/tmp/lamina-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError.last("mkdtemp", "/tmp") }
    let path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    defer {
        for entry in MountTable.current().entries.reversed() where entry.target.hasPrefix(path + "/") {
            try? unmount(entry.target, lazily: true)
        }
        removeTree(path)
    }
    return try body(path)
}

/// Removes a directory and all below it; does not cross into another mount.
public func removeTree(_ path: String) {
    try? Program("rm")?.run(["-rf", "--one-file-system", "--", path], on: path)
}

/// A filesystem of the given type in a sparse file, mounted at a directory of its own for the time of `body`.
public func withFilesystem<Result>(
    _ type: String, size: UInt64, options: [String] = [], makeArguments: [String] = [],
    _ body: (String) throws -> Result
) throws -> Result {
    try withTemporaryDirectory { directory in
        let image = directory + "/image"
        let target = directory + "/mounted"
        try makeSparseFile(image, size: size)
        try makeDirectory(target)
        guard let make = Program("mkfs.\(type)") else {
            throw SystemError("run", "mkfs.\(type)", .noSuchFileOrDirectory)
        }
        try make.run(["-q"] + makeArguments + [image], on: image)
        do {
            let device = try LoopDevice(file: image)
            try DetachedMount(Mount(type: type, source: device.path, options: options)).attach(to: target)
        }
        defer { try? unmount(target, lazily: true) }
        return try body(target)
    }
}

/// The backing files of loop devices that lie below a directory: none after what must leave none. Other tests have
/// their own at the same time.
public func loopFiles(below directory: String) -> [String] {
    (directoryNames("/sys/block") ?? [])
        .compactMap { readText("/sys/block/\($0)/loop/backing_file")?.split(separator: "\n").first.map(String.init) }
        .filter { $0.hasPrefix(directory + "/") }
}

/// Whether the condition comes true within two seconds: for what the kernel does a moment later.
public func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<200 {
        if try condition() { return true }
        usleep(10000)
    }
    return try condition()
}
