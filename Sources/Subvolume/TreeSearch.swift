import CBtrfs
import Glibc
import LinuxSystem
import SystemPackage

/// One item of a btrfs tree, as BTRFS_IOC_TREE_SEARCH_V2 returns it; `data` is valid only in the callback.
struct TreeItem {
    let objectID: UInt64
    let type: UInt32
    let offset: UInt64
    let data: UnsafeRawBufferPointer
}

/// Reads the items of a tree whose keys lie in a range, in their order.
/// - Parameter tree: id of the tree; 0 is that of the subvolume open as `descriptor`.
func searchTree(
    _ tree: UInt64, through descriptor: FileDescriptor, objects: ClosedRange<UInt64>,
    types: ClosedRange<UInt32> = 0...UInt32.max, _ body: (TreeItem) -> Void
) throws(SystemError) {
    let headerSize = MemoryLayout<btrfs_ioctl_search_header>.size
    let argumentsSize = MemoryLayout<btrfs_ioctl_search_args_v2>.size
    let bufferSize = 1 << 18
    let memory = UnsafeMutableRawPointer.allocate(byteCount: argumentsSize + bufferSize, alignment: 8)
    defer { memory.deallocate() }
    var next: (object: UInt64, type: UInt32, offset: UInt64) = (objects.lowerBound, types.lowerBound, 0)
    while true {
        var arguments = btrfs_ioctl_search_args_v2()
        arguments.key.tree_id = tree
        arguments.key.min_objectid = next.object
        arguments.key.max_objectid = objects.upperBound
        arguments.key.min_type = next.type
        arguments.key.max_type = types.upperBound
        arguments.key.min_offset = next.offset
        arguments.key.max_offset = .max
        arguments.key.max_transid = .max
        arguments.key.nr_items = .max
        arguments.buf_size = UInt64(bufferSize)
        memory.storeBytes(of: arguments, as: btrfs_ioctl_search_args_v2.self)
        try check(
            ioctl(descriptor.rawValue, UInt(LAM_BTRFS_IOC_TREE_SEARCH_V2), memory), "search btrfs tree", "tree \(tree)")
        let found = memory.load(as: btrfs_ioctl_search_args_v2.self).key.nr_items
        if found == 0 { return }
        var position = argumentsSize
        for _ in 0..<found {
            let header = memory.loadUnaligned(fromByteOffset: position, as: btrfs_ioctl_search_header.self)
            let data = UnsafeRawBufferPointer(start: memory + position + headerSize, count: Int(header.len))
            body(TreeItem(objectID: header.objectid, type: header.type, offset: header.offset, data: data))
            position += headerSize + Int(header.len)
            next = (header.objectid, header.type, header.offset)
        }
        // The key after the last one found.
        if next.offset < .max {
            next.offset += 1
        } else if next.type < UInt32(UInt8.max) {
            next = (next.object, next.type + 1, 0)
        } else if next.object < objects.upperBound {
            next = (next.object + 1, 0, 0)
        } else {
            return
        }
    }
}
