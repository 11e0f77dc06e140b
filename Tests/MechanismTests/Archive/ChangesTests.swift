import Fixtures
import Glibc
import Lamina
import LayerArchive
import LinuxSystem
import SystemPackage
import Testing

/// What a driver says may have changed gives the same changes as comparing everything: over random trees and edits.
@Suite(.serialized) struct ChangesTests {
    /// Cases in one run; the guest is for devicemapper, where each takes a hundred times as long.
    private static func cases(_ ground: Ground) -> Int {
        switch ground {
        case .btrfs: 500
        case .devicemapper: 100
        case .devicemapperXFS: 10
        case .overlayExt4: 150
        default: 50
        }
    }

    private static let grounds = Ground.here.filter { ground in
        TestHost.isGuest == (ground == .devicemapper || ground == .devicemapperXFS)
    }

    @Test(arguments: grounds) func randomEditsAreAllTold(_ ground: Ground) throws {
        let seed = UInt64.random(in: 0...UInt64(UInt32.max))
        print("seed of the random edits on \(ground.rawValue): \(seed)")
        try ground.withRoot { driver, _ in
            var next: UInt64 = 1
            func number() -> LayerNumber {
                defer { next += 1 }
                return LayerNumber(next)
            }
            var parent = LayerNumber(0)
            for round in 0..<Self.cases(ground) {
                // A new parent now and then, made on the last one: a chain.
                if round % 20 == 0 {
                    let layer = number()
                    try driver.create(layer, from: round % 100 == 0 ? nil : parent, limit: nil)
                    try driver.withTree(layer) { root throws in
                        var edits = RandomEdits(in: root, seed: seed &+ UInt64(round) &* 7919)
                        try edits.makeTree(entries: 40)
                    }
                    try driver.commit(layer)
                    parent = layer
                }
                let child = number()
                try driver.create(child, from: parent, limit: nil)
                let edits = try driver.withTree(child) { root throws in
                    var edits = RandomEdits(in: root, seed: seed &+ UInt64(round))
                    try edits.edit(1 + round % 12)
                    return edits.log
                }
                let copy = number()
                if let snapshots = driver as? any LiveSnapshots {
                    try snapshots.snapshot(child, as: copy)
                } else {
                    try driver.create(copy, from: child, limit: nil)
                    try driver.commit(copy)
                }
                var isGood = try compare(driver, parent, copy)
                if round % 5 == 0 { isGood = try comesBack(driver, parent, copy, as: number()) && isGood }
                #expect(isGood, "seed \(seed), round \(round): \(edits)")
                try driver.remove(copy)
                try driver.remove(child)
                if !isGood { return }
            }
        }
    }

    /// Compares what the pictures of two trees say with what the walk says, and what the driver's hints give.
    private func compare(_ driver: any StorageDriver, _ parent: LayerNumber, _ child: LayerNumber) throws -> Bool {
        try driver.withTree(parent, readOnly: true) { old throws in
            try driver.withTree(child, readOnly: true) { new throws in
                let expected = try TreePicture(new).changes(from: TreePicture(old))
                let walked = try LayerArchive.changes(from: old, to: new, threads: 1).map(Self.text).sorted()
                #expect(walked == expected)
                #expect(try LayerArchive.changes(from: old, to: new, threads: 3).map(Self.text).sorted() == expected)
                let tracking = driver as? any ChangeTracking
                let touched = try tracking?.touched(LayerTree(child, new), since: LayerTree(parent, old))
                if driver.name == "btrfs" { #expect(touched != nil) }
                guard let touched else { return walked == expected }
                let told = try LayerArchive.changes(from: old, to: new, touched: touched).map(Self.text).sorted()
                #expect(told == expected)
                return walked == expected && told == expected
            }
        }
    }

    /// Whether the tar of the changes makes a copy of the parent what the child is.
    private func comesBack(
        _ driver: any StorageDriver, _ parent: LayerNumber, _ child: LayerNumber, as again: LayerNumber
    ) throws -> Bool {
        try withTemporaryDirectory { directory in
            let file = directory + "/tar"
            let picture = try driver.withTree(child, readOnly: true) { new throws in
                _ = try driver.withTree(parent, readOnly: true) { try diff(from: $0, to: new, into: file) }
                return try TreePicture(new)
            }
            try driver.create(again, from: parent, limit: nil)
            let differences = try driver.withTree(again) { root throws in
                _ = try applyTar(file, onto: root)
                return try TreePicture(root).differences(from: picture).filter { !$0.contains(": missing | socket") }
            }
            try driver.remove(again)
            #expect(differences == [])
            return differences == []
        }
    }

    private static func text(_ change: Change) -> String {
        "\(change.kind.rawValue) \(TreePicture.escaped(change.path))"
    }
}
