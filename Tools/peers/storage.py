"""containers/storage, the layers of podman, buildah and CRI-O, by its command: each step is a process."""
import os

import trees
from machine import Failure, Ground, command

DRIVERS = {"overlay": "ext4", "btrfs": "btrfs", "vfs": "ext4"}


class Storage:
    """A store with one driver."""

    def __init__(self, place, driver):
        self.name = f"containers-storage {driver}"
        self.driver = driver
        self.ground = Ground(place, f"containers-storage-{driver}", DRIVERS[driver])
        # The command mounts by id only, which it gives.
        self.ids = {}
        self.targets = {}
        directory = self.ground.directory
        with open(f"{directory}/storage.conf", "w") as file:
            file.write(f"""[storage]
driver = "{driver}"
graphroot = "{directory}/graph"
runroot = "{directory}/run"
""")

    def start(self):
        self.command("status")
        if not os.path.isdir(f"{self.ground.directory}/graph/{self.driver}"):
            raise Failure(f"containers-storage does not work with {self.driver}")
        self.version = command("dpkg-query", "-W", "-f", "${Version}", "containers-storage").decode().split("+")[0]

    def stop(self):
        self.ground.take_down()

    def command(self, word, *words):
        return command("containers-storage", word, *words,
                       env={**os.environ, "CONTAINERS_STORAGE_CONF": f"{self.ground.directory}/storage.conf"})

    def layer(self, name, word, *words):
        """A command that makes a layer, and prints its id and name."""
        self.ids[name] = self.command(word, "--name", name, *words).decode().split()[0]

    # MARK: What is measured

    def create(self, name, parent=None):
        self.layer(name, "create-layer", *([parent] if parent else []))

    create_by_command = create

    def mount(self, name):
        self.targets[name] = self.command("mount", self.ids[name]).decode().strip()

    def umount(self, name):
        self.command("unmount", self.ids[name])

    def commit(self, name):
        """As podman commits: the changes as a tar, and a new layer of the tar."""
        tar = f"{self.ground.directory}/commit.tar"
        self.command("diff", "--uncompressed", "--file", tar, name)
        self.layer(name + "-committed", "import-layer", "--readonly", "--file", tar, self.parent)
        os.unlink(tar)
        return name + "-committed"

    def remove(self, name):
        self.command("delete-layer", name)

    remove_active = remove

    def import_tar(self, number, tar):
        self.layer(f"import-{number}", "import-layer", "--readonly", "--file", tar)

    def remove_import(self, number):
        self.remove(f"import-{number}")

    def changes(self, child, parent):
        told = self.command("changes", child).decode().splitlines()
        files = sorted(os.path.basename(line.split('"')[-2] if '"' in line else line.split()[-1]) for line in told)
        if files != ["directory-3", "file-305", "file-306", "new"]:
            raise Failure(f"the changes it found are {told[:8]}")

    def start_command(self):
        command("containers-storage", "version")

    # MARK: Preparations

    def make(self, name, fill, parent=None):
        self.create(name, parent)
        self.mount(name)
        try:
            fill(self.targets[name])
        finally:
            self.umount(name)
        return name

    def make_base(self, name, files):
        self.parent = name
        return self.make(name, lambda root: trees.write_tree(root, files))

    def make_tree(self, name, tar):
        self.layer(name, "import-layer", "--readonly", "--file", tar)
        return name

    def make_changed(self, name, parent):
        return self.make(name, trees.change, parent)

    def write(self, name):
        trees.write(f"{self.targets[name]}/new", 1 << 20)

    def discard_tree(self, child, parent):
        self.remove(child)
        self.remove(parent)
