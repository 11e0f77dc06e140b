import FoundationEssentials
import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

extension Report {
    /// As JSON, keys sorted.
    public var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        // Text and whole numbers, which always can be written.
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Reads a report, or the result of other engines.
    /// - Parameter name: what errors call it.
    /// - Throws: `.invalidArgument` for what is none, or of another version.
    public init(json text: String, named name: String) throws(StorageError) {
        func refuse(_ reason: String, hint: String? = nil) -> StorageError {
            StorageError(.invalidArgument, "read report", name, reason, hint: hint)
        }
        struct Head: Decodable {
            let schema: String?
            let schemaVersion: Int?
        }
        let data = Data(text.utf8)
        guard let head = try? JSONDecoder().decode(Head.self, from: data), head.schema == Self.schema else {
            throw refuse("it is no report of lamina bench")
        }
        guard head.schemaVersion == Self.version else {
            throw refuse(
                "its schema has version \(head.schemaVersion.map { "\($0)" } ?? "none"), not \(Self.version)",
                hint: "it was made by another version of Lamina")
        }
        do {
            self = try JSONDecoder().decode(Report.self, from: data)
        } catch let error as DecodingError {
            throw refuse("it does not keep to the schema: \(Self.reason(error))")
        } catch {
            throw refuse("\(error)")
        }
        let unknown = runs.flatMap { run in
            run.entries.flatMap(\.results).filter { run.measurement($0.measurement) == nil }
        }
        if let result = unknown.first {
            throw refuse("it has results of \(result.measurement), and does not say what that is")
        }
    }

    private static func reason(_ error: DecodingError) -> String {
        let context: DecodingError.Context =
            switch error {
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context): context
            case .keyNotFound(let key, let context):
                .init(codingPath: context.codingPath + [key], debugDescription: "missing")
            @unknown default: .init(codingPath: [], debugDescription: "\(error)")
            }
        let path = context.codingPath.map { $0.intValue.map { "\($0)" } ?? $0.stringValue }.joined(separator: ".")
        return "\(path): \(context.debugDescription)"
    }

    /// - Throws: `.notFound` and others where it cannot be read, and as above.
    public init(file: String) throws(StorageError) {
        let text = try attempt("read report", file) {
            let descriptor = try FileDescriptor.opening(file)
            defer { descriptor.closeQuietly() }
            return String(
                decoding: try descriptor.readBytes(Int(try descriptor.status().size), at: 0, of: file), as: UTF8.self)
        }
        try self.init(json: text, named: file)
    }
}

/// A directory that reports are written into.
public struct ReportDirectory {
    private let path: String
    /// Whether it was made here: then nothing of it stays where nothing is written.
    private let isMade: Bool

    /// Makes the directory where there is none, and sees that it can be written.
    /// - Throws: what the kernel says where it cannot.
    public init(_ path: String) throws(StorageError) {
        self.path = path
        isMade = !exists(path)
        do throws(StorageError) {
            try attempt("write report", path) {
                try makeDirectories(path, mode: 0o755)
                try FileDescriptor.opening(path + "/report.json.partial", .writeOnly, flags: O_CREAT).closeQuietly()
            }
        } catch {
            abandon()
            throw error
        }
    }

    /// Writes `report.json` and `report.html`: each whole, or as it was.
    public func write(_ report: Report) throws(StorageError) {
        for (name, text) in [("report.json", report.json + "\n"), ("report.html", ReportPage(report).html)] {
            let file = "\(path)/\(name)"
            try attempt("write report", file) {
                try writeText(text, to: file + ".partial")
                // For everybody, as a file made by a redirection would be.
                try check(chmod(file + ".partial", 0o644), "chmod", file)
                try check(rename(file + ".partial", file), "rename", file)
            }
        }
    }

    /// Removes what was made for a report that is not written.
    public func abandon() {
        for name in ["report.json", "report.html"] { unlink("\(path)/\(name).partial") }
        if isMade { rmdir(path) }
    }
}
