"""The files of `lamina bench`'s works: the same counts and sizes, random data."""
import io
import os
import random
import tarfile

from machine import Failure

block = random.Random(1).randbytes(1 << 20)


def write(path, count):
    """Random bytes, no two MiB equal."""
    with open(path, "wb") as file:
        written = 0
        while written < count:
            piece = written.to_bytes(8, "little") + block[8:]
            written += file.write(piece[:min(count - written, len(piece))])


def write_tree(root, files):
    """Files of 4 KiB in directories of a hundred."""
    for index in range(files):
        directory = f"{root}/directory-{index // 100}"
        if index % 100 == 0:
            os.mkdir(directory)
        offset = index * 997 % (len(block) - 4096)
        with open(f"{directory}/file-{index}", "wb") as file:
            file.write(block[offset:offset + 4096])


def write_tar(path, files, size):
    """A tar with the shape of a root."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(files):
            if index % 100 == 0:
                add(tar, f"directory-{index // 100}", None)
            offset = index * 997 % (len(block) - size)
            add(tar, f"directory-{index // 100}/file-{index}", block[offset:offset + size])


def tar_of(entries):
    """A tar in memory: paths, and data or nothing for a directory."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in entries:
            add(tar, path, data)
    return output.getvalue()


def add(tar, path, data):
    entry = tarfile.TarInfo(path)
    entry.mtime = 1_700_000_000
    if data is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    else:
        entry.size, entry.mode = len(data), 0o644
        tar.addfile(entry, io.BytesIO(data))


def change(root):
    """One file of many written, one removed, one made."""
    write(f"{root}/directory-3/file-305", 100)
    os.unlink(f"{root}/directory-3/file-306")
    write(f"{root}/directory-3/new", 100)


def require_changes(tar):
    """Whether a tar of changes has those that were made: a peer that finds none is no measure of anything."""
    names = tarfile.open(fileobj=io.BytesIO(tar)).getnames()
    files = {os.path.basename(name) for name in names} - {"directory-3"}
    if files != {"file-305", ".wh.file-306", "new"}:
        raise Failure(f"the changes it found are {sorted(files)}")
