import StorageDriver

extension HostFacts {
    /// The judgements of all drivers on this host, in the order of preference.
    public func assess() -> [DriverAssessment] { DriverRegistry.drivers.map { assess(by: $0) } }

    /// What a driver says, and what holds for all.
    func assess(by type: any StorageDriver.Type) -> DriverAssessment {
        if let refusal {
            return DriverAssessment(
                driver: type.name, status: .unavailable, reasons: [refusal.reason], remedy: refusal.remedy)
        }
        if privilege == .contained, type.needsHostPrivilege {
            return DriverAssessment(
                driver: type.name, status: .unavailable,
                reasons: [.init(.contained, "this process is the superuser of a container only")],
                remedy: "run lamina on the host")
        }
        var judgement = type.assess(self)
        judgement.reasons += caveats
        if caveats.contains(where: { $0.code == .noSpace }) { judgement.worksOnLoop = false }
        if !caveats.isEmpty, judgement.status == .available { judgement.status = .limited }
        return judgement
    }
}
