import Glibc
import LinuxSystem
import StorageDriver
import SystemPackage

/// Whether upper directories of this kernel tell all that a layer changed: tried out once in a boot, on a small stack of
/// its own on the root's filesystem.
struct NativeDiff {
    let ground: OverlayGround

    private var verdict: String { ground.directory + "/native-diff" }
    private var directory: String { ground.directory + "/trial" }
    private var lock: String { ground.directory + "/trial.lock" }

    /// - Throws: `SystemError` when overlayfs cannot be mounted here.
    func isProven() throws(SystemError) -> Bool {
        let boot = currentBootID()
        func kept() -> Bool? {
            let words = (readText(verdict) ?? "").split(whereSeparator: \.isWhitespace)
            return words.count == 2 && words[0] == boot ? words[1] == "yes" : nil
        }
        if let kept = kept() { return kept }
        // Nil is only for those who do not wait.
        let lock = try FileLock.take(lock, byte: 0, .exclusive)!
        defer { extendLifetime(lock) }
        if let kept = kept() { return kept }
        let isProven = try prove()
        // Where it cannot be kept, the next one tries again.
        try? writeText("\(boot) \(isProven ? "yes" : "no")\n", to: verdict)
        return isProven
    }

    /// Does what programs do, and looks at what has come of it in the upper directory.
    private func prove() throws(SystemError) -> Bool {
        let base = try FileDescriptor.openingDirectory(ground.directory)
        defer { base.closeQuietly() }
        // A killed trial may have left its own.
        if exists(directory) { try base.removeEntry(EntryName("trial")) }
        defer { try? base.removeEntry(EntryName("trial")) }
        for path in ["bottom/opaque", "top/changed", "top/remade", "top/opaque", "upper", "work"] {
            try makeDirectories("\(directory)/\(path)")
        }
        let data = String(repeating: "data", count: 2048)
        for path in [
            "bottom/opaque/hidden", "top/changed/file", "top/changed/gone", "top/remade/old", "top/opaque/file",
        ] { try writeText(data, to: "\(directory)/\(path)") }
        let top = try FileDescriptor.openingDirectory(directory + "/top")
        defer { top.closeQuietly() }
        try top.setExtendedAttribute(OverlayAttribute.opaque, OverlayAttribute.yes, of: EntryName("opaque"))

        let stack = OverlayStack(
            directory: directory, source: ground.source(LayerNumber(0)), lowers: ["top", "bottom"],
            upper: .init(directory: "upper", work: "work"), options: OverlayGround.options, isReadOnly: false)
        let isHidden: Bool
        do {
            let mount = try DetachedMount(stack)
            let root = try mount.openRoot()
            defer { root.closeQuietly() }
            isHidden = try entry("opaque/hidden", in: root) == nil
            try root.setPermissions(0o640, of: EntryName("changed/file"))
            try root.setPermissions(0o640, of: EntryName("opaque/file"))
            try root.removeEntry(EntryName("changed/gone"))
            try root.removeEntry(EntryName("remade"))
            try root.makeDirectory(EntryName("remade"), permissions: 0o755)
            let renamed = renameat(root.rawValue, "changed", root.rawValue, "renamed")
            if renamed == 0 || Errno.current != .improperLink { return false }
        }
        let upper = try FileDescriptor.openingDirectory(directory + "/upper")
        defer { upper.closeQuietly() }
        let gone = try entry("changed/gone", in: upper)
        let remade = try entry("remade", in: upper)
        let changed = try entry("changed", in: upper)
        let opaque = try entry("opaque", in: upper)
        return isHidden && gone?.status.isWhiteout == true
            && remade?.attributes[OverlayAttribute.opaque] == OverlayAttribute.yes
            && changed?.attributes[OverlayAttribute.opaque] == nil
            && changed?.attributes[OverlayAttribute.redirect] == nil
            // Linux before 4.8 copied it up.
            && opaque?.attributes[OverlayAttribute.opaque] == nil
            && readText(directory + "/upper/changed/file") == data
    }

    private func entry(
        _ path: String, in directory: FileDescriptor
    ) throws(SystemError) -> (status: FileStatus, attributes: ExtendedAttributes)? {
        do throws(SystemError) {
            let name = EntryName(path)
            return (try directory.status(of: name), try directory.extendedAttributes(of: name))
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }
}

/// Notes of overlayfs in upper directories (the kernel's Documentation/filesystems/overlayfs.rst).
enum OverlayAttribute {
    static let prefix = "trusted.overlay."
    /// On a directory that does not show what lower ones have.
    static let opaque = AttributeName(prefix + "opaque")
    static let redirect = AttributeName(prefix + "redirect")
    /// On the root of an upper directory that was mounted with `index=on`: what was below it.
    static let origin = AttributeName(prefix + "origin")
    /// On the root of an upper directory: the identity of the overlay.
    static let uuid = AttributeName(prefix + "uuid")

    static let yes = Array("y".utf8)
}

extension FileStatus {
    /// Whether it stands in an upper directory for an entry that is gone.
    var isWhiteout: Bool { kind == .characterDevice && node == DeviceNumber(major: 0, minor: 0) }
}
