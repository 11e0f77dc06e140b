import Glibc
import LinuxSystem
import StorageDriver
import Synchronization
import SystemPackage

/// Finds what one tree changed against another, by an ordered walk of both: of all of them, or of what a driver says
/// may differ. Both give the same.
///
/// A directory whose time of modification is another counts as modified, as it does for Docker. What is below a
/// directory that is gone is not told; what is below one that is new is.
///
/// Hard links: the names of an inode belong together. When one of them is new, gone or differs, or when they were not
/// names of one inode before, all of them are told, so that each tells of the same new file. Link counts only say where
/// to look: overlayfs shows those of the files below, names that it hides included.
struct TreeComparison {
    private var found: [TreeChange] = []
    /// Names in the child of inodes that have several links in one of the trees.
    private var links: [UInt64: [Link]] = [:]
    /// Names in the parent of inodes with several links, without those below directories that are gone.
    private var formerNames: [UInt64: Set<EntryPath>] = [:]
    /// Directories of the parent in whose place the child has none.
    private var goneDirectories: [EntryPath] = []
    /// Directories that were walked in full.
    private var walked: Set<EntryPath> = []
    /// Directories that a driver says to be the same in both trees.
    private let sameDirectories: Set<[UInt8]>
    /// Where directories are left to other threads; nil where one walks alone.
    private let stock: WalkStock?

    private struct Link {
        let path: EntryPath
        /// Of the same path in the parent.
        let parentInode: UInt64?
        let isChanged: Bool
        /// How many links the kernel shows in the parent.
        let formerCount: Int
    }

    private init(sameDirectories: Set<[UInt8]> = [], stock: WalkStock? = nil) {
        self.sameDirectories = sameDirectories
        self.stock = stock
    }

    /// - Parameters:
    ///   - parent: nil tells all as added.
    ///   - touched: what may differ; nil walks both trees.
    ///   - threads: how many walk.
    /// - Returns: the changes in the order of a walk; the root itself, with an empty path, when anything about it
    ///   differs.
    static func changes(
        from parent: FileDescriptor?, to child: FileDescriptor, touched: TouchedEntries? = nil, threads: Int
    ) throws -> [TreeChange] {
        var comparison = TreeComparison(sameDirectories: touched?.sameDirectories ?? [])
        try comparison.root(parent, child)
        if let parent, let touched {
            // The root has been compared.
            var candidates = Set(touched.paths.map(EntryPath.init(bytes:))).subtracting([.root])
            var seen = candidates
            while !candidates.isEmpty {
                try comparison.directory(parent, child, .root, only: candidates.inOrderOfWalk())
                candidates = []
                for inode in comparison.links.keys {
                    for name in try touched.names(inode).map(EntryPath.init(bytes:))
                    where !comparison.isKnown(name, of: inode) && seen.insert(name).inserted {
                        candidates.insert(name)
                    }
                }
            }
        } else if threads > 1 {
            try comparison.all(parent, child, threads: threads)
        } else {
            try comparison.directory(parent, child, .root, only: nil)
        }
        if let parent { try comparison.completeFormerNames(in: parent) }
        return comparison.result()
    }

    /// Compares all of both trees by several threads, each with what it has found; put together at the end.
    private mutating func all(_ parent: FileDescriptor?, _ child: FileDescriptor, threads: Int) throws {
        let stock = WalkStock(threads: threads)
        let root = try WalkStock.Pair(.root, child: child.openEntry(.itself, flags: directoryFlag)) {
            try parent?.openEntry(.itself, flags: directoryFlag)
        }
        // The first one is always taken.
        _ = stock.leave(root)
        let parts = Mutex<[TreeComparison]>([])
        let others = (1..<threads).map { _ in
            try? startThread {
                let part = Self.part(of: stock)
                parts.withLock { $0.append(part) }
            }
        }
        // A thread that could not be started takes nothing.
        let own = Self.part(of: stock)
        for case let thread? in others { pthread_join(thread, nil) }
        try stock.finish()
        for part in [own] + parts.withLock({ $0 }) { add(part) }
    }

    /// What one of several threads finds.
    private static func part(of stock: WalkStock) -> TreeComparison {
        var comparison = TreeComparison(stock: stock)
        while let pair = stock.next() {
            do {
                try comparison.directory(pair.parent, pair.child, pair.path, only: nil)
                stock.done(pair)
            } catch {
                stock.done(pair, failure: error)
            }
        }
        return comparison
    }

    private mutating func add(_ part: TreeComparison) {
        found += part.found
        links.merge(part.links, uniquingKeysWith: +)
        formerNames.merge(part.formerNames) { $0.union($1) }
        goneDirectories += part.goneDirectories
    }

    /// Looks below directories that are gone, where that decides whether names are gone.
    private mutating func completeFormerNames(in parent: FileDescriptor) throws {
        let isOpen = links.values.contains { group in
            !isChanged(group) && group[0].formerCount > group.count
        }
        guard isOpen else { return }
        while let path = goneDirectories.popLast() {
            let directory = try parent.openDirectory(beneath: path.bytes)
            defer { directory.closeQuietly() }
            for name in try directory.entries() {
                noteFormer(TreeEntry(directory, name, try directory.status(of: name)), path.appending(name.bytes))
            }
        }
    }

    /// Notes an entry of the parent that is the child's no more, or not of the same type.
    private mutating func noteFormer(_ old: TreeEntry, _ path: EntryPath) {
        if old.status.kind == .directory {
            goneDirectories.append(path)
        } else if old.status.linkCount > 1 {
            formerNames[old.status.inode, default: []].insert(path)
        }
    }

    private func isKnown(_ path: EntryPath, of inode: UInt64) -> Bool {
        if links[inode]?.contains(where: { $0.path == path }) == true { return true }
        var above = path
        while !above.isRoot {
            if walked.contains(above) { return true }
            above = above.parent
        }
        return false
    }

    private func result() -> [TreeChange] {
        var changes = found
        for group in links.values where isChanged(group) {
            changes += group.filter { !$0.isChanged }.map { TreeChange(kind: .modified, path: $0.path) }
        }
        changes.sort { $0.path.precedesInWalk($1.path) }
        // Ways to candidates meet.
        var last: EntryPath?
        return changes.filter { change in
            defer { last = change.path }
            return change.path != last
        }
    }

    /// Whether names of one inode in the child are told. Each that is not changed itself was there before.
    private func isChanged(_ group: [Link]) -> Bool {
        let former = group[0].parentInode
        return group.contains { $0.isChanged || $0.parentInode != former }
            || former.flatMap { formerNames[$0]?.count ?? 1 } != group.count
    }

    private mutating func root(_ parent: FileDescriptor?, _ child: FileDescriptor) throws {
        let new = TreeEntry(child, .itself, try child.status())
        guard let parent else { return found.append(TreeChange(kind: .added, path: .root)) }
        if try !new.isEqual(to: TreeEntry(parent, .itself, parent.status())) {
            found.append(TreeChange(kind: .modified, path: .root))
        }
    }

    /// Compares what is in a directory: `only` these paths below it, in the order of a walk, or all.
    private mutating func directory(
        _ parent: FileDescriptor?, _ child: FileDescriptor, _ path: EntryPath, only: ArraySlice<EntryPath>?
    ) throws {
        guard let only else {
            let (old, new) = (try parent?.entries() ?? [], try child.entries())
            var (i, j) = (0, 0)
            while i < old.count || j < new.count {
                let isOld = j == new.count || (i < old.count && old[i] <= new[j])
                let isNew = i == old.count || (j < new.count && new[j] <= old[i])
                let name = isOld ? old[i] : new[j]
                let before = try isOld ? parent.map { TreeEntry($0, name, try $0.status(of: name)) } : nil
                let after = try isNew ? TreeEntry(child, name, child.status(of: name)) : nil
                try entry(before, after, path.appending(name.bytes), only: nil)
                if isOld { i += 1 }
                if isNew { j += 1 }
            }
            return
        }
        var rest = only
        while let first = rest.first {
            let below = path.isRoot ? 0 : path.bytes.count + 1
            let name = EntryName(Array(first.bytes[below...].prefix { $0 != UInt8(ascii: "/") }))
            let place = path.appending(name.bytes)
            let group = rest.prefix { $0.isWithin(place) }
            rest = rest.dropFirst(group.count)
            let before = try parent.flatMap { try TreeEntry($0, name) }
            try entry(before, try TreeEntry(child, name), place, only: group.drop { $0 == place })
        }
    }

    private mutating func entry(
        _ old: TreeEntry?, _ new: TreeEntry?, _ path: EntryPath, only: ArraySlice<EntryPath>?
    ) throws {
        if let old, old.status.kind != .directory || new?.status.kind != .directory { noteFormer(old, path) }
        guard let new else {
            if old != nil { found.append(TreeChange(kind: .deleted, path: path)) }
            return
        }
        let isEqual = try old.map { try new.isEqual(to: $0) } ?? false
        if !isEqual { found.append(TreeChange(kind: old == nil ? .added : .modified, path: path)) }
        guard new.status.kind == .directory else {
            let formerCount = old.map { $0.status.kind == .directory ? 1 : $0.status.linkCount } ?? 0
            if max(new.status.linkCount, formerCount) > 1,
                links[new.status.inode]?.contains(where: { $0.path == path }) != true
            {
                let link = Link(
                    path: path, parentInode: old?.status.inode, isChanged: !isEqual, formerCount: Int(formerCount))
                links[new.status.inode, default: []].append(link)
            }
            return
        }
        var only = only
        if only != nil, old.map({ isSame(new, $0, path) }) != true {
            // Another directory than before: a driver says nothing about what is below it.
            if walked.contains(path) { return }
            walked.insert(path)
            only = nil
        }
        if let only, only.isEmpty { return }
        let pair = try WalkStock.Pair(path, child: new.openDirectory()) {
            try old.flatMap { $0.status.kind == .directory ? try $0.openDirectory() : nil }
        }
        if stock?.leave(pair) == true { return }
        defer { pair.close() }
        try directory(pair.parent, pair.child, path, only: only)
    }

    private func isSame(_ new: TreeEntry, _ old: TreeEntry, _ path: EntryPath) -> Bool {
        new.isSameDirectory(as: old) || (old.status.kind == .directory && sameDirectories.contains(path.bytes))
    }
}

extension Set<EntryPath> {
    fileprivate func inOrderOfWalk() -> ArraySlice<EntryPath> { sorted { $0.precedesInWalk($1) }[...] }
}
