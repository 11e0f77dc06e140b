import LinuxSystem

/// What drivers have in a root, from its files alone: nothing is opened.
public struct RootState: Sendable, Equatable {
    /// The driver that the root is recorded for.
    public var recorded: String?
    /// Others whose part of the root is kept on purpose: named in the root's record beside its own.
    public var kept: [String]
    /// All that have something here, in the order of preference.
    public var found: [String]

    public init(recorded: String? = nil, kept: [String] = [], found: [String] = []) {
        self.recorded = recorded
        self.kept = kept
        self.found = found
    }

    /// Drivers with something here, the recorded one first, those that are kept on purpose left out.
    public var claimants: [String] {
        (recorded.map { [$0] } ?? []) + found.filter { $0 != recorded && !kept.contains($0) }
    }

    /// What keeps the root at `path` from being used by the driver that is named, or by its own where none is.
    public func refusal(_ operation: String, _ path: String, named: String?) -> StorageError? {
        func refuse(_ message: String, _ hint: String) -> StorageError {
            StorageError(.failedPrecondition, operation, path, message, hint: hint)
        }
        if let named, let recorded, named != recorded {
            return refuse(
                "the root belongs to the driver \(recorded), not to \(named)",
                "leave out --driver, or use another --root")
        }
        if named == nil, claimants.count > 1 {
            let names = claimants.dropLast().joined(separator: ", ") + " and " + claimants[claimants.count - 1]
            let others = claimants.dropFirst(recorded == nil ? 0 : 1).map { "\(path)/\($0)" }.joined(separator: " and ")
            return refuse(
                "the drivers \(names) have state here",
                recorded.map { "--driver \($0) (or LAMINA_DRIVER) goes on with the root's own; or move \(others) away" }
                    ?? "none has records (lamina.db): put them back, move \(others) away, or use another --root")
        }
        if recorded == nil, let owner = named.map({ found.contains($0) ? $0 : nil }) ?? found.first {
            return refuse(
                "the driver \(owner) has state here without the records of its layers (lamina.db)",
                "put lamina.db back, move \(path)/\(owner) away, or use another --root")
        }
        return nil
    }
}
