// The library product: everything that a program needs to keep layers of its own.
@_exported import HostProbe
@_exported import LayerArchive
@_exported import LayerStore
@_exported import LinuxSystem
@_exported import StorageDriver

/// The version of the engine and of the command.
public let laminaVersion = "0.1.0"
