import CBtrfs
import Glibc
import LinuxSystem
import SystemPackage

/// What a command of a send stream does to an entry. Paths are relative to the subvolume's root, empty for the root
/// itself, and as they are at this point of the stream.
enum SendCommand: Equatable {
    /// Makes an entry.
    case make([UInt8])
    case rename([UInt8], to: [UInt8])
    /// Gives the entry at `of` one name more.
    case link([UInt8], of: [UInt8])
    case remove([UInt8])
    /// Does anything else to an entry: contents, attributes, times.
    case change([UInt8])
}

/// Reads the commands of a send stream (btrfs documentation, "Send stream format", version 1) up to the one that ends
/// it, through libbtrfs's reader. Nothing else in Lamina knows of that reader.
/// - Parameter body: its error ends the reading, and is thrown.
/// - Throws: EINVAL for a stream that is damaged, ends before its end, or has another version.
func readSendStream(
    _ stream: FileDescriptor, _ body: (SendCommand) throws(SystemError) -> Void
) throws(SystemError) {
    let result = withoutActuallyEscaping(body) { body in
        let consumer = Consumer(body)
        var operations = Consumer.operations
        let code = withExtendedLifetime(consumer) {
            // It ends at the first error, and says 1 only when it has come to the end command.
            btrfs_read_and_process_send_stream(
                stream.rawValue, &operations, Unmanaged.passUnretained(consumer).toOpaque(), 1, 1)
        }
        return (error: consumer.error, isWhole: code == 1)
    }
    if let error = result.error { throw error }
    if !result.isWhole { throw SystemError("read", "send stream", .invalidArgument) }
}

/// Who is told of each command; the reader knows it as its `user`.
private final class Consumer {
    private let body: (SendCommand) throws(SystemError) -> Void
    private(set) var error: SystemError?

    init(_ body: @escaping (SendCommand) throws(SystemError) -> Void) { self.body = body }

    /// - Returns: what a callback returns: a negative number ends the reading.
    static func tell(_ user: UnsafeMutableRawPointer?, _ command: SendCommand) -> Int32 {
        let consumer = Unmanaged<Consumer>.fromOpaque(user!).takeUnretainedValue()
        do throws(SystemError) {
            try consumer.body(command)
            return 0
        } catch {
            consumer.error = error
            return -error.errno.rawValue
        }
    }

    static let operations = btrfs_send_ops(
        // The two that begin a stream name no entry.
        subvol: { _, _, _, _ in 0 },
        snapshot: { _, _, _, _, _, _ in 0 },
        mkfile: { path, user in tell(user, .make(bytes(path))) },
        mkdir: { path, user in tell(user, .make(bytes(path))) },
        mknod: { path, _, _, user in tell(user, .make(bytes(path))) },
        mkfifo: { path, user in tell(user, .make(bytes(path))) },
        mksock: { path, user in tell(user, .make(bytes(path))) },
        symlink: { path, _, user in tell(user, .make(bytes(path))) },
        rename: { from, to, user in tell(user, .rename(bytes(from), to: bytes(to))) },
        link: { path, existing, user in tell(user, .link(bytes(path), of: bytes(existing))) },
        unlink: { path, user in tell(user, .remove(bytes(path))) },
        rmdir: { path, user in tell(user, .remove(bytes(path))) },
        write: { path, _, _, _, user in tell(user, .change(bytes(path))) },
        clone: { path, _, _, _, _, _, _, user in tell(user, .change(bytes(path))) },
        set_xattr: { path, _, _, _, user in tell(user, .change(bytes(path))) },
        remove_xattr: { path, _, user in tell(user, .change(bytes(path))) },
        truncate: { path, _, user in tell(user, .change(bytes(path))) },
        chmod: { path, _, user in tell(user, .change(bytes(path))) },
        chown: { path, _, _, user in tell(user, .change(bytes(path))) },
        utimes: { path, _, _, _, user in tell(user, .change(bytes(path))) },
        update_extent: { path, _, _, user in tell(user, .change(bytes(path))) })

    private static func bytes(_ path: UnsafePointer<CChar>?) -> [UInt8] {
        path.map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } ?? []
    }
}
