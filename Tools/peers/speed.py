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
import time

import containerd
import machine
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
    def __init__(self, place, driver):
        self.ground = Ground(place, "lamina", "btrfs" if driver == "btrfs" else "ext4")
        self.root = self.ground.directory + "/root"
        self.target = self.ground.directory + "/mount"
        os.mkdir(self.target)
        self.run("init", "--driver", driver, *(["--loop", "2G"] if driver == "devicemapper" else []))

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


def floor(driver, rounds, place):
    said = command(f"{tools}/floor/run", driver, str(rounds), place)
    results = json.loads(said)["runs"][0]["entries"][0]["results"]
    return {result["measurement"]: result["median"] / (1 if result["measurement"] == "parallel.create" else 1e6)
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
    times.setdefault(name, []).append(machine.at_once(bodies))


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


def engine(driver, place):
    """The engine's part of each step, by `lamina bench` in one process, which does the same work on the same ground."""
    said = command(LAMINA, "bench", "--json", "--profile", "quick", "--drivers", driver, "--loop", "2G", "--root",
                   place + "/bench")
    results = json.loads(said)["runs"][0]["entries"][0]["results"]
    return {(result["measurement"], result.get("at")): result["median"] / 1e6 for result in results}


def table(bare, own):
    print("\n| step, ms | lamina, command | the engine | bare calls | containerd | containerd / engine |\n"
          "|---|---|---|---|---|---|")

    def row(step, by_command, part, calls, peer):
        ratio = f"{peer / part:.1f}" if part and peer else "-"
        cells = [f"{value:.2f}" if value else "-" for value in (by_command, part, calls, peer)]
        print(f"| {step} | {' | '.join(cells)} | {ratio} |")

    row("start, and the root opened", median("open"), None, None, None)
    row("create", median("create"), own["create.child", None], bare["create.child"], median("peer create"))
    transaction, mount, unmount = bare["floor.transaction"], None, None
    if "floor.activate" in bare:
        mount = bare["floor.activate"] + bare["floor.mount"] + transaction
        unmount = bare["floor.unmount"] + transaction
    row("mount", median("mount"), own["mount", None], mount, median("peer mount"))
    row("umount, 1 MiB written", median("umount"), own["umount", None], unmount, median("peer umount"))
    row("commit", median("commit"), own["commit", None], None, median("peer commit"))
    row("remove", None, own["remove", None], transaction, median("peer remove"))
    row("remove, until the object is gone", median("remove"), own["remove.collected", None], bare["remove.collected"],
        median("peer remove") + median("peer collect"))
    # The bench tells a rate, in whole creates a second.
    row("8 creates at once, each", median("parallel") / 8, at_once_each(own), 1000 / bare["parallel.create"],
        median("peer parallel") / 8)
    print(f"\none durable transaction: {transaction:.2f} ms, counted with the bare calls of create, mount, umount "
          f"and remove; a call to containerd that does nothing: {median('peer call'):.2f}")


def at_once_each(own):
    return 1e-3 / own["parallel.create", 8]


def main():
    parser = argparse.ArgumentParser(prog="measure-speed")
    parser.add_argument("--driver", choices=["btrfs", "devicemapper"], required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--layers", type=int, default=10_000)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    place = tempfile.mkdtemp(prefix="lamina-speed-", dir=options.directory)
    running = []
    try:
        lamina = Lamina(place, options.driver)
        running.append(lamina)
        lamina.make("base", lambda root: trees.write_tree(root, 500))
        peer = containerd.Containerd(place, {"btrfs": "btrfs", "devicemapper": "devmapper"}[options.driver])
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
        bare = floor(options.driver, options.rounds, place)
        own = engine(options.driver, place)
        removal(lamina, 5)
        if options.driver == "btrfs":
            # Not in the guest, where loading a program from this machine costs more than running it.
            starts(options.rounds)
            listing(lamina, options.layers)
        memory = max(resident(LAMINA, "version"), resident(LAMINA, "--root", lamina.root, "layer", "inspect", "base"))
    finally:
        for one in reversed(running):
            one.stop()
        unmount_below(place)
        shutil.rmtree(place, ignore_errors=True)

    print(f"{options.driver}, {os.uname().release}, medians of {options.rounds}, load {os.getloadavg()[0]:.1f}")
    table(bare, own)
    targets = Targets()
    create = own["create.child", None]
    if options.driver == "btrfs":
        targets.at_most("create: of the bare ioctl and one transaction, at most 1.3",
                        create / bare["create.child"], 1.3)
        targets.at_most(f"`layer ls` of {options.layers} layers, at most 150 ms", median("ls"), 150, " ms")
        targets.at_most("`lamina version`, of `ctr --version`, at most 0.6",
                        median("version") / median("ctr --version"), 0.6)
        targets.at_most("`lamina version`, of `docker --version`, at most 0.5",
                        median("version") / median("docker --version"), 0.5)
    else:
        targets.at_most("create: of the bare message and one transaction, at most 1.5",
                        create / bare["create.child"], 1.5)
        targets.at_most("create and mount: of the bare calls and two transactions, at most 1.5",
                        (create + own["mount", None]) / (
                            bare["create.child"] + bare["floor.activate"] + bare["floor.mount"]
                            + bare["floor.transaction"]), 1.5)
        targets.at_least("create and activate: times faster than containerd's prepare, at least 20",
                         median("peer create") / (create + bare["floor.activate"]), 20)
        targets.at_least("commit: times faster than containerd's, at least 20",
                         median("peer commit") / own["commit", None], 20)
        targets.at_most("removal: of containerd's, at most 1", own["remove", None] / median("peer remove"), 1)
        targets.at_least("8 creates at once: of the rate of one, at least 3", create / at_once_each(own), 3)
        targets.at_least("8 creates at once: times faster than containerd's, at least 50",
                         median("peer parallel") / 8 / at_once_each(own), 50)
    targets.at_most("removal of an imported root, of the removal of one file of 1 MiB, about 1",
                    own["remove.import", None] / own["remove", None], 1.3)
    targets.at_most("the same by the command, which waits until all is gone: 5000 files, of 1",
                    median("remove 5000") / median("remove 1"), 1.3)
    targets.at_most("memory of the command, at most 40 MiB", memory, 40, " MiB")


try:
    main()
except Failure as failure:
    print(f"measure-speed: {failure}", file=sys.stderr)
    sys.exit(1)
