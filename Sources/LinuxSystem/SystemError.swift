import Glibc
import SystemPackage

/// A failed call to the kernel: which call, on what, and its errno. Nobody above this module looks at return codes.
public struct SystemError: Error, Sendable, Equatable {
    /// The system call or, where one call has many, what was asked of it (`"loop configure"`).
    public let operation: String
    /// The path, device or descriptor that the call was about.
    public let object: String
    public let errno: Errno
    /// What the kernel or a program said besides its errno, if anything; for people, never for decisions.
    public let detail: String?

    public init(_ operation: String, _ object: String, _ errno: Errno, detail: String? = nil) {
        self.operation = operation
        self.object = object
        self.errno = errno
        self.detail = detail
    }

    /// The errno of the C call that has just failed on this thread.
    public static func last(_ operation: String, _ object: String) -> SystemError {
        SystemError(operation, object, .current)
    }
}

extension SystemError: CustomStringConvertible {
    public var description: String {
        "\(operation) \(object): \(errno)" + (detail.map { " (\($0))" } ?? "")
    }
}

/// Turns a C result of -1 into a thrown `SystemError`; any other result is returned as it is.
@discardableResult
public func check<Result: SignedInteger>(
    _ result: Result, _ operation: String, _ object: @autoclosure () -> String
) throws(SystemError) -> Result {
    if result == -1 { throw SystemError.last(operation, object()) }
    return result
}

extension Errno {
    /// The errno of the C call that has just failed on this thread.
    public static var current: Errno { Errno(rawValue: Glibc.errno) }
}
