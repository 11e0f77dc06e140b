import ArgumentParser
import Lamina

/// What a root is, as `docker info` shows the daemon's storage.
struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Show the driver of a root, its health, its space and its options.")
    @OptionGroup var global: GlobalOptions

    private struct Report: Encodable {
        struct Layers: Encodable { let active, committed, view: Int }
        let root, id, driver, version: String
        let status: [String: String]
        let options: [String: String]
        let layers: Layers
        let space: DriverSpace
        let kernel, filesystem: String
        let migration: String?
    }

    func run() throws {
        let store = try global.openStore(for: "info")
        let status = try store.driver.status()
        let layers = try store.layers()
        let place = try attempt("info", store.root.path) { try FilesystemStatus(path: store.root.path) }
        func count(_ kind: LayerKind) -> Int { layers.filter { $0.kind == kind }.count }
        var details = ["health": status.health.rawValue]
        if let message = status.message { details["message"] = message }
        for detail in status.details { details[detail.key] = detail.value }
        let report = Report(
            root: store.root.path, id: store.root.id, driver: store.driver.name, version: laminaVersion,
            status: details, options: store.configuration,
            layers: .init(active: count(.active), committed: count(.committed), view: count(.view)),
            space: status.space, kernel: HostReader.kernelRelease, filesystem: place.typeName,
            migration: try store.migration().map(words))
        if global.json { try printJSON(report) } else { show(report, status, place) }
    }

    private func show(_ report: Report, _ status: DriverStatus, _ place: FilesystemStatus) {
        let space = status.space
        var lines = [
            (
                "root",
                "\(report.root) (\(report.id)) on \(report.filesystem), \(ByteCount(place.freeBytes)) free"
            ),
            ("driver", report.driver),
            ("health", status.health.rawValue + (status.message.map { ": \($0)" } ?? "")),
            (
                "space",
                "\(ByteCount(space.usedBytes)) used of \(ByteCount(space.totalBytes)), \(ByteCount(space.freeBytes)) free"
            ),
        ]
        if let used = space.metadataUsedBytes, let total = space.metadataTotalBytes {
            lines.append(("metadata", "\(ByteCount(used)) used of \(ByteCount(total))"))
        }
        let layers = report.layers
        lines.append(("layers", "\(layers.active) active, \(layers.committed) committed, \(layers.view) view"))
        lines += status.details.map { ($0.key, $0.value) }
        let options = report.options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        lines.append(("options", options.isEmpty ? "none" : options.joined(separator: ", ")))
        if let migration = report.migration { lines.append(("migration", migration)) }
        lines += [("kernel", report.kernel), ("version", report.version)]
        let width = (lines.map(\.0.count).max() ?? 0) + 2
        for (key, value) in lines { print(key + String(repeating: " ", count: width - key.count) + value) }
    }

    private func words(_ migration: MigrationState) -> String {
        switch migration {
        case .underWay(let driver, let copied):
            "to \(driver), not done: \(copied) committed layers are copied (lamina migrate --to \(driver) goes on, "
                + "--cancel drops them)"
        case .oldKept(let driver):
            "done: the old state, of the driver \(driver), is kept and takes its space (lamina migrate --remove-old)"
        }
    }
}
