import ArgumentParser
import Glibc
import Lamina

/// The command `lamina`: arguments in, a result on stdout, everything else on stderr.
struct LaminaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lamina",
        abstract: "Copy-on-write layers for containers, microVMs and volumes.",
        discussion: """
            Global options stand before or after the subcommand. Layers and roots need the superuser; probe, version \
            and help do not.
            Shell completion: lamina --generate-completion-script bash|zsh|fish
            """,
        subcommands: [
            Init.self, Deinit.self, Migrate.self, ImportRoot.self, Probe.self, Info.self, LayerGroup.self,
            BenchGroup.self, Version.self,
        ])

    @OptionGroup var global: GlobalOptions
}

@main
enum Main {
    static func main() {
        occupyStandardDescriptors()
        let arguments = Array(CommandLine.arguments.dropFirst())
        raiseDescriptorLimit()
        do {
            try GlobalOptions.refuseNonsense(arguments)
            var command = try LaminaCommand.parseAsRoot(GlobalOptions.moveToEnd(arguments))
            try command.run()
            try finishPrinting()
        } catch let error as StorageError {
            ErrorReport(error).print(asJSON: arguments.contains("--json"))
            exit(1)
        } catch let code as ExitCode {
            exit(code.rawValue)
        } catch {
            let message = LaminaCommand.fullMessage(for: error)
            if LaminaCommand.exitCode(for: error).isSuccess {
                print(message)
                exit(0)
            }
            // The parser's first line says what is wrong, the next ones how it is used.
            let lines = LaminaCommand.message(for: error)
            let report = ErrorReport(
                StorageError(
                    .invalidArgument, "read", "arguments", lines.split(separator: "\n").joined(separator: " "),
                    hint: "lamina help"))
            report.print(asJSON: arguments.contains("--json"))
            exit(2)
        }
    }
}

/// A standard descriptor that is closed would be given to the next file that is opened, and that file would be read or
/// written as if it were the user's. Each gets something that can be neither read nor written in its way.
private func occupyStandardDescriptors() {
    for descriptor in 0...2 where fcntl(Int32(descriptor), F_GETFD) == -1 {
        _ = open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY)
    }
}

/// Deep trees take a descriptor for each directory on the way down; the customary soft limit is 1024.
private func raiseDescriptorLimit() {
    var limit = rlimit()
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    if getrlimit(files, &limit) == 0 {
        limit.rlim_cur = limit.rlim_max
        setrlimit(files, &limit)
    }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Show the version.")
    @OptionGroup var global: GlobalOptions

    func run() throws {
        if global.json {
            try printJSON(["version": laminaVersion])
        } else {
            print("lamina \(laminaVersion)")
        }
    }
}
