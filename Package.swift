// swift-tools-version:6.2
// Lamina: block-level thin-provisioned layers. One target is one room of the design; arrows go down only.
import PackageDescription

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

let package = Package(
    name: "lamina",
    products: [
        .executable(name: "lamina", targets: ["LaminaCommand"]),
        .library(name: "Lamina", targets: ["Lamina"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // C: module maps; constants and shims for what Swift cannot import; no logic.
        .systemLibrary(name: "CDeviceMapper", providers: [.apt(["libdevmapper-dev"])]),
        .systemLibrary(name: "CBtrfs", providers: [.apt(["libbtrfs-dev"])]),
        .systemLibrary(name: "CArchive", providers: [.apt(["libarchive-dev"])]),
        .systemLibrary(name: "CCrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CISAL", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
        .target(name: "CDeviceMapperLog", dependencies: ["CDeviceMapper"], cSettings: [.define("_GNU_SOURCE")]),
        .target(name: "CSQLite"),

        // Kernel mechanisms.
        .target(name: "LinuxSystem", dependencies: ["CLinux", system]),
        .target(
            name: "ThinPool", dependencies: ["CDeviceMapper", "CDeviceMapperLog", "CLinux", "LinuxSystem", system]),
        .target(name: "Subvolume", dependencies: ["CBtrfs", "LinuxSystem", system]),

        // The contract, and those who keep it.
        .target(name: "StorageDriver", dependencies: ["LinuxSystem", system]),
        .target(
            name: "DeviceMapperDriver", dependencies: ["StorageDriver", "ThinPool", "CLinux", "LinuxSystem", system]),
        .target(name: "BtrfsDriver", dependencies: ["StorageDriver", "Subvolume", "LinuxSystem", system]),
        .target(name: "OverlayDriver", dependencies: ["StorageDriver", "LinuxSystem", system]),
        .target(name: "ZFSDriver", dependencies: ["StorageDriver", "LinuxSystem", system]),
        .target(name: "AUFSDriver", dependencies: ["StorageDriver", "LinuxSystem", system]),
        .target(name: "VFSDriver", dependencies: ["StorageDriver", "LinuxSystem", system]),

        // Above the drivers.
        .target(
            name: "LayerArchive",
            dependencies: [
                "CArchive", "CCrypto", "CISAL", "CZstd", "CLinux", "StorageDriver", "LinuxSystem", system,
            ]),
        .target(
            name: "HostProbe",
            dependencies: [
                "StorageDriver", "DeviceMapperDriver", "BtrfsDriver", "OverlayDriver", "ZFSDriver", "AUFSDriver",
                "VFSDriver", "ThinPool", "LinuxSystem", "CLinux", "CISAL", system,
            ]),
        .target(
            name: "LayerStore",
            dependencies: ["StorageDriver", "LayerArchive", "LinuxSystem", "CLinux", "CSQLite", grdb, logging, system]),
        .target(name: "Lamina", dependencies: ["StorageDriver", "HostProbe", "LayerArchive", "LayerStore"]),
        .target(name: "Bench", dependencies: ["Lamina", "LinuxSystem", histogram, logging, system]),
        .executableTarget(
            name: "LaminaCommand", dependencies: ["Bench", "Lamina", argumentParser, logging, system]),

        // Unit tests run anywhere; mechanism tests need root and a kernel that has the mechanism: this one or the
        // guest's. What they share owns the loop devices and mounts it makes.
        .target(name: "Fixtures", dependencies: ["Lamina", "LinuxSystem", system], path: "Tests/Fixtures"),
        .testTarget(
            name: "UnitTests",
            dependencies: ["Bench", "Fixtures", "Lamina", "Subvolume", "ThinPool", grdb, logging, system]),
        .testTarget(
            name: "MechanismTests",
            dependencies: [
                "Bench", "CLinux", "Fixtures", "Lamina", "Subvolume", "ThinPool", grdb, logging, system,
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// libFuzzer brings its own main function: Tools/fuzz builds this target with it, and links.
if Context.environment["LAMINA_FUZZ"] != nil {
    package.targets.append(
        .target(
            name: "FuzzApply", dependencies: ["LayerArchive", "LinuxSystem", "StorageDriver", system],
            path: "Tests/FuzzApply", exclude: ["Regressions"]))
}
