"""containerd's snapshotters, through its own interface (containerd.services.snapshots.v1) on a socket."""
import hashlib
import json
import os
import tarfile

import grpc

import trees
from machine import Daemon, Failure, Ground, command, mount, unmount

SNAPSHOTTERS = {"devmapper": None, "btrfs": "btrfs", "overlayfs": "ext4", "native": "ext4"}
NAMESPACE = (("containerd-namespace", "bench"),)


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def text(field, value):
    data = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def fields(data):
    """Number and value of each field of a message, those that are text or messages."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        key = number()
        if key & 7 == 0:
            number()
        elif key & 7 == 2:
            size = number()
            yield key >> 3, data[at:at + size]
            at += size
        else:
            raise Failure("an answer of containerd that is not understood")


class Containerd:
    """One daemon with one snapshotter."""

    def __init__(self, place, snapshotter):
        self.name = f"containerd {snapshotter}"
        self.snapshotter = snapshotter
        is_pool = snapshotter == "devmapper"
        self.ground = Ground(place, f"containerd-{snapshotter}", SNAPSHOTTERS[snapshotter], pool=is_pool)
        self.daemon = None
        directory = self.ground.directory
        self.socket = f"{directory}/run/containerd.sock"
        os.mkdir(f"{directory}/run")
        self.target = f"{directory}/mount"
        os.mkdir(self.target)
        others = [name for name in ("aufs", "zfs", *SNAPSHOTTERS) if name != snapshotter]
        disabled = ["io.containerd.grpc.v1.cri"] + [f"io.containerd.snapshotter.v1.{name}" for name in others]
        with open(f"{directory}/config.toml", "w") as file:
            file.write(f"""version = 2
root = "{directory}/root"
state = "{directory}/run/state"
disabled_plugins = {json.dumps(disabled)}
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
""")
            if is_pool:
                file.write(f"""[plugins."io.containerd.snapshotter.v1.devmapper"]
  root_path = "{directory}/root/devmapper"
  pool_name = "{self.ground.pool}"
  base_image_size = "2GB"
""")

    def start(self):
        self.daemon = Daemon(["containerd", "--config", f"{self.ground.directory}/config.toml"],
                             f"{self.ground.directory}/log")
        self.channel = grpc.insecure_channel("unix://" + self.socket)
        self.daemon.wait_for(self.is_ready)
        self.version = next(value for _, value in fields(
            self.call("version.v1.Version/Version"))).decode().split("~")[0]

    def is_ready(self):
        if not os.path.exists(self.socket):
            return False
        try:
            self.call("version.v1.Version/Version")
            return True
        except Failure:
            return False

    def stop(self):
        if self.daemon:
            self.daemon.stop()
        self.ground.take_down()

    def call(self, method, request=b"", stream=False):
        kind = self.channel.unary_stream if stream else self.channel.unary_unary
        call = kind("/containerd.services." + method, request_serializer=None, response_deserializer=None)
        try:
            answer = call(request, metadata=NAMESPACE, timeout=300)
            return list(answer) if stream else answer
        except grpc.RpcError as failure:
            raise Failure(f"containerd {method}: {failure.details()}") from None

    def snapshots(self, method, *parts, keep=False):
        # What nothing refers to and nobody keeps, its garbage collector removes.
        label = text(4, text(1, "containerd.io/gc.root") + text(2, "bench")) if keep else b""
        return self.call("snapshots.v1.Snapshots/" + method, text(1, self.snapshotter) + b"".join(parts) + label)

    # MARK: What is measured

    def empty_call(self):
        self.call("version.v1.Version/Version")

    def create(self, name, parent=None):
        return self.snapshots("Prepare", text(2, name), text(3, parent) if parent else b"", keep=True)

    def mount(self, name):
        answer = self.snapshots("Mounts", text(2, name))
        for _, value in fields(answer):
            parts = list(fields(value))
            one = {number: part.decode() for number, part in parts}
            mount(one[2], self.target, one[1], [part.decode() for number, part in parts if number == 4])

    def umount(self, name):
        unmount(self.target)

    def commit(self, name):
        self.snapshots("Commit", text(2, name + ".committed"), text(3, name), keep=True)
        return name + ".committed"

    def view(self, name, parent):
        self.snapshots("View", text(2, name), text(3, parent), keep=True)

    def remove(self, name):
        self.snapshots("Remove", text(2, name))

    def collect(self):
        """The garbage collector, which removes what was removed: the end of a lease waits for it."""
        lease = text(1, "bench")
        self.call("leases.v1.Leases/Create", lease)
        self.call("leases.v1.Leases/Delete", lease + varint(2 << 3) + varint(1))

    def import_tar(self, number, tar):
        self.ctr("images", "import", "--snapshotter", self.snapshotter, tar + ".oci")

    def remove_import(self, number):
        self.ctr("images", "rm", "--sync", "bench:latest")

    def changes(self, child, parent):
        """It tells no changes but in a tar of them."""
        told = self.ctr("snapshots", "--snapshotter", self.snapshotter, "diff", "--media-type",
                        "application/vnd.oci.image.layer.v1.tar", child)
        trees.require_changes(told)

    def create_by_command(self, name, parent):
        self.ctr("snapshots", "--snapshotter", self.snapshotter, "prepare", name, parent)

    def start_command(self):
        command("ctr", "--version")

    def ctr(self, *words):
        return command("ctr", "-a", self.socket, "-n", "bench", *words)

    # MARK: Preparations

    def make(self, name, fill, parent=None):
        """A committed snapshot; its name."""
        self.create(name, parent)
        self.mount(name)
        try:
            fill(self.target)
        finally:
            self.umount(name)
        return self.commit(name)

    def make_tree(self, name, tar):
        return self.make(name, lambda root: command("tar", "-C", root, "-xf", tar))

    def make_changed(self, name, parent):
        return self.make(name, trees.change, parent)

    def make_base(self, name, files):
        return self.make(name, lambda root: trees.write_tree(root, files))

    def write(self, name):
        trees.write(f"{self.target}/new", 1 << 20)

    def remove_active(self, name):
        self.remove(name)

    def discard_tree(self, child, parent):
        self.remove(child)
        self.remove(parent)


def write_oci(tar):
    """The same tar as the one layer of an image, for `ctr images import`."""
    with open(tar, "rb") as file:
        layer = file.read()

    def blob(data):
        return hashlib.sha256(data).hexdigest()

    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + blob(layer)]}}).encode()

    def descriptor(kind, data):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + blob(data), "size": len(data)}

    manifest = json.dumps({"schemaVersion": 2, "config": descriptor("config.v1+json", config),
                           "layers": [descriptor("layer.v1.tar", layer)]}).encode()
    index = {"schemaVersion": 2, "manifests": [{**descriptor("manifest.v1+json", manifest), "annotations": {
        "io.containerd.image.name": "bench:latest"}}]}
    with tarfile.open(tar + ".oci", "w", format=tarfile.USTAR_FORMAT) as archive:
        trees.add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        trees.add(archive, "index.json", json.dumps(index).encode())
        for data in (config, layer, manifest):
            trees.add(archive, "blobs/sha256/" + blob(data), data)
