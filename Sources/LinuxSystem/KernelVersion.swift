/// The first two numbers of a kernel's release ("6.1.0-18-amd64"): what its own documentation dates features by.
/// Distributions carry features back to older kernels: where the kernel itself can be asked, it is.
public struct KernelVersion: Sendable, Hashable, Comparable {
    public let major: Int
    public let minor: Int

    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// 0.0 for what is no release.
    public init(release: String) {
        let numbers = release.split(separator: ".", maxSplits: 2).prefix(2).map { Int($0.prefix { $0.isNumber }) ?? 0 }
        self.init(numbers.first ?? 0, numbers.count > 1 ? numbers[1] : 0)
    }

    public static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
