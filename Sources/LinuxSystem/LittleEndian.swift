extension RandomAccessCollection where Element == UInt8, Index == Int {
    /// A little-endian number at an offset from the first byte.
    public func littleEndian<Value: FixedWidthInteger & UnsignedInteger>(_ type: Value.Type, at offset: Int) -> Value {
        (0..<Value.bitWidth / 8).reversed().reduce(0) { $0 << 8 | Value(self[startIndex + offset + $1]) }
    }
}

extension UnsafeRawBufferPointer {
    /// A little-endian number at an offset from the first byte.
    public func number<Value: FixedWidthInteger>(_ type: Value.Type, at offset: Int) -> Value {
        Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}
