/// One thing that is measured on every driver.
public struct Measurement: Codable, Sendable, Equatable {
    public enum Unit: String, Codable, Sendable {
        case nanoseconds, bytes, percent
        case bytesPerSecond, perSecond
    }

    public enum Better: String, Codable, Sendable {
        case lower, higher
    }

    /// Measurements that are shown together, and count together in the recommendation.
    public enum Group: String, Codable, Sendable, CaseIterable {
        case lifeCycle, chain, archive, write, metadata, parallel, space
    }

    /// Stays the same between versions ("create.child").
    public let id: String
    public let group: Group
    /// In words, for people.
    public let title: String
    public let unit: Unit
    public let better: Better
    /// What it is measured against, where there are several points: "layers in the chain". Nil for a single figure.
    public let axis: String?
    /// Of the points of the axis; nil where they are numbers of what the axis says.
    public let axisUnit: Unit?

    /// All that Lamina measures, in the order in which it is shown.
    public static let all: [Measurement] = [
        Measurement("create.empty", .lifeCycle, "create, empty"),
        Measurement("create.child", .lifeCycle, "create, on a parent"),
        Measurement("mount", .lifeCycle, "mount"),
        Measurement("umount", .lifeCycle, "unmount"),
        Measurement("commit", .lifeCycle, "commit, 1 MiB changed"),
        Measurement("view", .lifeCycle, "view"),
        Measurement("remove", .lifeCycle, "remove"),
        Measurement("remove.collected", .lifeCycle, "remove, until the object is gone"),
        Measurement("remove.import", .lifeCycle, "remove the imported root"),
        Measurement("chain.create", .chain, "create on a chain", axis: "layers in the chain"),
        Measurement("chain.mount", .chain, "mount a chain", axis: "layers in the chain"),
        Measurement("chain.read", .chain, "first read of the lowest layer's file", axis: "layers in the chain"),
        Measurement("import", .archive, "import of a root tar"),
        Measurement("changes", .archive, "changes, 3 files of many", axis: "files in the parent"),
        Measurement(
            "write.first", .write, "first write to an inherited file", axis: "size of the file", axisUnit: .bytes),
        Measurement("write.sequential", .write, "sequential write", .bytesPerSecond, .higher),
        Measurement("read.sequential", .write, "sequential read", .bytesPerSecond, .higher),
        Measurement("write.random", .write, "random writes of 4 KiB", .perSecond, .higher),
        Measurement("read.random", .write, "random reads of 4 KiB", .perSecond, .higher),
        Measurement("fsync", .write, "4 KiB and fsync"),
        Measurement("metadata.create", .metadata, "small files, create each"),
        Measurement("metadata.stat", .metadata, "small files, stat each"),
        Measurement("metadata.remove", .metadata, "small files, remove each"),
        Measurement(
            "parallel.create", .parallel, "creates at once", .perSecond, .higher, axis: "threads that create"),
        Measurement("space.byte", .space, "space of 1 byte changed in a large file", .bytes),
        Measurement("space.sibling", .space, "space of a sibling that changes nothing of 1 MiB", .bytes),
        Measurement("space.returned", .space, "space returned by removal", .percent, .higher),
        Measurement("space.return", .space, "time until removed space is back"),
    ]

    /// The best median of those that have one, where they are two or more. The bare kernel calls are no match for anybody.
    public func best(of entries: [Report.Entry], at point: UInt64? = nil) -> UInt64? {
        let medians = entries.filter { $0.kind != .floor }.compactMap { $0.result(id, at: point)?.median }
        if medians.count < 2 { return nil }
        return better == .lower ? medians.min() : medians.max()
    }

    public static func known(_ id: String) -> Measurement? { all.first { $0.id == id } }

    public init(
        _ id: String, _ group: Group, _ title: String, _ unit: Unit = .nanoseconds, _ better: Better = .lower,
        axis: String? = nil, axisUnit: Unit? = nil
    ) {
        self.id = id
        self.group = group
        self.title = title
        self.unit = unit
        self.better = better
        self.axis = axis
        self.axisUnit = axisUnit
    }
}

extension Measurement.Group {
    public var title: String {
        switch self {
        case .lifeCycle: "Life of a layer"
        case .chain: "Long chains"
        case .archive: "Layers in and out"
        case .write: "Data in a layer"
        case .metadata: "Many small files"
        case .parallel: "Many at once"
        case .space: "Space"
        }
    }
}
