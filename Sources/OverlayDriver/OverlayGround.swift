import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Where the directories of a root's layers are, and how they lie on each other.
///
/// `<root>/overlay2/layers/<number>` is a layer. In it are `diff`, what the layer itself has; `work`, overlayfs's own
/// while the layer is active: one that has none is committed, and can only be a lower directory; `merged`, where the
/// whole is mounted while it is in use; and `parent`, a symlink to the directory of the layer below, if there is one.
/// `<root>/overlay2/partial/<number>` is what a creation that did not end has left. `<root>/overlay2/l` holds a short
/// name for each `diff`, for stacks of hundreds.
struct OverlayGround: Sendable {
    let root: RootLocation

    var directory: String { root.path + "/overlay2" }
    var layers: String { directory + "/layers" }
    var partials: String { directory + "/partial" }
    var links: String { directory + "/l" }
    /// Below the lowest layer, for overlayfs wants a lower directory of every mount.
    var empty: String { directory + "/empty" }

    func layer(_ number: LayerNumber) -> String { "\(layers)/\(number)" }
    func partial(_ number: LayerNumber) -> String { "\(partials)/\(number)" }
    func diff(_ number: LayerNumber) -> String { "\(layers)/\(number)/diff" }
    func work(_ number: LayerNumber) -> String { "\(layers)/\(number)/work" }
    func merged(_ number: LayerNumber) -> String { "\(layers)/\(number)/merged" }
    func link(_ number: LayerNumber) -> String { "\(links)/\(Self.shortName(number))" }

    /// What the mount table shows as the source of a layer's mounts.
    func source(_ number: LayerNumber) -> String { "lamina-\(root.id)-\(number)" }

    /// Six letters and digits name two thousand million layers.
    static func shortName(_ number: LayerNumber) -> String { String(number.rawValue, radix: 36) }

    func isCommitted(_ number: LayerNumber) -> Bool { !exists(work(number)) }

    /// The layer below; nil for one that has none.
    func parent(of number: LayerNumber) throws(SystemError) -> LayerNumber? {
        try chain(from: number, atMost: 2).dropFirst().first
    }

    /// The layer and all below it, topmost first.
    /// - Throws: `SystemError`; ENOENT when one of them is missing, ELOOP when there are more than can be.
    func chain(from number: LayerNumber) throws(SystemError) -> [LayerNumber] {
        let chain = try chain(from: number, atMost: OverlayStack.mostLowers + 1)
        if chain.count > OverlayStack.mostLowers {
            throw SystemError("stack", layer(number), .tooManySymbolicLinkLevels)
        }
        return chain
    }

    private func chain(from number: LayerNumber, atMost count: Int) throws(SystemError) -> [LayerNumber] {
        let directory = try FileDescriptor.openingDirectory(layers)
        defer { directory.closeQuietly() }
        var chain = [number]
        while chain.count < count {
            let target: [UInt8]
            do throws(SystemError) {
                target = try directory.readLink(EntryName("\(chain.last!)/parent"))
            } catch {
                guard error.errno == .noSuchFileOrDirectory, exists(layer(chain.last!)) else { throw error }
                break
            }
            guard let below = UInt64(String(decoding: target.dropFirst(3), as: UTF8.self)) else {
                throw SystemError("read parent of", layer(chain.last!), .ioError, detail: "it names no layer")
            }
            chain.append(LayerNumber(below))
        }
        return chain
    }

    /// The stack that shows a layer: below its own directory, or with it as the topmost lower one.
    func stack(_ number: LayerNumber, isReadOnly: Bool) throws(SystemError) -> OverlayStack {
        let chain = try chain(from: number)
        let isActive = !isCommitted(number)
        var lowers = (isActive ? chain.dropFirst() : chain[...]).map(Self.shortName)
        // Without an upper directory, overlayfs wants two lower ones.
        if lowers.count < (isActive ? 1 : 2) { lowers.append("../empty") }
        return OverlayStack(
            directory: links, source: source(number), lowers: lowers, upper: isActive ? upper(number) : nil,
            options: Self.options, isReadOnly: isReadOnly)
    }

    func upper(_ number: LayerNumber) -> OverlayStack.Upper {
        OverlayStack.Upper(directory: "../layers/\(number)/diff", work: "../layers/\(number)/work")
    }

    /// What overlayfs keeps in upper directories must not depend on how the host's kernel is configured, and must not
    /// need anything but the directory itself: no renamed directory that is only noted (`redirect_dir`), nor the
    /// following of a note that somebody has planted; no file whose data is still below (`metacopy`); no index of
    /// files in the work directory, by which a committed layer would look otherwise than the active one (`index`,
    /// `nfs_export`).
    static let options = ["redirect_dir=nofollow", "metacopy=off", "index=off", "nfs_export=off"]
}
