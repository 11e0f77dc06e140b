import ArgumentParser
import Lamina

struct ImportRoot: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-root",
        abstract: "Make layers of what another program's storage driver has left.",
        discussion: """
            aufs: a directory as Docker's aufs driver made it (/var/lib/docker/aufs). Each layer gets its id as name; the \
            directory is only read. What was cut short goes on at the next call.
            """)

    enum Kind: String, ExpressibleByArgument, CaseIterable {
        case aufs
    }

    @OptionGroup var global: GlobalOptions
    @Option(help: "Whose directory it is: aufs.") var from: Kind
    @Argument(completion: .directory) var directory: String

    private struct Report: Encodable {
        let imported, skipped: [String]
    }

    func run() throws {
        try global.requireRoot(for: "import root")
        // Before a root is made for it.
        let source = try AUFSRoot(resolvedPath(directory) ?? directory)
        let store = try global.openStore(for: "import root", making: true)
        var progress = Progress("import", total: nil)
        let result = try store.importAUFS(from: source) { name, done, count in
            progress.finish()
            progress = Progress("\(name) (\(done + 1) of \(count))", total: nil)
            progress.update(0)
        }
        progress.finish()
        for warning in result.warnings { note("warning: \(warning)") }
        if global.json {
            try printJSON(
                Report(imported: result.imported.map(\.text), skipped: result.skipped.map(\.text)))
        } else {
            for name in result.imported { print(name) }
            if !result.skipped.isEmpty { note("\(result.skipped.count) layers were there already") }
        }
    }
}
