import Lamina
import Testing

@Suite struct LayerNameTests {
    @Test(arguments: ["a", "debian:12", "-x", "a b", "größe", String(repeating: "x", count: 255)])
    func names(_ text: String) throws { #expect(try LayerName(commandLine: text).text == text) }

    @Test(arguments: ["", "a/b", "/", ".", "..", "a\nb", "a\0b", String(repeating: "x", count: 256)])
    func noNames(_ text: String) {
        let error = #expect(throws: StorageError.self) { try LayerName(commandLine: text) }
        #expect(error?.kind == .invalidArgument)
    }

    @Test func timesAreRFC3339() {
        #expect(Instant(nanoseconds: 1_700_000_000_000_000_042).rfc3339 == "2023-11-14T22:13:20.000000042Z")
    }
}
