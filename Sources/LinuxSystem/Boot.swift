/// The identity of this boot of the kernel: what was mounted under another one is mounted no more.
public func currentBootID() -> String {
    (readText("/proc/sys/kernel/random/boot_id") ?? "").filter { !$0.isWhitespace }
}
