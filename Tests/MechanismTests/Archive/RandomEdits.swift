import CLinux
import Glibc
import Lamina
import LinuxSystem
import SystemPackage

@testable import Bench

/// Makes random trees, and edits them as programs do, and as those do that want to be overlooked.
struct RandomEdits {
    private var random: SeededGenerator
    private let root: FileDescriptor
    /// What was done, for a failure's report.
    private(set) var log: [String] = []

    init(in root: FileDescriptor, seed: UInt64) {
        self.root = root
        random = SeededGenerator(seed: seed)
    }

    mutating func makeTree(entries: Int) throws {
        for _ in 0..<entries { try tolerantly { edits throws in try edits.make(at: edits.freePath()) } }
        for _ in 0..<entries / 8 { try tolerantly { edits throws in try edits.link() } }
    }

    mutating func edit(_ count: Int) throws {
        for _ in 0..<count { try tolerantly { edits throws in try edits.editOnce() } }
    }

    private mutating func tolerantly(_ body: (inout RandomEdits) throws -> Void) throws {
        do {
            try body(&self)
        } catch let error as SystemError {
            // A directory into itself, a name that is taken: less of an edit, then.
            log.append("(\(error.operation) \(error.object): \(error.errno))")
        }
    }

    private mutating func editOnce() throws {
        switch Int.random(in: 0..<22, using: &random) {
        case 0...1: try make(at: freePath())
        case 2: try remove()
        case 3: try rename(kind: nil)
        case 4: try rename(kind: .directory)
        case 5: try link()
        case 6: try swap()
        case 7: try replaceByOther()
        case 8: try remakeAlike()
        case 9: try remakeDirectory()
        case 10: try rewrite(keepingTime: true)
        case 11: try rewrite(keepingTime: false)
        case 12: try onFile("truncate") { try check(ftruncate($0.rawValue, off_t($1 / 2)), "truncate", "file") }
        case 13: try punch()
        case 14: try onEntry("chmod") { try $0.setPermissions(UInt32($2 & 0o7777), of: $1) }
        case 15: try onEntry("chown") { try $0.setOwner(of: $1, uid: UInt32($2 % 5), gid: UInt32($2 / 7 % 5)) }
        case 16: try onEntry("xattr") { try $0.setExtendedAttribute("trusted.x\($2 % 2)", [UInt8($2 % 200)], of: $1) }
        case 17: try onEntry("no xattr") { try $0.removeExtendedAttribute("trusted.x\($2 % 2)", of: $1) }
        case 18:
            try onEntry("ACL") {
                try $0.setExtendedAttribute(
                    "system.posix_acl_\($2 % 2 == 0 ? "access" : "default")", RichTree.acl, of: $1)
            }
        case 19:
            try onEntry("no ACL") { directory, name, _ in
                try directory.removeExtendedAttribute("system.posix_acl_access", of: name)
            }
        case 20: try onEntry("time") { try $0.setModified(.init(seconds: Int64($2 % 1000), nanoseconds: 1), of: $1) }
        default:
            try onEntry("same time") { directory, name, _ in
                try directory.setModified(directory.status(of: name).modified, of: name)
            }
        }
    }

    // MARK: Where

    private struct Place {
        let path: [UInt8]
        let kind: FileStatus.Kind
    }

    private func places() throws -> [Place] {
        var found: [Place] = []
        func walk(_ directory: FileDescriptor, _ path: [UInt8]) throws {
            for name in try directory.entries() {
                let below = path + (path.isEmpty ? [] : [0x2F]) + name.bytes
                let kind = try directory.status(of: name).kind
                found.append(Place(path: below, kind: kind))
                guard kind == .directory else { continue }
                let child = try directory.openEntry(name, flags: directoryFlag)
                defer { child.closeQuietly() }
                try walk(child, below)
            }
        }
        try walk(root, [])
        return found
    }

    private mutating func place(where condition: (Place) -> Bool = { _ in true }) throws -> Place {
        guard let place = try places().filter(condition).randomElement(using: &random) else {
            throw SystemError("choose", "place", .noSuchFileOrDirectory)
        }
        return place
    }

    private mutating func freePath() throws -> [UInt8] {
        let directories = try [[]] + places().filter { $0.kind == .directory }.map(\.path)
        let directory = directories.randomElement(using: &random)!
        let names = [
            "a", "b", "c", "d", "e", "f", "g.h", "a-b", "o257-7-0", "\u{FC}",
            "long" + String(repeating: "x", count: 120),
        ]
        var name = Array(names.randomElement(using: &random)!.utf8)
        if Int.random(in: 0..<12, using: &random) == 0 { name.append(0xFF) }
        if Int.random(in: 0..<2, using: &random) == 0 {
            name += Array(String(Int.random(in: 0..<20, using: &random)).utf8)
        }
        return directory + (directory.isEmpty ? [] : [0x2F]) + name
    }

    private func text(_ path: [UInt8]) -> String { TreePicture.escaped(path) }

    /// Runs `body` with the directory that holds a path, and the last name.
    private func at<Result>(_ path: [UInt8], _ body: (FileDescriptor, EntryName) throws -> Result) throws -> Result {
        let slash = path.lastIndex(of: 0x2F)
        let above = slash.map { Array(path[..<$0]) } ?? [0x2E]
        let directory = try root.openEntry(EntryName(above), flags: directoryFlag)
        defer { directory.closeQuietly() }
        return try body(directory, EntryName(slash.map { Array(path[($0 + 1)...]) } ?? path))
    }

    // MARK: What

    private mutating func contents() -> [UInt8] {
        let size = [0, 1, 100, 5000, 20000].randomElement(using: &random)!
        let byte = UInt8.random(in: 0...3, using: &random)
        return [UInt8](repeating: byte, count: size)
    }

    private mutating func make(at path: [UInt8]) throws {
        let kind = Int.random(in: 0..<12, using: &random)
        let data = contents()
        let number = UInt32.random(in: 0..<3, using: &random)
        log.append("make \(text(path)) (\(kind))")
        try at(path) { directory, name in
            switch kind {
            case 0...2: try directory.makeDirectory(name, permissions: 0o755)
            case 3: try directory.makeSymlink(name, to: Array("to\(number)".utf8))
            case 4: try directory.makeNode(name, .fifo, DeviceNumber(major: 0, minor: 0))
            case 5: try directory.makeNode(name, .characterDevice, DeviceNumber(major: number, minor: number))
            case 6: try directory.makeNode(name, .blockDevice, DeviceNumber(major: 7, minor: number))
            case 7: try directory.makeNode(name, .socket, DeviceNumber(major: 0, minor: 0))
            default:
                let file = try directory.openEntry(name, .writeOnly, flags: O_CREAT | O_EXCL, permissions: 0o644)
                defer { file.closeQuietly() }
                try data.withUnsafeBytes { try file.writeFully($0, at: 0, to: name.text) }
            }
        }
    }

    private mutating func remove() throws {
        let place = try place()
        log.append("remove \(text(place.path))")
        try at(place.path) { try $0.removeEntry($1) }
    }

    private mutating func rename(kind: FileStatus.Kind?) throws {
        let (from, to) = (try place { kind == nil || $0.kind == kind }.path, try freePath())
        log.append("rename \(text(from)) to \(text(to))")
        try move(from, to)
    }

    private func move(_ from: [UInt8], _ to: [UInt8]) throws {
        try at(from) { source, old in
            try at(to) { target, new in
                let result = old.withCString { from in
                    new.withCString { renameat(source.rawValue, from, target.rawValue, $0) }
                }
                try check(result, "rename", old.text)
            }
        }
    }

    /// Two directories change places.
    private mutating func swap() throws {
        let (one, two) = (try place { $0.kind == .directory }.path, try place { $0.kind == .directory }.path)
        if one == two || one.starts(with: two) || two.starts(with: one) { return }
        log.append("swap \(text(one)) and \(text(two))")
        let aside = Array("aside".utf8)
        try move(one, aside)
        try move(two, one)
        try move(aside, two)
    }

    private mutating func link() throws {
        let (from, to) = (try place { $0.kind != .directory }.path, try freePath())
        log.append("link \(text(from)) as \(text(to))")
        try at(from) { source, old in try at(to) { target, new in try target.makeLink(new, to: old, in: source) } }
    }

    private mutating func replaceByOther() throws {
        let path = try place().path
        log.append("replace \(text(path)):")
        try at(path) { try $0.removeEntry($1) }
        try make(at: path)
    }

    /// A file goes and comes again with the same contents, owner, mode and time.
    private mutating func remakeAlike() throws {
        let path = try place { $0.kind == .regular }.path
        log.append("remake \(text(path))")
        try at(path) { directory, name in
            let status = try directory.status(of: name)
            let old = try directory.openEntry(name)
            defer { old.closeQuietly() }
            try directory.removeEntry(name)
            let new = try directory.openEntry(name, .readWrite, flags: O_CREAT | O_EXCL, permissions: 0o600)
            defer { new.closeQuietly() }
            try copyData(from: old, to: new, size: status.size)
            try directory.setOwner(of: name, uid: status.uid, gid: status.gid)
            try directory.setPermissions(status.permissions, of: name)
            try directory.setModified(status.modified, of: name)
        }
    }

    /// A directory goes, and comes again with another content.
    private mutating func remakeDirectory() throws {
        let path = try place { $0.kind == .directory }.path
        log.append("remake \(text(path)):")
        try at(path) { directory, name in
            try directory.removeEntry(name)
            try directory.makeDirectory(name, permissions: 0o755)
        }
        for name in ["a", "b", "c"] { try make(at: path + [0x2F] + Array(name.utf8)) }
    }

    private mutating func rewrite(keepingTime: Bool) throws {
        let path = try place { $0.kind == .regular }.path
        let byte = UInt8.random(in: 1...255, using: &random)
        log.append("rewrite \(text(path))\(keepingTime ? " secretly" : "")")
        try at(path) { directory, name in
            let status = try directory.status(of: name)
            let file = try directory.openEntry(name, .writeOnly)
            defer { file.closeQuietly() }
            let count = Int(min(status.size, 10))
            try [UInt8](repeating: byte, count: count).withUnsafeBytes { try file.writeFully($0, at: 0, to: name.text) }
            if keepingTime { try directory.setModified(status.modified, of: name) }
        }
    }

    private mutating func onFile(_ what: String, _ body: (FileDescriptor, UInt64) throws -> Void) throws {
        let path = try place { $0.kind == .regular }.path
        log.append("\(what) \(text(path))")
        try at(path) { directory, name in
            let file = try directory.openEntry(name, .writeOnly)
            defer { file.closeQuietly() }
            try body(file, directory.status(of: name).size)
        }
    }

    /// A hole where there was data; the size stays.
    private mutating func punch() throws {
        try onFile("punch") { file, size in
            if size > 4096 {
                try check(
                    lam_fallocate(file.rawValue, LAM_PUNCH_HOLE, 0, 4096), "punch", "file")
            }
        }
    }

    private mutating func onEntry(_ what: String, _ body: (FileDescriptor, EntryName, Int) throws -> Void) throws {
        let place = try place { $0.kind != .symlink }
        let number = Int.random(in: 0..<100_000, using: &random)
        log.append("\(what) \(text(place.path)) (\(number))")
        try at(place.path) { try body($0, $1, number) }
    }
}
