import Testing

@testable import ThinPool

@Suite struct ThinPoolStatusTests {
    @Test func aFreshPool() throws {
        // Recorded on Linux 6.1.
        let status = try #require(
            ThinPoolStatus(parsing: "0 3293/32768 0/98304 - rw discard_passdown queue_if_no_space - 1024 "))
        #expect(status.mode == .readWrite)
        #expect(status.usedMetadataBlocks == 3293 && status.totalMetadataBlocks == 32768)
        #expect(status.usedDataBlocks == 0 && status.totalDataBlocks == 98304)
        #expect(status.heldRoot == nil && !status.needsCheck && !status.errorsIfNoSpace)
        #expect(status.passesDiscardsDown && status.metadataLowWater == 1024)
    }

    @Test(arguments: [
        ("rw", ThinPoolStatus.Mode.readWrite), ("ro", .readOnly), ("out_of_data_space", .outOfDataSpace),
    ])
    func everyMode(_ word: String, _ mode: ThinPoolStatus.Mode) throws {
        let status = try #require(
            ThinPoolStatus(
                parsing: "3455746 80/4161 400/16384 77 \(word) no_discard_passdown error_if_no_space needs_check 512"))
        #expect(status.mode == mode)
        #expect(status.transactionID == 3_455_746 && status.heldRoot == 77)
        #expect(status.needsCheck && status.errorsIfNoSpace && !status.passesDiscardsDown)
    }

    @Test(arguments: ["Fail", "Error"]) func nothingIsKnownOfAFailedPool(_ text: String) {
        #expect(ThinPoolStatus(parsing: text)?.mode == .failed)
        #expect(ThinStatus(parsing: text) == .failed)
    }

    @Test func ignoredDiscards() {
        #expect(ThinPoolStatus(parsing: "0 1/2 3/4 - rw ignore_discard queue_if_no_space - 1")?.mode == .readWrite)
    }

    @Test(arguments: [
        "", "0", "0 1/2", "x 1/2 3/4 - rw", "0 12 3/4 - rw", "0 1/2 3/4 y rw", "0 1/2 3/4 - rw some_new_word",
        "0 1/2 3/4 -",
    ])
    func otherStringsAreRefused(_ text: String) { #expect(ThinPoolStatus(parsing: text) == nil) }

    @Test func thinDevices() {
        #expect(ThinStatus(parsing: "9856 204799") == .mapped(sectors: 9856, highest: 204799))
        #expect(ThinStatus(parsing: "0 -") == .mapped(sectors: 0, highest: nil))
        #expect(ThinStatus(parsing: "many 1") == nil)
        #expect(ThinStatus(parsing: "1") == nil)
    }
}

@Suite struct ThinPoolTableTests {
    @Test func everyFeatureComesBack() throws {
        let table = ThinPoolTable(
            metadata: "7:1", data: "7:0", blockSectors: 128, lowWaterBlocks: 1638,
            features: Set(ThinPoolTable.Feature.allCases))
        #expect(ThinPoolTable(parsing: table.parameters) == table)
        #expect(
            table.parameters
                == "7:1 7:0 128 1638 5 error_if_no_space ignore_discard no_discard_passdown read_only "
                + "skip_block_zeroing")
    }

    @Test func withoutFeatures() throws {
        #expect(ThinPoolTable(parsing: "253:1 253:2 1024 0")?.features == [])
        #expect(ThinPoolTable(parsing: "253:1 253:2 1024 0 0 ")?.blockSectors == 1024)
    }

    @Test(arguments: ["", "7:1 7:0 128", "7:1 7:0 x 0", "7:1 7:0 128 0 2 read_only", "7:1 7:0 128 0 1 new_feature"])
    func otherStringsAreRefused(_ text: String) { #expect(ThinPoolTable(parsing: text) == nil) }
}

@Suite struct MetadataBlockTests {
    @Test func theChecksumIsCastagnolis() {
        // RFC 3720 B.4: 32 bytes of zeros give 8A9136AA with the inversion at the end that dm leaves out.
        let sum = [UInt8](repeating: 0, count: 32).withUnsafeBytes { MetadataBlocks.crc32c($0) }
        #expect(~sum == 0x8A91_36AA)
    }
}
