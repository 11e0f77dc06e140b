import Glibc
import LinuxSystem
import SystemPackage

/// The argument of an ioctl whose structure has a long name in it, as bytes: zeros at first.
struct IoctlArguments: ~Copyable {
    private let memory: UnsafeMutableRawBufferPointer

    init(size: Int) {
        memory = .allocate(byteCount: size, alignment: 8)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { memory.deallocate() }

    /// Calls ioctl(2) with it.
    func call(
        _ request: UInt, _ descriptor: FileDescriptor, _ operation: String, _ object: String
    ) throws(SystemError) {
        try check(ioctl(descriptor.rawValue, request, memory.baseAddress!), operation, object)
    }

    func set<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        memory.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }

    func get<Value: FixedWidthInteger>(_ type: Value.Type, at offset: Int) -> Value {
        memory.loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// Puts a name, ended by NUL, into the field that ends the structure.
    /// - Throws: ENAMETOOLONG.
    func setName(_ name: String, at offset: Int) throws(SystemError) {
        let bytes = Array(name.utf8)
        guard offset + bytes.count < memory.count else { throw SystemError("name subvolume", name, .fileNameTooLong) }
        UnsafeMutableRawBufferPointer(rebasing: memory[offset...]).copyBytes(from: bytes)
    }

    /// The bytes of the field that ends the structure, up to its NUL.
    func name(at offset: Int) -> [UInt8] { Array(memory[offset...].prefix { $0 != 0 }) }

    func bytes(_ range: Range<Int>) -> [UInt8] { Array(memory[range]) }
}
