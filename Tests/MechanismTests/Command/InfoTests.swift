import Fixtures
import Foundation
import Testing

/// `lamina info`: driver, health, space and options.
@Suite(.enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct InfoTests {
    @Test(arguments: CommandGround.here) func showsWhatDockerInfoDoes(_ ground: CommandGround) throws {
        try ground.withRoot { lamina throws in
            struct Report: Decodable {
                struct Space: Decodable { let totalBytes, usedBytes, freeBytes: UInt64 }
                struct Layers: Decodable { let active, committed, view: Int }
                let root, id, driver, version, kernel, filesystem: String
                let status, options: [String: String]
                let layers: Layers
                let space: Space
            }
            #expect(try lamina("layer", "create", "x").status == 0)
            let json = try lamina("info", "--json").output
            let report = try JSONDecoder().decode(Report.self, from: Data(json.utf8))
            #expect(report.driver == ground.rawValue && report.layers.active == 1)
            #expect(report.space.totalBytes >= report.space.usedBytes && report.status["health"] != nil)
            #expect((report.options["loopBytes"] != nil) == !ground.backing.isEmpty)
            let text = try lamina("info").output
            for key in ["root", "driver", "health", "space", "layers", "options", "kernel", "version"] {
                #expect(text.contains("\n\(key) ") || text.hasPrefix("\(key) "), "\(key)")
            }
        }
    }
}
