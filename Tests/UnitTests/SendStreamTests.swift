import Glibc
import LinuxSystem
import SystemPackage
import Testing

@testable import Subvolume

/// A send stream, written as the kernel writes it (linux/btrfs.h and fs/btrfs/send.h).
private struct StreamWriter {
    private(set) var bytes: [UInt8]

    init(version: UInt32 = 1) { bytes = Array("btrfs-stream\0".utf8) + Self.little(version) }

    enum Attribute: UInt16 {
        case uuid = 1
        case transaction = 2
        case inode = 3
        case mode = 5
        case device = 8
        case changed = 9
        case modified = 10
        case accessed = 11
        case path = 15
        case pathTo = 16
        case pathLink = 17
        case cloneUUID = 20
        case cloneTransaction = 21
    }

    mutating func command(_ number: UInt16, _ attributes: [(Attribute, [UInt8])] = []) {
        let data = attributes.flatMap { Self.little($0.rawValue) + Self.little(UInt16($1.count)) + $1 }
        let header = Self.little(UInt32(data.count)) + Self.little(number)
        let sum = Self.checksum(header + [0, 0, 0, 0] + data)
        bytes += header + Self.little(sum) + data
    }

    static func little(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// CRC-32C, bit by bit, begun with 0 and not inverted at the end.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.reduce(0) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum >> 1 ^ (sum & 1 == 1 ? 0x82F6_3B78 : 0) }
        }
    }

    /// One command of each kind that is sent without file data.
    static var sample: StreamWriter {
        var stream = StreamWriter()
        let (uuid, time) = ([UInt8](repeating: 7, count: 16), [UInt8](repeating: 0, count: 12))
        let number = little(UInt64(9))
        func path(_ text: String) -> (Attribute, [UInt8]) { (.path, Array(text.utf8)) }
        stream.command(
            2, [path("7"), (.uuid, uuid), (.transaction, number), (.cloneUUID, uuid), (.cloneTransaction, number)])
        let device: [(Attribute, [UInt8])] = [(.inode, number), (.device, number), (.mode, number)]
        stream.command(3, [path("o1"), (.inode, number)])
        stream.command(4, [path("o2"), (.inode, number)])
        stream.command(5, [path("o3")] + device)
        stream.command(6, [path("o4")] + device)
        stream.command(7, [path("o5")] + device)
        stream.command(8, [path("o6"), (.inode, number), (.pathLink, [0x78])])
        stream.command(9, [path("o1"), (.pathTo, [0x61, 0xFF])])
        stream.command(10, [path("b"), (.pathLink, Array("d/c".utf8))])
        stream.command(11, [path("d/gone")])
        stream.command(12, [path("e")])
        stream.command(20, [path(""), (.accessed, time), (.modified, time), (.changed, time)])
        return stream
    }
}

@Suite struct SendStreamTests {
    private func read(_ bytes: [UInt8]) throws -> [SendCommand] {
        let pipe = try makePipe()
        defer { pipe.read.closeQuietly() }
        do {
            defer { pipe.write.closeQuietly() }
            try bytes.withUnsafeBytes { try pipe.write.writeFully($0, to: "pipe") }
        }
        var commands: [SendCommand] = []
        try readSendStream(pipe.read) { command throws(SystemError) in commands.append(command) }
        return commands
    }

    @Test func everyCommandIsTold() throws {
        var stream = StreamWriter.sample
        stream.command(21)
        func path(_ text: String) -> [UInt8] { Array(text.utf8) }
        #expect(
            try read(stream.bytes) == [
                .make(path("o1")), .make(path("o2")), .make(path("o3")), .make(path("o4")), .make(path("o5")),
                .make(path("o6")), .rename(path("o1"), to: [0x61, 0xFF]), .link(path("b"), of: path("d/c")),
                .remove(path("d/gone")), .remove(path("e")), .change([]),
            ])
    }

    @Test func aStreamWithoutItsEndIsRefused() throws {
        let whole = StreamWriter.sample.bytes
        for length in stride(from: 0, through: whole.count, by: 7) + [whole.count] {
            #expect(throws: SystemError.self) { try read(Array(whole[..<length])) }
        }
    }

    @Test func aDamagedStreamIsRefused() throws {
        var stream = StreamWriter.sample
        stream.command(21)
        for position in stride(from: 0, to: stream.bytes.count, by: 5) {
            var bytes = stream.bytes
            bytes[position] ^= 0x10
            #expect(throws: SystemError.self) { try read(bytes) }
        }
    }

    @Test func anotherVersionIsRefused() throws {
        var stream = StreamWriter(version: 99)
        stream.command(21)
        let error = #expect(throws: SystemError.self) { try read(stream.bytes) }
        #expect(error?.errno == .invalidArgument)
    }

    @Test func theReadersErrorIsThrown() throws {
        var stream = StreamWriter.sample
        stream.command(21)
        let pipe = try makePipe()
        defer { for end in [pipe.read, pipe.write] { end.closeQuietly() } }
        try stream.bytes.withUnsafeBytes { try pipe.write.writeFully($0, to: "pipe") }
        var told = 0
        let error = #expect(throws: SystemError.self) {
            try readSendStream(pipe.read) { _ throws(SystemError) in
                told += 1
                throw SystemError("try", "it", .tooManyOpenFiles)
            }
        }
        #expect(told == 1 && error?.errno == .tooManyOpenFiles)
    }
}

@Suite struct FollowedNamesTests {
    private func touched(_ commands: SendCommand...) throws -> [String] {
        let names = FollowedNames()
        for command in commands { try names.follow(command) }
        return names.touched().map { String(decoding: $0, as: UTF8.self) }.sorted()
    }

    private func path(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func whatIsChangedInPlace() throws {
        #expect(try touched(.change(path("d/f")), .change(path("d")), .change([])) == ["", "d", "d/f"])
    }

    @Test func whatIsNewHasNoNameOfTheKernels() throws {
        #expect(
            try touched(
                .make(path("o259-7-0")), .rename(path("o259-7-0"), to: path("d/new")), .change(path("d/new")),
                .change(path("d"))) == ["d", "d/new"])
    }

    @Test func aNodeWhoseMakingIsNotToldIsFoundAllTheSame() throws {
        #expect(try touched(.rename(path("o259-7-0"), to: path("null")), .change([])).contains("null"))
    }

    @Test func namesBelowAMovedDirectory() throws {
        #expect(
            try touched(
                .rename(path("d"), to: path("e")), .change(path("e/f")), .remove(path("e/gone")),
                .rename(path("e/g"), to: path("h")), .change(path("h"))) == ["d", "d/g", "d/gone", "e", "e/f", "h"])
    }

    /// `a` and `a/b` change places: the kernel takes `b` out under a name of its own first.
    @Test func aDirectoryInsideOut() throws {
        #expect(
            try touched(
                .rename(path("a/b"), to: path("o258-7-0")), .rename(path("a"), to: path("o258-7-0/a")),
                .rename(path("o258-7-0"), to: path("b")), .change(path("b/a/f")), .change(path("b")))
                == ["a", "a/b", "b", "b/a", "b/a/f"])
    }

    @Test func aNameThatIsUsedAgain() throws {
        #expect(
            try touched(
                .rename(path("f"), to: path("o257-7-0")), .rename(path("g"), to: path("f")), .remove(path("o257-7-0")))
                == ["f", "g"])
        #expect(
            try touched(.remove(path("d/f")), .remove(path("d")), .make(path("d")), .link(path("d/f"), of: path("x")))
                == ["d", "d/f", "x"])
    }

    @Test func whatIsNotThereIsAnError() throws {
        for commands: [SendCommand] in [
            [.remove(path("f")), .change(path("f"))], [.make(path("d")), .change(path("d/f"))], [.remove([])],
            [.rename(path("d"), to: path("e")), .change(path("d/f"))],
        ] {
            let names = FollowedNames()
            let error = #expect(throws: SystemError.self) { for command in commands { try names.follow(command) } }
            #expect(error?.errno == .invalidArgument)
        }
    }
}
