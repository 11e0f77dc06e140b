import Glibc
import LayerArchive
import LayerStore
import LinuxSystem
import StorageDriver
import SystemPackage

/// Whether drivers keep what is given to them: asked before anything is timed. One that loses data gets no score.
struct FidelityGate {
    /// Directory for the tars of diffs, the bench's alone.
    let directory: String
    /// Tells losses by the dozen; more do not say more.
    private static let mostLosses = 20

    /// Puts a tree through all that a layer goes through: written, committed, inherited, changed, and both layers out
    /// as tars and in again.
    func check(_ contender: Contender) throws(StorageError) -> Report.Fidelity {
        var losses: [String] = []
        var diffIDs: [String] = []
        do {
            try run(contender, &losses, &diffIDs)
        } catch let error as StorageError where error.kind == .aborted {
            throw error
        } catch {
            losses.append("\(error)")
        }
        do { try contender.clear() } catch { losses.append("\(error)") }
        if losses.count > Self.mostLosses {
            losses = losses.prefix(Self.mostLosses) + ["and \(losses.count - Self.mostLosses) more"]
        }
        return Report.Fidelity(losses: losses, diffIDs: diffIDs)
    }

    private func run(_ contender: Contender, _ losses: inout [String], _ diffIDs: inout [String]) throws {
        try contender.create("base")
        let written = try contender.withMounted("base") { root in
            losses += try FidelityTree.fill(root).refused
            return try SeenTree(root)
        }
        try contender.commit("base")
        losses += try picture(contender, of: "base").losses(against: written).map { "once committed, \($0)" }
        try contender.create("child", parent: "base")
        let changed = try contender.withMounted("child") { root in
            losses += try SeenTree(root).losses(against: written).map { "in a child, \($0)" }
            try FidelityTree.change(root)
            return try SeenTree(root)
        }
        try contender.commit("child")
        losses += try picture(contender, of: "child").losses(against: changed).map { "the child, committed: \($0)" }
        var parent: String?
        for (layer, expected) in [("base", written), ("child", changed)] {
            let tar = "\(directory)/\(contender.driver)-\(layer).tar"
            defer { unlink(tar) }
            let diff = try write(contender, layer, to: tar)
            diffIDs.append(diff.diffID)
            losses += diff.warnings
            let copy = "copy-of-\(layer)"
            losses += try apply(contender, copy, parent: parent, tar)
            losses += try picture(contender, of: copy).losses(against: expected)
                .map { "out as a tar and in again, \($0)" }
            parent = copy
        }
    }

    private func picture(_ contender: Contender, of layer: String) throws -> SeenTree {
        try contender.withMounted(layer) { try SeenTree($0) }
    }

    private func write(_ contender: Contender, _ layer: String, to tar: String) throws -> WrittenDiff {
        let output = try FileDescriptor.opening(tar, .writeOnly, flags: O_CREAT | O_TRUNC)
        defer { output.closeQuietly() }
        return try contender.store.diff(LayerName(layer), to: output).written
    }

    private func apply(_ contender: Contender, _ layer: String, parent: String?, _ tar: String) throws -> [String] {
        let input = try FileDescriptor.opening(tar)
        defer { input.closeQuietly() }
        return try contender.store.importLayer(
            LayerName(layer), parent: parent.map { try LayerName($0) }, from: input, named: tar
        ).warnings
    }

    /// The same tree must give the same tar on all: those that give another one than most lose their score. Where there
    /// are as many of each, the first one's is right.
    static func compare(_ all: [Report.Fidelity]) -> [Report.Fidelity] {
        var votes: [[String]: Int] = [:]
        for fidelity in all where !fidelity.diffIDs.isEmpty { votes[fidelity.diffIDs, default: 0] += 1 }
        let most = votes.values.max() ?? 0
        guard let usual = all.first(where: { votes[$0.diffIDs] == most })?.diffIDs else { return all }
        return all.map { fidelity in
            var fidelity = fidelity
            if !fidelity.diffIDs.isEmpty, fidelity.diffIDs != usual {
                fidelity.losses.append("its tars are not those that other drivers give of the same tree")
            }
            return fidelity
        }
    }
}
