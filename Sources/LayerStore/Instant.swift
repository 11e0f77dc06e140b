import Glibc

extension Instant {
    public static var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// RFC 3339 in UTC with nine digits of fraction.
    public var rfc3339: String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var fields = tm()
        gmtime_r(&seconds, &fields)
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return padded(Int(fields.tm_year) + 1900, 4) + "-" + padded(fields.tm_mon + 1, 2) + "-"
            + padded(fields.tm_mday, 2) + "T" + padded(fields.tm_hour, 2) + ":" + padded(fields.tm_min, 2) + ":"
            + padded(fields.tm_sec, 2) + "." + padded(nanoseconds % 1_000_000_000, 9) + "Z"
    }
}
