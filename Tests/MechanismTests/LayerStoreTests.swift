import Fixtures
import Lamina
import Testing

/// What threads of one process do with one store.
@Suite(.serialized, .enabled(if: TestHost.isRoot, "needs root")) struct LayerStoreTests {
    @Test(arguments: CommandGround.here) func ofManyThatWantANameOneGetsIt(_ ground: CommandGround) throws {
        try ground.withRoot { lamina in
            let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
            let base = try LayerName("base")
            let number = try store.create(base).number
            try store.commit(base)
            let names = try (0..<4).map { try LayerName("name-\($0)") }
            let refused = concurrently(16) { index in
                do throws(StorageError) {
                    try store.create(names[index % 4], parent: base)
                } catch {
                    #expect(error.kind == .alreadyExists, "\(error)")
                    throw error
                }
            }
            #expect(refused.count == 12)
            #expect(Set(try store.layers().map(\.name)) == Set(names + [base]))
            #expect(try store.driver.objects().count == 5)

            #expect(concurrently(4) { try store.remove(names[$0]) } == [])
            #expect(try store.layers().map(\.name) == [base])
            // Their names are free at once, whatever becomes of what they were made of.
            #expect(concurrently(4) { try store.create(names[$0], parent: base) } == [])
            for name in names { try store.remove(name) }
            store.finishRemovals()
            #expect(try store.driver.objects() == [number])
            #expect(directoryNames(lamina.root + "/in-flight") == [])
        }
    }

    /// More than may wait, parents behind their children; the store waits for them when it is let go.
    @Test(arguments: CommandGround.here) func whatWasRemovedIsGoneWithTheStore(_ ground: CommandGround) throws {
        try ground.withRoot { lamina in
            do {
                let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
                var names: [LayerName] = []
                for index in 0..<(ground == .zfs ? 8 : 80) {
                    names.append(try LayerName("\(index)"))
                    try store.create(names[index], parent: index % 4 == 0 ? nil : names[index - 1])
                    try store.commit(names[index])
                }
                for name in names.reversed() { try store.remove(name) }
                #expect(try store.layers().isEmpty)
            }
            #expect(directoryNames(lamina.root + "/in-flight") == [])
            let store = try LayerStore(path: lamina.root, drivers: DriverRegistry.drivers)
            #expect(store.recovered == [])
            #expect(try store.driver.objects() == [])
        }
    }
}
