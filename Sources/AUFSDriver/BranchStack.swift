import LinuxSystem
import StorageDriver

/// What aufs is told to mount: branches on each other, the topmost first.
struct BranchStack {
    /// The topmost; the only one that is ever written.
    let top: String
    let isWritable: Bool
    let lowers: [String]
    /// Where aufs keeps its inode numbers while it is mounted: a file that it makes, and removes from the directory at
    /// once.
    let numbers: String

    /// Most branches of one mount (CONFIG_AUFS_BRANCH_MAX_127, what kernels were built with).
    static let mostBranches = 127
    /// mount(2) hands a page of options over; the kernel needs some of it.
    static let mostOptionBytes = 4096 - 96

    /// One option for each branch: a value that is handed over by fsconfig(2) has 255 bytes at most.
    ///
    /// `ro+wh` reads the names for what is gone in a branch that is not written. No links are kept beside their names
    /// (noplink): one name of a file that is written becomes a file of its own, as with overlayfs, and nothing has to be
    /// flushed before unmounting. Permissions of a directory are the topmost branch's alone (dirperm1). Nobody writes to
    /// a branch past aufs (udba=none).
    var options: [String] {
        ["noplink", "dirperm1", "udba=none", "br=\(top)=\(isWritable ? "rw" : "ro+wh")"]
            + lowers.map { "append=\($0)=ro+wh" } + ["xino=\(numbers)"] + (isWritable ? [] : ["ro"])
    }

    /// Why aufs cannot mount it; nil when it can.
    var refusal: String? {
        let count = lowers.count + 1
        if count > Self.mostBranches {
            return "\(count) layers lie on each other, and aufs stacks no more than \(Self.mostBranches)"
        }
        if options.reduce(0, { $0 + $1.utf8.count + 1 }) > Self.mostOptionBytes {
            return "\(count) layers lie on each other, and their paths do not fit into the options of a mount"
        }
        return nil
    }

    /// Characters that separate what aufs reads of its options.
    static let separators = ",:="
}
