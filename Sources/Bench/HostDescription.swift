import Glibc
import LinuxSystem
import StorageDriver

extension Report.Host {
    /// Where a run is, from what the probe has read.
    init(_ facts: HostFacts) {
        let processors = (readText("/proc/cpuinfo") ?? "").split(separator: "\n")
        // Not all architectures name it.
        let name = processors.first { $0.hasPrefix("model name") }?.split(separator: ":", maxSplits: 1).last
        let memory = (readText("/proc/meminfo") ?? "").split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
            .flatMap { UInt64($0.split(separator: " ").dropFirst().first ?? "") }
        self.init(
            kernel: facts.kernelRelease, processor: name.map { String($0.drop { $0 == " " }) } ?? "unknown",
            processors: sysconf(Int32(_SC_NPROCESSORS_ONLN)), memoryBytes: memory.map { $0 << 10 }, path: facts.path,
            filesystem: facts.filesystem.type, device: facts.filesystem.source, container: facts.container,
            drivers: facts.assess().map { judgement in
                Judgement(
                    name: judgement.driver, status: judgement.status.rawValue,
                    reason: judgement.reasons.map(\.message).joined(separator: "; "))
            })
    }
}
