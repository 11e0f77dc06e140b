"""Docker's storage drivers, through dockerd's interface on a socket: what needs no running container."""
import http.client
import json
import os
import socket
import urllib.parse

import trees
from machine import Daemon, Failure, Ground, command

DRIVERS = {"devicemapper": None, "btrfs": "btrfs", "overlay2": "ext4"}
CLIENT = "/usr/bin/docker"


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=300)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Docker:
    """A dockerd with one storage driver, and the containerd that it needs."""

    def __init__(self, place, driver):
        self.name = f"docker {driver}"
        self.driver = driver
        self.ground = Ground(place, f"docker-{driver}", DRIVERS[driver], pool=driver == "devicemapper")
        self.daemons = []
        self.run = f"{self.ground.directory}/run"
        self.socket = f"{self.run}/docker.sock"
        os.mkdir(self.run)
        with open(f"{self.run}/daemon.json", "w") as file:
            file.write("{}")
        with open(f"{self.run}/containerd.toml", "w") as file:
            file.write(f"""version = 2
root = "{self.ground.directory}/containerd"
state = "{self.run}/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{self.run}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.ground.directory}/opt"
""")

    def start(self):
        log = f"{self.run}/log"
        under = Daemon(["containerd", "--config", f"{self.run}/containerd.toml"], log)
        self.daemons.append(under)
        under.wait_for(lambda: os.path.exists(f"{self.run}/containerd.sock"))
        pool = [] if self.driver != "devicemapper" else [
            "--storage-opt", f"dm.thinpooldev=/dev/mapper/{self.ground.pool}", "--storage-opt", "dm.basesize=2G",
            "--storage-opt", "dm.override_udev_sync_check=true"]
        daemon = Daemon(
            ["dockerd", "--config-file", f"{self.run}/daemon.json", "--data-root", f"{self.ground.directory}/docker",
             "--exec-root", f"{self.run}/docker", "--pidfile", f"{self.run}/docker.pid", "--host", "unix://" + self.socket,
             "--containerd", f"{self.run}/containerd.sock", "--storage-driver", self.driver, "--bridge", "none",
             "--iptables=false", "--ip-forward=false", *pool], log)
        self.daemons.append(daemon)
        daemon.wait_for(self.is_ready)
        self.version = self.call("GET", "/version")["Version"].split("+")[0]

    def is_ready(self):
        try:
            return self.call("GET", "/info")["Driver"] == self.driver
        except (OSError, http.client.HTTPException):
            return False

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.stop()
        self.ground.take_down()

    def call(self, method, address, body=None, kind="application/json", **query):
        connection = Connection(self.socket)
        try:
            address += "?" + urllib.parse.urlencode(query) if query else ""
            connection.request(method, address, body, {"Content-Type": kind} if body is not None else {})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Failure(f"docker {method} {address}: {data.decode(errors='replace').strip()}")
        return json.loads(data) if data.startswith((b"{", b"[")) and data.count(b"\n") <= 1 else data

    # MARK: What is measured

    def empty_call(self):
        self.call("GET", "/_ping")

    def create(self, name, parent=None):
        self.call("POST", "/containers/create", json.dumps({"Image": parent, "Cmd": ["/none"]}), name=name)

    def commit(self, name):
        self.call("POST", "/commit", "{}", container=name, repo=name, pause="false")
        return name

    def remove(self, name):
        """The image of a committed container."""
        self.call("DELETE", f"/images/{name}")

    def remove_active(self, name):
        self.call("DELETE", f"/containers/{name}")

    def import_tar(self, number, tar):
        with open(tar, "rb") as file:
            self.call("POST", "/images/create", file, "application/x-tar", fromSrc="-", repo=f"import{number}")

    def remove_import(self, number):
        self.call("DELETE", f"/images/import{number}")

    def changes(self, child, parent):
        told = {change["Path"]: change["Kind"] for change in self.call("GET", f"/containers/{child}/changes")}
        if told != {"/directory-3": 0, "/directory-3/file-305": 0, "/directory-3/new": 1}:
            raise Failure(f"the changes it found are {told}")

    def create_by_command(self, name, parent):
        command(CLIENT, "--host", "unix://" + self.socket, "create", "--name", name, parent, "/none",
                env={**os.environ, "DOCKER_CONFIG": self.run})

    def start_command(self):
        command(CLIENT, "--version", env={**os.environ, "DOCKER_CONFIG": self.run})

    # MARK: Preparations

    def put(self, name, entries):
        self.call("PUT", f"/containers/{name}/archive", trees.tar_of(entries), "application/x-tar", path="/")

    def write(self, name):
        self.put(name, [("new", trees.block)])

    def make_base(self, name, files):
        entries = []
        for index in range(files):
            if index % 100 == 0:
                entries.append((f"directory-{index // 100}", None))
            offset = index * 997 % (len(trees.block) - 4096)
            entries.append((f"directory-{index // 100}/file-{index}", trees.block[offset:offset + 4096]))
        self.call("POST", "/images/create", trees.tar_of(entries), "application/x-tar", fromSrc="-", repo=name)
        return name

    def make_tree(self, name, tar):
        with open(tar, "rb") as file:
            self.call("POST", "/images/create", file, "application/x-tar", fromSrc="-", repo=name)
        return name

    def make_changed(self, name, parent):
        """A container; no file of it can be removed without running it."""
        self.create(name, parent)
        self.put(name, [("directory-3/file-305", trees.block[:100]), ("directory-3/new", trees.block[:100])])
        return name

    def discard_tree(self, child, parent):
        self.remove_active(child)
        self.remove(parent)
