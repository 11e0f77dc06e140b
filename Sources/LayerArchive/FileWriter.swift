import CLinux
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Writes the data of new files and gives them their attributes on a thread of its own, while the next members are
/// read and made. It knows descriptors only: what happens to the names meanwhile is no concern of its.
final class FileWriter {
    private let worker: Worker
    private let thread: pthread_t
    private var isJoined = false

    /// - Parameter name: the tar's, for errors.
    init(named name: String) throws(StorageError) {
        let worker = Worker(named: name)
        do throws(Errno) {
            thread = try startThread { worker.run() }
        } catch {
            throw StorageError(SystemError("start thread", name, error), "apply", name)
        }
        self.worker = worker
    }

    deinit { join() }

    /// What a file has besides its data.
    struct Attributes {
        let path: EntryPath
        /// Nil: what it was made with.
        let owner: (uid: UInt32, gid: UInt32)?
        let entry: TarEntry
    }

    /// Writes bytes of a file; aligned blocks of zeros become holes.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, to file: FileDescriptor, _ path: EntryPath) {
        var done = 0
        while done < bytes.count {
            let job = worker.ring.slotToFill()
            let count = min(bytes.count - done, job.pointee.buffer.count)
            job.pointee.buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[done..<done + count]))
            job.pointee.work = .write(file, path, offset: offset + UInt64(done), count: count)
            worker.ring.filled()
            done += count
        }
    }

    /// Ends a file: its size, owner, mode, extended attributes and time; closes it.
    func finish(_ file: FileDescriptor, _ attributes: Attributes) {
        worker.ring.slotToFill().pointee.work = .finish(file, attributes)
        worker.ring.filled()
    }

    /// Waits until all is done.
    /// - Returns: what could not be kept.
    /// - Throws: what failed first.
    func drain() throws(StorageError) -> [String] {
        join()
        if let failure = worker.failure { throw failure }
        return worker.warnings
    }

    private func join() {
        if isJoined { return }
        isJoined = true
        worker.ring.slotToFill().pointee.work = .end
        worker.ring.filled()
        pthread_join(thread, nil)
    }
}

/// The thread's side; `failure` and `warnings` are the thread's alone until it has ended.
private final class Worker: @unchecked Sendable {
    enum Work {
        case write(FileDescriptor, EntryPath, offset: UInt64, count: Int)
        case finish(FileDescriptor, FileWriter.Attributes)
        case end
    }

    struct Job {
        let buffer: UnsafeMutableRawBufferPointer
        var work = Work.end
    }

    let ring: Ring<Job>
    private(set) var failure: StorageError?
    private(set) var warnings: [String] = []
    private let name: String
    /// All jobs together.
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 20, alignment: 4096)
    private static let jobSize = 1 << 17

    init(named name: String) {
        self.name = name
        let memory = memory
        ring = Ring(
            stride(from: 0, to: memory.count, by: Self.jobSize).map { start in
                Job(buffer: .init(rebasing: memory[start..<start + Self.jobSize]))
            })
    }

    deinit { memory.deallocate() }

    func run() {
        while true {
            let job = ring.slotToEmpty()
            defer { ring.emptied() }
            switch job.pointee.work {
            case .write(let file, let path, let offset, let count):
                let bytes = UnsafeRawBufferPointer(rebasing: job.pointee.buffer[..<count])
                attempt(path) { () throws(SystemError) in try self.write(bytes, at: offset, to: file, path) }
            case .finish(let file, let attributes):
                attempt(attributes.path) { () throws(SystemError) in try self.finish(file, attributes) }
                file.closeQuietly()
            case .end: return
            }
        }
    }

    /// After a failure, nothing more is done.
    private func attempt(_ path: EntryPath, _ body: () throws(SystemError) -> Void) {
        if failure != nil { return }
        do throws(SystemError) {
            try body()
        } catch {
            var named = StorageError(error, "apply", name)
            named.message = "member \"\(path.text)\": \(named.message)"
            failure = named
        }
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, to file: FileDescriptor, _ path: EntryPath
    ) throws(SystemError) {
        /// The end of the block that a position lies in.
        func border(_ position: Int) -> Int {
            min(bytes.count, position + Self.block - Int((offset + UInt64(position)) % UInt64(Self.block)))
        }
        var position = 0
        while position < bytes.count {
            let start = position
            var end = start
            while end < bytes.count, !UnsafeRawBufferPointer(rebasing: bytes[end..<border(end)]).isAllZero {
                end = border(end)
            }
            if end > start {
                let run = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                try file.writeFully(run, at: offset + UInt64(start), to: path.text)
            }
            position = max(end, border(end))
        }
    }

    /// Zeros of this many bytes, aligned, are not written: the block size of the filesystems layers are on.
    private static let block = 4096

    private func finish(_ file: FileDescriptor, _ attributes: FileWriter.Attributes) throws(SystemError) {
        let (entry, path) = (attributes.entry, attributes.path.text)
        // A hole at the end is not there yet.
        if try file.status().size < entry.size {
            try check(ftruncate(file.rawValue, off_t(entry.size)), "truncate", path)
        }
        if let owner = attributes.owner { try check(fchown(file.rawValue, owner.uid, owner.gid), "chown", path) }
        try check(fchmod(file.rawValue, entry.permissions), "chmod", path)
        for (key, value) in entry.layerAttributes {
            let result = fsetxattr(file.rawValue, key, value, value.count, 0)
            if result == -1, key == selinuxLabel, Errno.current == .notSupported {
                warnings.append("\(path): \(key) is not supported here")
            } else {
                try check(result, "set xattr \(key)", path)
            }
        }
        let time = entry.modified
        try check(lam_futimens_modified(file.rawValue, time.seconds, time.nanoseconds), "set times of", path)
    }
}
