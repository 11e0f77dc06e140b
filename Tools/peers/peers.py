"""Runs the works of `lamina bench` on peers, in turn, and prints what it measured in the same form. See `run`."""
import argparse
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import time

import containerd
import docker
import storage
import trees
from machine import Failure, at_once, unmount_below

KINDS = {"containerd": (containerd.Containerd, containerd.SNAPSHOTTERS), "docker": (docker.Docker, docker.DRIVERS),
         "containers-storage": (storage.Storage, storage.DRIVERS)}
# The works of `lamina bench` (Plan.swift): files in the parent, files and bytes of each in the tar, files in which changes
# are looked for.
PROFILES = {"quick": (500, 2000, 12 << 10, (1000, 10_000)), "full": (5000, 10_000, 20 << 10, (1000, 10_000, 50_000))}
THREADS = 1, 2, 8, 32
SECONDS_PER_WORK = 60
MEASUREMENTS = [
    ("call", "a call that does nothing", "nanoseconds", "lower"),
    ("command.start", "start of the command", "nanoseconds", "lower"),
    ("command.create", "create on a parent, by the command", "nanoseconds", "lower"),
]
NOTES = [
    "peers: containerd's figures are calls on its socket (call: what one costs that does nothing) but for import and "
    "changes, which are its command ctr; devmapper's create makes, activates and formats or mounts as well; its "
    "changes are a tar of them, for it has nothing else; remove is the record, remove.collected its garbage collector "
    "too; but for devmapper, its commit does not wait for the disk",
    "peers: docker's figures are calls on dockerd's socket: create is a container (two layers), commit an image of it, "
    "remove that image's removal, import a tar as an image; of the three changes two (no file can be removed without "
    "running a container)",
    "peers: containers-storage's figures are its command, its start (command.start) included; commit is diff and "
    "import-layer, as podman commits",
]


class Peer:
    """An engine with one driver, and what was measured of it."""

    def __init__(self, engine):
        self.engine = engine
        self.values = {}
        self.failures = []
        self.is_warm = False

    def time(self, measurement, body, *words, at=None):
        start = time.monotonic_ns()
        result = body(*words)
        self.note(measurement, time.monotonic_ns() - start, at)
        return result

    def note(self, measurement, value, at=None):
        if self.is_warm:
            self.values.setdefault((measurement, at), []).append(value)

    def entry(self):
        results = [{"measurement": measurement, **({"at": at} if at else {}), **summary(values)}
                   for (measurement, at), values in self.values.items()]
        return {"kind": "peer", "name": self.engine.name, "version": self.engine.version,
                "ground": self.engine.ground.words, "results": results,
                **({"failures": self.failures} if self.failures else {})}


def summary(values):
    values = sorted(values)
    count = len(values)
    median = (values[(count - 1) // 2] + values[count // 2]) // 2
    return {"count": count, "median": median, "p10": values[round((count - 1) * 0.1)],
            "p90": values[round((count - 1) * 0.9)], "min": values[0], "max": values[-1]}


# MARK: Works: what is made ready, and one round

class LifeCycle:
    measurement = "create.child"
    least_rounds = 3

    def __init__(self, files):
        self.files = files

    def prepare(self, peer):
        peer.base = peer.engine.make_base("base", self.files)

    def round(self, peer, number):
        engine, child, view = peer.engine, f"child-{number}", f"view-{number}"
        if hasattr(engine, "empty_call"):
            peer.time("call", engine.empty_call)
        peer.time("command.start", engine.start_command)
        if not isinstance(engine, docker.Docker):
            peer.time("create.empty", engine.create, f"empty-{number}")
            engine.remove(f"empty-{number}")
        peer.time("command.create", engine.create_by_command, f"command-{number}", peer.base)
        engine.remove_active(f"command-{number}")
        peer.time("create.child", engine.create, child, peer.base)
        if hasattr(engine, "mount"):
            peer.time("mount", engine.mount, child)
            try:
                engine.write(child)
            finally:
                peer.time("umount", engine.umount, child)
        else:
            engine.write(child)
        committed = peer.time("commit", engine.commit, child)
        if hasattr(engine, "view"):
            peer.time("view", engine.view, view, committed)
            engine.remove(view)
        if committed != child or isinstance(engine, docker.Docker):
            # What containerd commits, it renames; the others keep what was committed too.
            if not isinstance(engine, containerd.Containerd):
                engine.remove_active(child)
        start = time.monotonic_ns()
        peer.time("remove", engine.remove, committed)
        if hasattr(engine, "collect"):
            engine.collect()
            peer.note("remove.collected", time.monotonic_ns() - start)


class Parallel:
    measurement = "parallel.create"
    least_rounds = 1

    def prepare(self, peer):
        pass

    def round(self, peer, number):
        for count in THREADS:
            names = [f"parallel-{number}-{count}-{index}" for index in range(count)]
            took = at_once([lambda name=name: peer.engine.create(name, peer.base) for name in names])
            peer.note("parallel.create", count * 10**9 // took, count)
            for name in names:
                peer.engine.remove_active(name)
            if hasattr(peer.engine, "collect"):
                peer.engine.collect()


class Import:
    measurement = "import"
    least_rounds = 3

    def __init__(self, tar):
        self.tar = tar

    def prepare(self, peer):
        pass

    def round(self, peer, number):
        peer.time("import", peer.engine.import_tar, number, self.tar)
        peer.engine.remove_import(number)


class Changes:
    measurement = "changes"
    least_rounds = 3

    def __init__(self, files, tar):
        self.files, self.tar = files, tar

    def prepare(self, peer):
        peer.tree = peer.engine.make_tree(f"tree{self.files}", self.tar)
        peer.changed = peer.engine.make_changed(f"changed{self.files}", peer.tree)

    def round(self, peer, number):
        peer.time("changes", peer.engine.changes, peer.changed, peer.tree, at=self.files)


def run(work, peers, rounds):
    """Rounds in which all peers take turns, each time beginning with another one, so that what drifts meets all alike."""
    ready = [peer for peer in peers if attempt(peer, work, work.prepare, peer)]
    os.sync()
    start = time.monotonic()
    for number in range(rounds + 1):
        if number > work.least_rounds and time.monotonic() - start > SECONDS_PER_WORK:
            break
        for turn in range(len(ready)):
            peer = ready[(turn + number) % len(ready)]
            # Round 0 warms up.
            peer.is_warm = number > 0
            if not attempt(peer, work, work.round, peer, number):
                peer.is_failed = True
        ready = [peer for peer in ready if not getattr(peer, "is_failed", False)]
        tell(f"{work.measurement}: round {number} of {rounds}, {len(ready)} peers")


def attempt(peer, work, body, *words):
    try:
        body(*words)
        return True
    except Exception as failure:
        peer.failures.append({"measurement": work.measurement, "message": str(failure)})
        print(f"peers: {peer.engine.name}: {work.measurement}: {failure}", file=sys.stderr)
        return False


def tell(words):
    if sys.stderr.isatty():
        print(f"peers: {words}", file=sys.stderr)


def host():
    with open("/proc/cpuinfo") as file:
        processor = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    return {"kernel": os.uname().release, "processor": processor, "processors": os.cpu_count()}


def main():
    names = [f"{kind}-{driver}" for kind, (_, drivers) in KINDS.items() for driver in drivers]
    parser = argparse.ArgumentParser(prog="peers")
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only")
    parser.add_argument("--directory", default=tempfile.gettempdir())
    options = parser.parse_args()
    if options.only == "list":
        return print("\n".join(names))
    with open("/proc/misc") as file:
        has_mapper = "device-mapper" in file.read()
    wanted = options.only.split(",") if options.only else [
        name for name in names if has_mapper or "mapper" not in name]
    for name in wanted:
        if name not in names:
            parser.error(f"no such peer: {name} (there are {', '.join(names)})")

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    place = tempfile.mkdtemp(prefix="lamina-peers-", dir=options.directory)
    started = datetime.datetime.now(datetime.timezone.utc)
    peers = []
    try:
        for name in wanted:
            kind, driver = name.rsplit("-", 1)
            # Taken down even when it does not start.
            peer = Peer(KINDS[kind][0](place, driver))
            peers.append(peer)
            peer.engine.start()
        tar = f"{place}/import.tar"
        tree_files, import_files, import_bytes, changes_files = PROFILES[options.profile]
        trees.write_tar(tar, import_files, import_bytes)
        containerd.write_oci(tar)
        works = [LifeCycle(tree_files), Parallel(), Import(tar)]
        for files in changes_files:
            tree = f"{place}/tree-{files}.tar"
            trees.write_tar(tree, files, 200)
            works.append(Changes(files, tree))
        for work in works:
            run(work, peers, options.rounds)
        sizes = {"treeFiles": tree_files, "changesFiles": max(changes_files), "rounds": options.rounds}
        result = {
            "startedAt": started.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
            "seconds": int((datetime.datetime.now(datetime.timezone.utc) - started).total_seconds()),
            "host": host(), "sizes": sizes,
            "measurements": [{"id": name, "group": "lifeCycle", "title": title, "unit": unit, "better": better}
                             for name, title, unit, better in MEASUREMENTS],
            "notes": NOTES, "entries": [peer.entry() for peer in peers]}
    finally:
        for peer in reversed(peers):
            peer.engine.stop()
        unmount_below(place)
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps({"schema": "lamina-bench", "schemaVersion": 1, "runs": [result]}))


try:
    main()
except Failure as failure:
    print(f"peers: {failure}", file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    sys.exit(130)
