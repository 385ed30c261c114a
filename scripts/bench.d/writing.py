"""Writing: how long programs wait, what it costs the account, and when the account has it all."""
import os
import shutil
import time

from clients import LOCKED_WRITING, OURS, RCLONE_WRITING, mounted
from listing import status
from measure import KIB, MIB, broken
from processes import finish, target
from report import Line, Table, count, mebibytes, milliseconds, rate, seconds

# Seconds until everything must have ended; far more than any of it needs.
LIMIT = 1800

# Bytes of a small file: a thumbnail.
SIZE_OF_SMALL = 20 * KIB


def make_folder(path, folders, files):
    """A tree of small files, each its own bytes."""
    for folder in range(folders):
        (path / f"folder {folder:02}").mkdir(parents=True)
        for file in range(files):
            (path / f"folder {folder:02}" / f"file {file:03}.jpg").write_bytes(os.urandom(SIZE_OF_SMALL))


def synced_copy(source, to):
    """The same tree written to a disk, each file with an fdatasync: seconds."""
    began = time.perf_counter()
    for folder, _, files in os.walk(source):
        there = to / os.path.relpath(folder, source)
        there.mkdir(parents=True, exist_ok=True)
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            fd = os.open(there / name, os.O_WRONLY | os.O_CREAT)
            os.write(fd, content)
            os.fdatasync(fd)
            os.close(fd)
    took = time.perf_counter() - began
    shutil.rmtree(to)
    return took


def files_in(fake):
    """Files of the account: (how many, bytes)."""
    files = [file for folder in fake.admin("tree") for file in folder["files"]]
    return len(files), sum(file["size"] for file in files)


def until(fake, files, limit, every=0.5):
    """Seconds until the account has so many files, None if it never does."""
    began = time.time()
    while time.time() - began < limit:
        if files_in(fake)[0] == files:
            return time.time() - began
        time.sleep(every)
    return None


def unpack(run):
    """A folder of many small files copied in and removed again: the wait, the requests, the account."""
    folders, files = run.pick(4, 20), 50
    source = run.folder / "small"
    make_folder(source, folders, files)
    floor = synced_copy(source, run.folder / "synced")
    keys = ("copy", "requests", "there", "lost", "remove", "calls", "rules")
    values = {key: {} for key in keys}
    for client in run.clients(OURS, RCLONE_WRITING, LOCKED_WRITING):
        limit = LIMIT if client is OURS else run.pick(40, 120)
        with run.service(client) as (fake, folder), mounted(client, fake, folder, ["--no-crawl"]) as mount:
            name = client.name
            os.listdir(mount.path)
            start = time.time()
            code, _ = finish(["cp", "-r", source, mount.path], limit)
            took = time.time() - start
            well = code == 0
            values["copy"][name] = took if well else None
            # Nobody is in a hurry: it is sent as it is when a person goes on with other things.
            sent = until(fake, folders * files, limit)
            values["there"][name] = None if sent is None else took + sent
            values["lost"][name] = folders * files - files_in(fake)[0]
            if client is OURS:
                settled(mount)
            values["requests"][name] = len(fake.log().between(start).entries)
            start = time.time()
            code, _ = finish(["rm", "-r", mount.path / "small"], limit)
            values["remove"][name] = time.time() - start if code == 0 else None
            if client is OURS:
                settled(mount)
            else:
                until(fake, 0, limit)
            values["calls"][name] = len(fake.log().between(start).entries)
            values["rules"][name] = broken(fake.violations())
            if client is OURS:
                run.expect(well and values["lost"][name] == 0, f"cp -r: ended well: {well}, {values['lost'][name]} files missing")
                run.expect(files_in(fake)[0] == 0, "rm -r left files in the account")
    return Table("A folder of small files", f"Profile `home`, `cp -r` and `rm -r` of {folders} folders with {files} files of 20 KiB "
                 "each. The floor is writing the same files to the staging disk with an fdatasync each.", [
        Line("copied", seconds, values["copy"], floor, "≤ 2 × floor"),
        Line("all in the account", seconds, values["there"], None, "≤ 60 s"),
        Line("files that are not", count, values["lost"], None, "0", compare=False),
        Line("requests, to nodes as well", count, values["requests"], None, "≤ 90"),
        Line("removed", seconds, values["remove"]),
        Line("requests for that", count, values["calls"], None, "≤ 75"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def settled(mount):
    """Waits until the account knows everything."""
    command = [target() / "release/fichierfs", "sync", "--quiet", mount.path]
    code, out = finish(command, LIMIT)
    if code != 0:
        raise RuntimeError(f"sync: {out.decode(errors='replace')}")


def large(run):
    """One large file copied in: how fast the copy and the upload are, and the memory they take."""
    length = run.pick(256, 2048) * MIB
    source = run.folder / "large.bin"
    block = os.urandom(MIB)
    with open(source, "wb") as file:
        for _ in range(length // MIB):
            file.write(block)
    keys = ("copy", "upload", "memory", "rules")
    values, floor, shaped = {key: {} for key in keys}, None, None
    for client in run.clients(OURS, RCLONE_WRITING):
        with run.service(client) as (fake, folder), mounted(client, fake, folder, ["--no-crawl"]) as mount:
            name = client.name
            os.listdir(mount.path)
            if floor is None:
                floor = length / dd(source, folder / "dd.bin")
                shaped = fake.admin("shape")["connection_bytes_per_second"]
            began = time.perf_counter()
            code, _ = finish(["cp", source, mount.path / "large.bin"], LIMIT)
            if code == 0:
                values["copy"][name] = length / (time.perf_counter() - began)
            until(fake, 1, LIMIT)
            uploads = [entry for entry in fake.log().of("upload.cgi") if entry["bytes_received"] >= length]
            if uploads:
                delays = uploads[-1]["delays"]
                values["upload"][name] = length / (uploads[-1]["duration"] - delays["connect"] - delays["latency"])
            values["memory"][name] = mount.process.memory()
            values["rules"][name] = broken(fake.violations())
    return Table("One large file", f"Profile `home`, `cp` of {length // MIB:,} MiB. The floor of the copy is `dd bs=1M conv=fdatasync` to "
                 "the staging disk, that of the upload the shaped bandwidth.", [
        Line("copied", rate, values["copy"], floor, "≥ 0.8 of floor", more_is_better=True),
        Line("uploaded", rate, values["upload"], shaped, "≥ 0.95 of floor", more_is_better=True),
        Line("memory at most", mebibytes, values["memory"], None, "≤ 150 MiB"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def patch(run):
    """A few bytes changed in the middle of a large file of the account: what is staged, and whether the result is right."""
    length, change = run.pick(256, 8192) * MIB, os.urandom(KIB)
    content = [option for name in ("large.bin", "twin.bin") for option in ("--synthetic", f"{name}={length}:7")]
    values = {key: {} for key in ("change", "staged", "there", "wrong", "calls", "rules")}
    with run.service(OURS, profile="fast", content=content) as (fake, folder), \
            mounted(OURS, fake, folder, ["--no-crawl"]) as mount:
        name, path = OURS.name, mount.path / "large.bin"
        os.listdir(mount.path)
        start = time.time()
        with open(path, "r+b", buffering=0) as file:
            file.seek(length // 2)
            file.write(change)
        values["change"][name] = time.time() - start
        values["staged"][name] = status(mount)["writing"]["staging_bytes"]
        settled(mount)
        values["there"][name] = time.time() - start
        values["calls"][name] = fake.log().between(start).calls()
        values["wrong"][name] = differing(path, mount.path / "twin.bin", length // 2, change)
        run.expect(values["wrong"][name] == 0, f"{values['wrong'][name]} bytes of the changed file are wrong")
        run.expect(files_in(fake) == (2, 2 * length), f"the account holds {files_in(fake)}")
        values["rules"][name] = broken(fake.violations())
    return Table("A few bytes of a large file", f"Profile `fast`, 1 KiB in the middle of {length // MIB:,} MiB.", [
        Line("written and closed", milliseconds, values["change"]),
        Line("staged", lambda value: f"{value / KIB:,.0f} KiB", values["staged"], None, "≤ 2 MiB"),
        Line("in the account", seconds, values["there"]),
        Line("wrong bytes", count, values["wrong"], None, "0"),
        Line("requests but downloads", count, values["calls"]),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def differing(path, twin, at, change):
    """How many bytes differ from the twin's with the change made to it."""
    wrong, offset = abs(path.stat().st_size - twin.stat().st_size), 0
    with open(path, "rb", buffering=0) as one, open(twin, "rb", buffering=0) as other:
        while True:
            got, wanted = one.read(4 * MIB), bytearray(other.read(4 * MIB))
            if not got and not wanted:
                return wrong
            if offset <= at < offset + len(wanted):
                wanted[at - offset:at - offset + len(change)] = change
            if got != wanted:
                wrong += sum(a != b for a, b in zip(got, wanted)) or 1
            offset += len(got)


def dd(source, to):
    """Seconds a copy to the disk takes, on the disk when it ends."""
    began = time.perf_counter()
    code, out = finish(["dd", f"if={source}", f"of={to}", "bs=1M", "conv=fdatasync", "status=none"], LIMIT)
    took = time.perf_counter() - began
    to.unlink()
    if code != 0:
        raise RuntimeError(f"dd: {out.decode(errors='replace')}")
    return took
