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

/// A directory that a report is written into.
public struct ReportDirectory {
    private let path: String
    /// Whether it was made here: then nothing of it stays where nothing is written.
    private let isMade: Bool
    private let json, page: WholeFile

    /// Makes the directory where there is none, and sees that it can be written.
    /// - Throws: what the kernel says where it cannot.
    public init(_ path: String) throws(StorageError) {
        self.path = path
        let isMade = !exists(path)
        self.isMade = isMade
        do throws(StorageError) {
            (json, page) = try attempt("write report", path) {
                try makeDirectories(path, mode: 0o755)
                let json = try WholeFile(path + "/report.json")
                do {
                    return (json, try WholeFile(path + "/report.html"))
                } catch {
                    json.close()
                    throw error
                }
            }
        } catch {
            if isMade { rmdir(path) }
            throw error
        }
    }

    /// Writes `report.json` and `report.html`: each whole, or as it was. Once.
    public func write(_ report: Report) throws(StorageError) {
        try attempt("write report", path) {
            for (file, text) in [(json, report.json + "\n"), (page, ReportPage(report).html)] {
                try Array(text.utf8).withUnsafeBytes { try file.descriptor.writeFully($0, to: path) }
                try file.publish()
            }
        }
    }

    /// Lets go of the files; what was made for a report that is not written is gone.
    public func close() {
        for file in [json, page] { file.close() }
        // Stays where something is in it.
        if isMade { rmdir(path) }
    }
}
