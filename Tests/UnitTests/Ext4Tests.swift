import Fixtures
import Foundation
import Glibc
import LinuxSystem
import SystemPackage
import Testing

@testable import DeviceMapperDriver

/// The reader of ext4's inode tables, against filesystems that mkfs.ext4 has made, and what debugfs says of them.
@Suite(.enabled(if: Program("mkfs.ext4") != nil && Program("debugfs") != nil, "needs e2fsprogs"))
struct Ext4Tests {
    private func withImage(
        _ arguments: [String], bytes: UInt64 = 64 << 20, _ body: (_ path: String, FileDescriptor) throws -> Void
    ) throws {
        try withTemporaryDirectory { directory in
            let image = directory + "/image"
            try makeSparseFile(image, size: bytes)
            try #require(Program("mkfs.ext4")).run(["-q", "-F"] + arguments + [image], on: image)
            try FileDescriptor.opening(image, .readWrite).closing { try body(image, $0) }
        }
    }

    /// Where an inode is, by debugfs: "located at block 1062, offset 0x0b00".
    private func place(of inode: UInt64, in image: String, blockSize: UInt64) throws -> UInt64 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Program("debugfs")).path)
        process.arguments = ["-R", "imap <\(inode)>", image]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let words = text.split { " ,\n".contains($0) }
        let block = try #require(words.firstIndex(of: "block").flatMap { _ in words.lastIndex(of: "block") })
        let offset = try #require(words.last.flatMap { UInt64($0.dropFirst(2), radix: 16) })
        return try #require(UInt64(words[block + 1])) * blockSize + offset
    }

    @Test(arguments: [
        (["-b", "4096"], 4096), (["-b", "1024"], 1024), (["-b", "4096", "-I", "512", "-g", "8192"], 4096),
        (["-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024"], 1024),
        (["-b", "1024", "-O", "meta_bg,^resize_inode,sparse_super2", "-g", "1024"], 1024),
        (["-b", "1024", "-O", "^64bit,^flex_bg", "-g", "1024", "-I", "128"], 1024),
        (["-b", "4096", "-O", "64bit,^sparse_super,^resize_inode", "-g", "2048"], 4096),
    ]) func inodesAreWhereTheyAre(_ arguments: [String], _ blockSize: Int) throws {
        try withImage(arguments) { image, file in
            let tables = try #require(try Ext4InodeTables(on: file))
            let all = tables.tables.count * tables.inodesPerGroup
            for inode in stride(from: 1, through: UInt64(all), by: all / 13) {
                let place = try place(of: inode, in: image, blockSize: UInt64(blockSize))
                let piece = tables.pieces(in: [place..<place + 1])
                #expect(piece.count == 1 && piece.first?.first == inode, "inode \(inode)")
            }
        }
    }

    @Test func piecesAreCutAtTheEndsOfTables() throws {
        try withImage(["-b", "4096", "-g", "2048", "-O", "^flex_bg"]) { _, file in
            let tables = try #require(try Ext4InodeTables(on: file))
            let length = UInt64(tables.inodesPerGroup * tables.inodeSize)
            let whole = tables.pieces(in: [0..<64 << 20])
            #expect(whole.map(\.bytes) == tables.tables.map { $0..<$0 + length })
            let (one, two) = (tables.tables[1], tables.tables[2])
            let pieces = tables.pieces(in: [one + length - 256..<one + length + 512, two - 4096..<two + 256])
            #expect(pieces.map(\.bytes) == [one + length - 256..<one + length, two..<two + 256])
            #expect(pieces.map(\.first) == [UInt64(2 * tables.inodesPerGroup), UInt64(2 * tables.inodesPerGroup + 1)])
        }
    }

    @Test func whatIsNotUnderstoodIsRefused() throws {
        try withImage([]) { _, file in
            func put(_ byte: UInt8, at offset: UInt64) throws {
                try [byte].withUnsafeBytes { try file.writeFully($0, at: 1024 + offset, to: "image") }
            }
            let good = try file.readBytes(1, at: 1024 + 0x60, of: "image")[0]
            #expect(try Ext4InodeTables(on: file) != nil)
            // A journal to be replayed.
            try put(good | 0x4, at: 0x60)
            #expect(try Ext4InodeTables(on: file) == nil)
            try put(good, at: 0x60)
            // Values of attributes in inodes of their own.
            try put(0x4, at: 0x61)
            #expect(try Ext4InodeTables(on: file) == nil)
            try put(0, at: 0x38)
            #expect(try Ext4InodeTables(on: file) == nil)
        }
    }

    @Test func inodesThatChangedAreFound() throws {
        try withImage(["-b", "4096"]) { image, file in
            let copy = image + ".copy"
            try #require(Program("cp")).run([image, copy], on: copy)
            let other = try FileDescriptor.opening(copy, .readWrite)
            defer { other.closeQuietly() }
            let everything = [UInt64(0)..<64 << 20]
            func change(_ inode: UInt64, at offset: UInt64, to byte: UInt8) throws {
                let place = try place(of: inode, in: image, blockSize: 4096)
                try [byte].withUnsafeBytes { try other.writeFully($0, at: place + offset, to: copy) }
            }
            #expect(try Ext4ChangedInodes.find(in: everything, between: file, and: other) == [])
            // The first inodes are in use; the root has extra fields.
            try change(2, at: 0x8, to: 1)
            try change(2, at: 0x7C, to: 1)
            try change(2, at: 0x8C, to: 1)
            #expect(try Ext4ChangedInodes.find(in: everything, between: file, and: other) == [])
            try change(2, at: 0xC, to: 1)
            try change(300, at: 0, to: 1)
            #expect(try Ext4ChangedInodes.find(in: everything, between: file, and: other) == [2, 300])
            #expect(try Ext4ChangedInodes.find(in: [0..<4096], between: file, and: other) == [])
        }
    }
}
