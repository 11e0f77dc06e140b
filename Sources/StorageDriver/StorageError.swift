import LinuxSystem
import SystemPackage

/// An operation on layers that failed. Decisions are taken on `kind` and `errno`; the texts are for people.
public struct StorageError: Error, Sendable, Equatable {
    /// The kinds of gRPC that a storage engine needs.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        case notFound, alreadyExists, invalidArgument, failedPrecondition, resourceExhausted, permissionDenied
        case unavailable, unimplemented, dataLoss, aborted, `internal`
    }

    public var kind: Kind
    /// What was being done (`"create"`, `"open pool"`).
    public var operation: String
    /// What it was done to: the layer's name, the device, the file.
    public var object: String
    public var errno: Errno?
    /// What is wrong, in a few words.
    public var message: String
    /// What to do about it, where something can be done.
    public var hint: String?

    public init(
        _ kind: Kind, _ operation: String, _ object: String, _ message: String, errno: Errno? = nil,
        hint: String? = nil
    ) {
        self.kind = kind
        self.operation = operation
        self.object = object
        self.errno = errno
        self.message = message
        self.hint = hint
    }

    /// A tree that is mounted and must not be.
    public static func mounted(_ operation: String, _ object: String, at target: String) -> StorageError {
        StorageError(
            .failedPrecondition, operation, object, "it is mounted at \(target)", errno: .resourceBusy,
            hint: "umount \(target)")
    }

    /// A failed system call seen as a failure of `operation` on `object`.
    public init(_ error: SystemError, _ operation: String, _ object: String, hint: String? = nil) {
        let call = error.object == object ? error.operation : "\(error.operation) \(error.object)"
        let message = error.detail.map { "\(call): \($0)" } ?? "\(call): \(error.errno)"
        self.init(Kind(error.errno), operation, object, message, errno: error.errno, hint: hint)
    }
}

extension StorageError: CustomStringConvertible {
    public var description: String { "\(operation) \(object): \(message)" }
}

extension StorageError.Kind {
    /// The kind that an errno most often means to a storage engine.
    public init(_ errno: Errno) {
        switch errno {
        case .noSuchFileOrDirectory, .noSuchAddressOrDevice, .operationNotSupportedByDevice, .noData: self = .notFound
        case .fileExists: self = .alreadyExists
        case .invalidArgument, .fileNameTooLong, .notBlockDevice: self = .invalidArgument
        case .resourceBusy, .directoryNotEmpty, .readOnlyFileSystem: self = .failedPrecondition
        case .noSpace, .diskQuotaExceeded, .tooManyOpenFiles, .noMemory: self = .resourceExhausted
        case .permissionDenied, .notPermitted: self = .permissionDenied
        case .notSupported, .noFunction, .inappropriateIOCTLForDevice: self = .unimplemented
        case .ioError: self = .dataLoss
        case .wouldBlock: self = .unavailable
        default: self = .internal
        }
    }
}

/// Runs `body` as `operation` on `object`: a failed system call in it is thrown as a `StorageError` that names them.
public func attempt<Result>(
    _ operation: String, _ object: String, hint: String? = nil, _ body: () throws -> Result
) throws(StorageError) -> Result {
    do {
        return try body()
    } catch let error as StorageError {
        throw error
    } catch let error as SystemError {
        throw StorageError(error, operation, object, hint: hint)
    } catch let errno as Errno {
        throw StorageError(SystemError(operation, object, errno), operation, object, hint: hint)
    } catch {
        throw StorageError(.internal, operation, object, "\(error)")
    }
}
