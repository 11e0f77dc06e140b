@preconcurrency import Foundation
@preconcurrency import Glibc
import Lamina
import SystemPackage

/// A line for people on stderr. It may have names in it that somebody else has chosen.
func note(_ text: String) { fputs("lamina: \(printable(text))\n", stderr) }

/// What a terminal would obey, as numbers.
func printable(_ text: String) -> String {
    var line = ""
    for scalar in text.unicodeScalars {
        if scalar.properties.generalCategory == .control {
            line += "\\u{\(String(scalar.value, radix: 16))}"
        } else {
            line.unicodeScalars.append(scalar)
        }
    }
    return line
}

/// Writes what was printed so far.
/// - Throws: where some of it was lost: nobody is to take a part for the whole.
func finishPrinting() throws(StorageError) {
    let isWritten = fflush(stdout) == 0
    let code = Errno(rawValue: errno)
    if isWritten, ferror(stdout) == 0 { return }
    throw StorageError(
        code == .noSpace ? .resourceExhausted : .internal, "print", "standard output",
        "what was said is not all written",
        errno: isWritten ? nil : code)
}

/// The one JSON value on stdout.
func printJSON(_ value: some Encodable) throws {
    print(String(decoding: try encoded(value), as: UTF8.self))
}

private func encoded(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(value)
}

/// An error as users and programs see it.
struct ErrorReport: Encodable {
    private struct Fields: Encodable {
        let kind: String
        let operation: String
        let object: String
        let errno: Int32?
        let message: String
        let hint: String?
    }
    private let error: Fields

    init(_ error: StorageError) {
        self.error = Fields(
            kind: error.kind.rawValue, operation: error.operation, object: error.object, errno: error.errno?.rawValue,
            message: error.message, hint: error.hint)
    }

    /// One line, a hint where there is one, and with `asJSON` an object for programs.
    func print(asJSON: Bool) {
        note("\(error.operation) \(error.object): \(error.message)".replacingOccurrences(of: "\n", with: " "))
        if let hint = error.hint { fputs("hint: \(printable(hint))\n", stderr) }
        if asJSON, let data = try? encoded(self) { fputs(String(decoding: data, as: UTF8.self) + "\n", stderr) }
    }
}

/// Columns for people: as wide as their widest cell, numbers to the right.
struct Table {
    private let header: [String]
    private let rightAligned: Set<Int>
    private var rows: [[String]] = []

    init(_ header: [String], rightAligned: Set<Int> = []) {
        self.header = header
        self.rightAligned = rightAligned
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    func print() {
        let all = [header] + rows
        let lengths = all.map { row in row.map(\.count) }
        let widths = header.indices.map { column in lengths.map { $0[column] }.max() ?? 0 }
        for (row, lengths) in zip(all, lengths) {
            let cells = row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - lengths[column])
                return rightAligned.contains(column) ? space + cell : cell + space
            }
            var line = cells.joined(separator: "  ")
            while line.utf8.last == UInt8(ascii: " ") { line.removeLast() }
            Swift.print(line)
        }
    }
}

/// A bar with bytes and rate on stderr, when that is a terminal.
final class Progress {
    private let label: String
    private let total: UInt64?
    private let start = Instant.now
    private var lastShown: Int64 = 0
    private let isShown = isatty(STDERR_FILENO) == 1

    /// - Parameter total: bytes to come, where they are known.
    init(_ label: String, total: UInt64?) {
        self.label = label
        self.total = total
    }

    func update(_ bytes: UInt64) {
        let now = Instant.now.nanoseconds
        // Ten times a second is enough for eyes.
        guard isShown, now - lastShown > 100_000_000 else { return }
        lastShown = now
        let seconds = max(Double(now - start.nanoseconds) / 1e9, 0.001)
        var line = "\r\(label)  "
        if let total, total > 0 {
            let part = min(Double(bytes) / Double(total), 1)
            let filled = Int(part * 30)
            line += "[" + String(repeating: "#", count: filled) + String(repeating: "-", count: 30 - filled)
            line += "] \(Int(part * 100)) %  "
        }
        line += "\(ByteCount(bytes))  \(ByteCount(UInt64(Double(bytes) / seconds)))/s"
        fputs(line + "\u{1B}[K", stderr)
    }

    /// Takes the bar away.
    func finish() { if isShown { fputs("\r\u{1B}[K", stderr) } }
}
