"""What peers stand on and run in: processes that end with this one, files with filesystems, thin pools, mounts."""
import ctypes
import os
import signal
import subprocess
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
MS_RDONLY, MS_BIND, MS_REC = 1, 4096, 16384
MNT_DETACH = 2
FILE_BYTES = 2 << 30

# Without udev, libdevmapper makes the nodes by itself when it is told so.
if not os.path.exists("/run/udev/control"):
    os.environ["DM_DISABLE_UDEV"] = "1"


class Failure(Exception):
    """What a peer or the machine could not do, in words."""


def command(*words, **options):
    """Runs a program to its end and gives its output; fails with what it said."""
    done = subprocess.run(words, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **options)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Failure(f"{' '.join(words[:3])}: {said[-1] if said else done.returncode}")
    return done.stdout


def call(result, what):
    if result != 0:
        raise Failure(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind, options):
    """Mounts as an engine has said, by the kernel's call alone."""
    flags, data = 0, []
    for option in options:
        if option == "ro":
            flags |= MS_RDONLY
        elif option in ("bind", "rbind"):
            flags |= MS_BIND | (MS_REC if option == "rbind" else 0)
        elif option != "rw":
            data.append(option)
    call(libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), ",".join(data).encode()),
         f"mount {source}")


def unmount(target):
    call(libc.umount2(target.encode(), 0), f"umount {target}")


class Daemon:
    """A process of a peer, its log in a file; ends when this program does, however that ends."""

    def __init__(self, words, log):
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))

    def wait_for(self, is_ready, seconds=120):
        end = time.monotonic() + seconds
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log, errors="replace") as log:
                    raise Failure(f"{self.process.args[0]} does not run: {''.join(log.readlines()[-3:]).strip()}")
            time.sleep(0.05)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Ground:
    """A directory on a filesystem that is in a file of its own; with `pool`, a thin pool in files beside it."""

    def __init__(self, place, name, kind, pool=False):
        self.directory = f"{place}/{name}"
        self.pool = None
        self.loops = []
        os.mkdir(self.directory)
        try:
            if pool:
                self.words = "a thin pool in files of 2 GiB"
                self.make_pool(f"peers-{os.getpid()}-{name}", place, name)
            else:
                self.words = f"{kind} in a file of 2 GiB"
                self.make_filesystem(kind, f"{place}/{name}.img")
        except BaseException:
            self.take_down()
            raise

    def make_filesystem(self, kind, image):
        make_file(image, FILE_BYTES)
        # What ext4 would else write in the background, while it is measured.
        command(f"mkfs.{kind}", "-q", *(["-E", "lazy_itable_init=0,lazy_journal_init=0"] if kind == "ext4" else []), image)
        command("mount", "-o", "loop,discard", image, self.directory)

    def make_pool(self, pool, place, name):
        for part, size in (("data", FILE_BYTES), ("metadata", 32 << 20)):
            make_file(f"{place}/{name}.{part}", size)
            self.loops.append(command("losetup", "-f", "--show", f"{place}/{name}.{part}").decode().strip())
        data, metadata = self.loops
        self.pool = pool
        command("dmsetup", "create", pool, "--table",
                f"0 {FILE_BYTES // 512} thin-pool {metadata} {data} 128 0 1 error_if_no_space")

    def take_down(self):
        """All that was made here but the files, whatever state it is in; the daemons have ended."""
        unmount_below(self.directory)
        if self.pool:
            # Docker's devices begin with its own name; those on the pool are known by the device they are on.
            table = command("dmsetup", "deps", "-o", "devname").decode()
            users = [line.split(":")[0] for line in table.splitlines() if f"({self.pool})" in line]
            for device in users + [self.pool]:
                subprocess.run(["dmsetup", "remove", "--retry", device], stdout=subprocess.DEVNULL)
        for loop in self.loops:
            subprocess.run(["losetup", "-d", loop])


def at_once(bodies):
    """Runs all at the same time, each in a thread of its own; nanoseconds until the last one has ended."""
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
    took = time.monotonic_ns() - start
    if failures:
        raise failures[0]
    return took


def make_file(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


def unmount_below(directory):
    with open("/proc/self/mountinfo") as table:
        points = [line.split()[4] for line in table]
    for point in reversed(points):
        if point == directory or point.startswith(directory + "/"):
            if libc.umount2(point.encode(), 0) != 0:
                libc.umount2(point.encode(), MNT_DETACH)
