import Lamina
import Testing

@testable import DeviceMapperDriver
@testable import ThinPool

@Suite struct DeviceMapperAssessmentTests {
    /// A host that has everything.
    private func assess(_ change: (inout HostFacts) -> Void) -> DriverAssessment {
        var host = HostFacts(
            kernelRelease: "6.1.0", privilege: .superuser, path: "/var/lib/lamina",
            filesystem: .init(type: "ext4", magic: 0xEF53, totalBytes: 1 << 40, freeBytes: 1 << 39),
            kernelFilesystems: ["ext4"],
            deviceMapper: .init(version: "4.47.0", targets: ["thin-pool": "1.22.0", "thin": "1.22.0"]), hasLoop: true,
            tools: ["mkfs.ext4": "/sbin/mkfs.ext4", "thin_check": "/sbin/thin_check"])
        change(&host)
        return DeviceMapperDriver.assess(host)
    }

    private func codes(_ assessment: DriverAssessment) -> [String] { assessment.reasons.map(\.code.rawValue) }

    @Test func withEverythingAPoolMustStillBeNamed() {
        let all = assess { _ in }
        #expect(all.status == .limited && codes(all) == ["DM_NEEDS_POOL"] && all.worksOnLoop)
        #expect(all.remedy?.contains("--pool") == true && all.strengths != nil)
    }

    @Test func kernelsWithoutDeviceMapper() {
        let without = assess { $0.deviceMapper = nil }
        #expect(without.status == .unavailable && codes(without) == ["DM_MISSING"])
        #expect(!without.worksOnLoop && without.remedy != nil)
        let module = assess {
            $0.deviceMapper = nil
            $0.availableModules = ["dm_mod"]
        }
        #expect(module.status == .unavailable && codes(module) == ["DM_NOT_LOADED"])
        #expect(module.remedy?.contains("modprobe") == true)
    }

    @Test func theThinPoolTarget() {
        let without = assess { $0.deviceMapper?.targets = ["linear": "1.4.0"] }
        #expect(without.status == .unavailable && codes(without) == ["THIN_POOL_MISSING"])
        let loadable = assess {
            $0.deviceMapper?.targets = ["linear": "1.4.0"]
            $0.availableModules = ["dm_thin_pool"]
        }
        #expect(loadable.status == .limited && codes(loadable) == ["DM_NEEDS_POOL"])
    }

    @Test func withoutTheSuperuserTargetsAreNotSeen() {
        let user = assess {
            $0.privilege = .user
            $0.deviceMapper = .init(version: nil, targets: [:])
        }
        #expect(user.status == .limited && codes(user) == ["NEEDS_ROOT", "DM_NEEDS_POOL"])
    }

    @Test func toolsAndLoopDevices() {
        let without = assess { $0.tools = ["thin_check": "/sbin/thin_check"] }
        #expect(without.status == .unavailable && codes(without) == ["TOOL_MISSING"])
        #expect(without.remedy?.contains("e2fsprogs") == true)
        #expect(codes(assess { $0.tools = ["mkfs.xfs": "/sbin/mkfs.xfs"] }) == ["DM_NEEDS_POOL", "THIN_CHECK_MISSING"])
        let loopless = assess { $0.hasLoop = false }
        #expect(codes(loopless) == ["DM_NEEDS_POOL", "LOOP_MISSING"] && !loopless.worksOnLoop)
    }
}

@Suite struct PoolHealthTests {
    private func refusal(_ words: String) -> StorageError.Kind? {
        let status = ThinPoolStatus(parsing: words)!
        do throws(StorageError) {
            try PoolHealth.requireRoom(status, "pool")
            return nil
        } catch {
            // Says what to do.
            #expect(error.hint != nil)
            return error.kind
        }
    }

    @Test func whatCreationNeeds() {
        #expect(refusal("1 100/1000 0/2000 - rw discard_passdown error_if_no_space - 64") == nil)
        #expect(refusal("1 100/1000 1900/2000 - rw discard_passdown error_if_no_space - 64") == nil)
        #expect(refusal("1 100/1000 1901/2000 - rw discard_passdown error_if_no_space - 64") == .resourceExhausted)
        #expect(refusal("1 951/1000 0/2000 - rw discard_passdown error_if_no_space - 64") == .resourceExhausted)
        #expect(
            refusal("1 1/1000 2000/2000 - out_of_data_space discard_passdown error_if_no_space - 64")
                == .resourceExhausted)
        #expect(refusal("1 1/1000 0/2000 - ro discard_passdown error_if_no_space - 64") == .failedPrecondition)
        #expect(
            refusal("1 1/1000 0/2000 - rw discard_passdown error_if_no_space needs_check 64") == .failedPrecondition)
        #expect(refusal("Fail") == .dataLoss)
    }
}

@Suite struct PoolPlanTests {
    @Test(
        arguments: [
            // A small pool: an eighth of it. 1 TiB: 96 bytes for each of 16 Mi blocks. Huge: what the kernel can use.
            (64 << 20, 8 << 20), (1 << 30, 32 << 20), (1 << 40, 1536 << 20), (1 << 50, 15 << 30),
        ] as [(UInt64, UInt64)])
    func metadataGrowsWithTheData(_ data: UInt64, _ metadata: UInt64) {
        #expect(PoolPlan.metadataBytes(for: data) == metadata)
    }

    @Test func devicesAreKnownAgain() {
        let configuration = ["data": "/dev/sdb", "dataIdentity": "serial", "metadata": "/dev/sdc"]
        #expect(PoolPlan.identities(in: configuration) == ["/dev/sdb": "serial"])
        #expect(PoolPlan.identities(in: ["pool": "vg-pool"]) == [:])
    }
}
