import Fixtures
import GRDB
import Glibc
import Lamina
import Testing

@testable import LayerStore

/// What a store finds after a power cut: another boot, and not everything on the disk.
@Suite(.serialized, .enabled(if: TestHost.hasLoop, "needs root and loop devices")) struct RebootTests {
    /// Of a new layer, its record reached the disk and not all of its directory did.
    @Test(arguments: [CommandGround.overlay2, .vfs]) func aLayerThatIsThereInPartIsNoLayer(
        _ ground: CommandGround
    ) throws {
        try ground.withRoot { lamina in
            let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
            let layer = try store.create(LayerName("lost"))
            let object = store.driver.objectName(layer.number)
            try check(rename(object, "\(lamina.root)/\(ground)/partial/\(layer.number)"), "rename", object)
            try store.records.write("pretend", "reboot") { db in
                try db.execute(sql: "UPDATE root SET bootID = 'another'")
            }
            let again = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
            #expect(again.recovered.map(\.number) == [layer.number])
            #expect(try again.layers().isEmpty)
            #expect(try again.driver.objects() == [])
        }
    }

    @Test(arguments: CommandGround.here) func recordsAndObjectsComeTogether(_ ground: CommandGround) throws {
        try ground.withRoot { lamina in
            let drivers = DriverRegistry.drivers
            let stray: LayerNumber
            let unleased = LayerNumber(5000)
            do {
                let store = try LayerStore(path: lamina.root, drivers: drivers)
                try store.create(LayerName("base"))
                try store.commit(LayerName("base"))
                let kept = try store.create(LayerName("kept"), parent: LayerName("base"))
                let lost = try store.create(LayerName("lost"), parent: LayerName("base"))
                _ = try store.mounts(LayerName("kept"))
                try store.driver.remove(lost.number)
                // A commit that was not recorded, an object without a record, and one that was never leased.
                try store.driver.release(kept.number)
                try store.driver.commit(kept.number)
                stray = LayerNumber(lost.number.rawValue + 1)
                for number in [stray, unleased] { try store.driver.create(number, from: nil, limit: nil) }
                try store.records.write("pretend", "reboot") { db in
                    try db.execute(sql: "UPDATE root SET bootID = 'another'")
                }
            }
            let store = try LayerStore(path: lamina.root, drivers: drivers)
            #expect(try store.layers().map(\.name.text) == ["base", "kept"])
            #expect(store.recovered.contains { $0.number == stray })
            #expect(store.recovered.contains { $0.description.contains("lost") })
            #expect(try store.mountsInForce(of: store.layer(LayerName("kept"))) == [])
            let objects = try store.driver.objects()
            #expect(!objects.contains(stray))
            #expect(objects.contains(unleased), "what was never leased is not ours to remove")
            // The number of what was removed is not used again, and the layer can be written.
            #expect(try store.create(LayerName("next")).number > stray)
            _ = try store.mount(LayerName("kept"))
            try store.unmount(LayerName("kept"))
            #expect(try LayerStore(path: lamina.root, drivers: drivers).recovered == [])
        }
    }
}
