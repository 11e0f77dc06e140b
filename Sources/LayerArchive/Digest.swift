import CCrypto

/// sha256 of a stream, through libcrypto.
final class SHA256 {
    private let context: OpaquePointer

    init() {
        // Null only without memory.
        context = EVP_MD_CTX_new()!
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    func update(_ bytes: UnsafeRawBufferPointer) {
        if let base = bytes.baseAddress { EVP_DigestUpdate(context, base, bytes.count) }
    }

    /// `sha256:` and 64 hexadecimal digits, as OCI writes digests. Ends the stream.
    func finish() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        EVP_DigestFinal_ex(context, &digest, nil)
        return "sha256:" + hexadecimal(digest)
    }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

/// RFC 4648, through libcrypto.
func base64(_ bytes: [UInt8]) -> [UInt8] {
    // Four letters for three bytes, and the NUL that libcrypto adds.
    var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
    let count = EVP_EncodeBlock(&text, bytes, Int32(bytes.count))
    return Array(text[..<Int(count)])
}
