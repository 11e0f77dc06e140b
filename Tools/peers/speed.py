"""The life of a layer by the command, beside the bare kernel calls and containerd; see Tools/measure-speed."""
import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import containerd
import trees
from machine import Failure, Ground, command, unmount_below

tools = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAMINA = os.path.dirname(tools) + "/.build/release/lamina"
times = {}


def timed(name, body, *words):
    start = time.monotonic_ns()
    result = body(*words)
    times.setdefault(name, []).append(time.monotonic_ns() - start)
    return result


def median(name):
    return middle(times[name])


def middle(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2e6


class Lamina:
    def __init__(self, place, driver, devices):
        self.ground = Ground(place, "lamina", "btrfs" if driver == "btrfs" else "ext4")
        self.root = self.ground.directory + "/root"
        self.target = self.ground.directory + "/mount"
        os.mkdir(self.target)
        self.run("init", "--driver", driver, *(["--data", devices[0], "--metadata", devices[1]] if devices else []))

    def run(self, *words):
        return command(LAMINA, *words, env={**os.environ, "LAMINA_ROOT": self.root})

    def layer(self, *words):
        return self.run("layer", *words)

    def make(self, name, fill, parent=None):
        self.layer("create", name, *(["--parent", parent] if parent else []))
        self.layer("mount", name, self.target)
        try:
            fill(self.target)
        finally:
            self.layer("umount", name)
        self.layer("commit", name)

    def stop(self):
        try:
            self.run("deinit", "--force")
        finally:
            self.ground.take_down()


def floor(driver, rounds, place, devices):
    said = command(f"{tools}/floor/run", driver, str(rounds), place, *devices)
    results = json.loads(said)["runs"][0]["entries"][0]["results"]
    return {result["measurement"].split(".")[1]: result["median"] / (1 if "parallel" in result["measurement"] else 1e6)
            for result in results}


def life(lamina, peer, base, number):
    """One round: each of the two begins in turn."""
    name = f"l{number}"

    def own():
        timed("open", lamina.layer, "ls")
        timed("create", lamina.layer, "create", name, "--parent", "base")
        timed("activate", lamina.layer, "mounts", name)
        lamina.layer("release", name)
        timed("mount", lamina.layer, "mount", name, lamina.target)
        trees.write(lamina.target + "/new", 1 << 20)
        timed("umount", lamina.layer, "umount", name)
        timed("commit", lamina.layer, "commit", name)
        timed("remove", lamina.layer, "rm", name)
        at_once("parallel", [lambda i=i: lamina.layer("create", f"{name}-{i}", "--parent", "base") for i in range(8)])
        lamina.layer("rm", *[f"{name}-{i}" for i in range(8)])

    def other():
        timed("peer call", peer.empty_call)
        timed("peer create", peer.create, name, base)
        timed("peer mount", peer.mount, name)
        trees.write(peer.target + "/new", 1 << 20)
        timed("peer umount", peer.umount, name)
        committed = timed("peer commit", peer.commit, name)
        timed("peer remove", peer.remove, committed)
        timed("peer collect", peer.collect)
        at_once("peer parallel", [lambda i=i: peer.create(f"{name}-{i}", base) for i in range(8)])
        for i in range(8):
            peer.remove(f"{name}-{i}")
        peer.collect()

    for body in (own, other) if number % 2 else (other, own):
        body()


def at_once(name, bodies):
    failures = []

    def guarded(body):
        try:
            body()
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    start = time.monotonic_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    times.setdefault(name, []).append(time.monotonic_ns() - start)


def starts(rounds):
    for _ in range(rounds):
        timed("version", command, LAMINA, "version")
        timed("ctr --version", command, "ctr", "--version")
        timed("docker --version", command, "/usr/bin/docker", "--version")


def removal(lamina, rounds):
    """Removal of layers with one file and with many."""
    for number in range(rounds):
        for files in (1, 5000):
            lamina.make(f"s{files}", lambda root, files=files: trees.write_tree(root, files))
            timed(f"remove {files}", lamina.layer, "rm", f"s{files}")


def listing(lamina, layers):
    """`layer ls` of many layers, really made."""
    numbers = subprocess.Popen(["seq", str(layers)], stdout=subprocess.PIPE)
    command("xargs", "-P", str(os.cpu_count()), "-I{}", LAMINA, "--root", lamina.root, "layer", "create", "many{}",
            stdin=numbers.stdout)
    numbers.wait()
    for _ in range(5):
        told = timed("ls", lamina.layer, "ls", "--json")
        timed("create among many", lamina.layer, "create", "another")
        lamina.layer("rm", "another")
    if len(json.loads(told)) < layers:
        raise Failure(f"layer ls lists {len(json.loads(told))} layers of {layers}")


def resident(*words):
    """The most memory that a command had, in MiB, of its own: asked of a child that runs nothing else."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        subprocess.run(words, stdout=null, stderr=null)
        os.write(writer, str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    value = int(os.read(reader, 20))
    os.close(reader)
    return value


class Targets:
    def __init__(self):
        print("\n| target | measured | |\n|---|---|---|")

    def at_most(self, words, value, limit, unit=""):
        self.row(words, value, unit, value <= limit)

    def at_least(self, words, value, limit, unit=""):
        self.row(words, value, unit, value >= limit)

    def row(self, words, value, unit, is_met):
        print(f"| {words} | {value:.2f}{unit} | {'met' if is_met else 'not met'} |")


def own(name):
    """The engine's part of a step: what the command takes longer than the opening in the same round."""
    opens = times["open"] if len(times[name]) == len(times["open"]) else [1e6 * median("open")] * len(times[name])
    return max(middle([value - start for value, start in zip(times[name], opens)]), 0.001)


def table(bare):
    print("\n| step, ms | lamina, command | the engine's part | bare calls | containerd | containerd / engine |\n"
          "|---|---|---|---|---|---|")
    floors = {"create": "create", "activate": "activate", "mount": "mount", "umount": "unmount", "remove": "delete"}
    for step in ("open", "create", "activate", "mount", "umount", "commit", "remove"):
        floor_value = f"{bare[floors[step]]:.2f}" if floors.get(step) in bare else "-"
        peer = f"peer {step}"
        part = "-" if step == "open" else f"{own(step):.2f}"
        ratio = f"{median(peer) / own(step):.1f}" if peer in times else "-"
        peer_value = f"{median(peer):.2f}" if peer in times else "-"
        print(f"| {step} | {median(step):.2f} | {part} | {floor_value} | {peer_value} | {ratio} |")
    print(f"| 8 creates at once, each | {median('parallel') / 8:.2f} | - | {1000 / bare['parallel']:.2f} | "
          f"{median('peer parallel') / 8:.2f} | - |")
    print(f"\none durable transaction: {bare['transaction']:.2f} ms; a call to containerd that does nothing: "
          f"{median('peer call'):.2f}; its garbage collector after a removal: {median('peer collect'):.2f}")


def main():
    parser = argparse.ArgumentParser(prog="measure-speed")
    parser.add_argument("--driver", choices=["btrfs", "devicemapper"], required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--layers", type=int, default=10_000)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--disks", help="of lamina, containerd and the bare calls: BEGIN-data and BEGIN-meta of each")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    disks = [[f"{begin}-data", f"{begin}-meta"] for begin in options.disks.split(",")] if options.disks else [[]] * 3
    place = tempfile.mkdtemp(prefix="lamina-speed-", dir=options.directory)
    running = []
    try:
        lamina = Lamina(place, options.driver, disks[0])
        running.append(lamina)
        lamina.make("base", lambda root: trees.write_tree(root, 500))
        peer = containerd.Containerd(place, {"btrfs": "btrfs", "devicemapper": "devmapper"}[options.driver], disks[1])
        running.append(peer)
        peer.start()
        base = peer.make_base("base", 500)
        for number in range(options.rounds + 1):
            if number == 1:
                # Round 0 warms up.
                times.clear()
            life(lamina, peer, base, number)
        peer.stop()
        running.remove(peer)
        bare = floor(options.driver, options.rounds, place, disks[2])
        starts(options.rounds)
        removal(lamina, 5)
        if options.driver == "btrfs":
            listing(lamina, options.layers)
        memory = max(resident(LAMINA, "version"), resident(LAMINA, "--root", lamina.root, "layer", "inspect", "base"))
    finally:
        for one in reversed(running):
            one.stop()
        unmount_below(place)
        shutil.rmtree(place, ignore_errors=True)

    print(f"{options.driver}, {os.uname().release}, medians of {options.rounds}, load {os.getloadavg()[0]:.1f}")
    table(bare)
    targets = Targets()
    if options.driver == "btrfs":
        targets.at_most("create: the engine's part, of the bare ioctl and one transaction, at most 1.3",
                        own("create") / (bare["create"] + bare["transaction"]), 1.3)
        targets.at_most(f"`layer ls` of {options.layers} layers, at most 150 ms", median("ls"), 150, " ms")
    else:
        both = own("create") + own("activate")
        targets.at_most("create and activate: of the bare calls and one transaction, at most 1.5",
                        both / (bare["create"] + bare["activate"] + bare["transaction"]), 1.5)
        targets.at_least("create and activate: times faster than containerd's, at least 20",
                         median("peer create") / both, 20)
        targets.at_least("commit: times faster than containerd's, at least 20", median("peer commit") / own("commit"), 20)
        targets.at_most("removal: of containerd's, at most 1", own("remove") / median("peer remove"), 1)
    targets.at_most("removal of 5000 files, of the removal of 1, about 1", own("remove 5000") / own("remove 1"), 1.3)
    targets.at_most("`lamina version`, of `ctr --version`, at most 0.6", median("version") / median("ctr --version"), 0.6)
    targets.at_most("`lamina version`, of `docker --version`, at most 0.5",
                    median("version") / median("docker --version"), 0.5)
    targets.at_most("memory of the command, at most 40 MiB", memory, 40, " MiB")


try:
    main()
except Failure as failure:
    print(f"measure-speed: {failure}", file=sys.stderr)
    sys.exit(1)
