"""What all measurements share: sizes of a run, reading files, small statistics."""
import contextlib
import json
import os
import statistics
import time

from processes import finish, target
from service import service

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# Seconds a check of bytes may take; far more than any of them needs.
CHECK_LIMIT = 3600


class Run:
    """One run: how large, where, and what was wrong."""

    def __init__(self, quick, alone, folder):
        self.quick = quick
        self.alone = alone
        self.folder = folder
        self.problems = []
        self.services = 0

    def pick(self, quick, full):
        """A size for this run."""
        return quick if self.quick else full

    def clients(self, *clients):
        """Those of the clients that take part: without rclone only the first, which is ours."""
        return clients[:1] if self.alone else clients

    @contextlib.contextmanager
    def service(self, client, **options):
        """A fresh fake for one client; its own one is told off for every broken rule."""
        self.services += 1
        folder = self.folder / f"{self.services:03}"
        with service(folder, enforce=client.enforce, **options) as fake:
            yield fake, folder
            if client.name == "fichierfs":
                self.expect(not fake.violations(), f"fichierfs broke rules: {fake.violations()}")

    def expect(self, right, complaint):
        if not right:
            self.problems.append(complaint)
            print(f"!! {complaint}", flush=True)

    def check(self, path, *options):
        """The byte checker of the fake; its report."""
        command = [target() / "release/fake-1fichier", "check", path, *options]
        code, out = finish(command, CHECK_LIMIT)
        if not out.startswith(b"{"):
            raise RuntimeError(f"check of {path.name}: no report within {CHECK_LIMIT} s")
        self.expect(code == 0, f"check of {path.name}: {out.decode().strip()}")
        return json.loads(out)


def timed(work):
    """Seconds the work took, None when it failed with an OSError."""
    began = time.perf_counter()
    try:
        work()
    except OSError:
        return None
    return time.perf_counter() - began


def read_exactly(fd, length, offset):
    got = os.pread(fd, length, offset)
    if len(got) != length:
        raise OSError(f"{len(got)} of {length} bytes at {offset}")


def read_through(path, length=None, piece=MIB):
    """Reads a file from its start; returns the bytes read."""
    buffer, done = bytearray(piece), 0
    fd = os.open(path, os.O_RDONLY)
    try:
        while length is None or done < length:
            got = os.readv(fd, [buffer])
            if got == 0:
                break
            done += got
    finally:
        os.close(fd)
    return done


def forget_pages(path):
    """Takes a file out of the kernel's page cache."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def median(values):
    good = [value for value in values if value is not None]
    return statistics.median(good) if good else None


def quantile(values, share):
    good = sorted(value for value in values if value is not None)
    return good[min(len(good) - 1, int(len(good) * share))] if good else None


def failures(values):
    return sum(value is None for value in values)


def broken(violations):
    return sum(violations.values())
