import LinuxSystem
import SystemPackage

/// A driver that can say what may differ between a layer and its parent without walking both trees.
public protocol ChangeTracking: StorageDriver {
    /// Names every entry that may differ between `parent`, which is committed, and `child`, made of it, which nobody
    /// writes meanwhile.
    ///
    /// What is named need not differ: the caller compares it. What is not named is equal in both trees, except below
    /// a directory that is named and is another directory than at this path of the parent: the caller walks the whole
    /// of such a directory.
    /// - Returns: nil when the mechanism cannot tell for these two, and a walk of both trees must.
    func touched(_ child: LayerTree, since parent: LayerTree) throws(StorageError) -> TouchedEntries?
}

/// A driver that can copy an active layer while it is mounted and written.
public protocol LiveSnapshots: StorageDriver {
    /// Makes `copy`, read-only as a committed layer is, with exactly what `layer` holds at one moment. Data that
    /// programs have written, synced or not, is in it.
    /// - Throws: as `create`. Nothing is left of a failed call.
    func snapshot(_ layer: LayerNumber, as copy: LayerNumber) throws(StorageError)
}

/// A driver whose layers are directories of a filesystem that is mounted for as long as the driver lives, so that their
/// trees can be read without mounting them first.
public protocol OpenTrees: StorageDriver {
    /// Opens the root directory of a layer for reading; the caller closes it. Nothing is activated by it.
    /// - Throws: `.notFound` when the number has no object.
    func openTree(_ layer: LayerNumber) throws(StorageError) -> FileDescriptor
}

/// A layer whose tree can be read.
public struct LayerTree: Sendable {
    public let number: LayerNumber
    /// Its root directory, read-only.
    public let root: FileDescriptor

    public init(_ number: LayerNumber, _ root: FileDescriptor) {
        self.number = number
        self.root = root
    }
}

/// Entries of two trees that may differ.
public struct TouchedEntries {
    /// Paths in either tree: relative to the root, parts joined by slashes; empty for the root itself. Of an inode that
    /// may differ one name that it has in the child is enough; names that only one of the trees has are all here.
    public var paths: Set<[UInt8]>

    /// Directories among `paths` that are the parent's, though the kernel shows another inode number or time of birth.
    /// Of all others the caller finds out by these two.
    public var sameDirectories: Set<[UInt8]>

    /// The names, in either tree, of an inode with several links; what lies below directories of another name or
    /// place than in the parent may be missing.
    public let names: (_ inode: UInt64) throws(StorageError) -> [[UInt8]]

    public init(
        paths: Set<[UInt8]>, sameDirectories: Set<[UInt8]> = [],
        names: @escaping (_ inode: UInt64) throws(StorageError) -> [[UInt8]]
    ) {
        self.paths = paths
        self.sameDirectories = sameDirectories
        self.names = names
    }
}
