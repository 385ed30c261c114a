"""Folders: what it costs to see all names, the first time and after a restart."""
import json
import os
import time

from clients import OURS, RCLONE, mounted
from measure import MIB, broken, median, timed
from processes import finish, target
from report import Line, Table, count, mebibytes, milliseconds, seconds


def walk(path, limit):
    """`ls -lR`; (seconds, entries seen, whether it ended well)."""
    began = time.time()
    code, out = finish(["ls", "-lR", path], limit)
    return time.time() - began, entries(out), code == 0


def entries(listing):
    return sum(line[:1] in b"-d" and line[:1] != b"" for line in listing.splitlines())


def walking(run, folders, files, clients, title):
    """The first walk over everything, and the first one after a restart."""
    everything = folders * files + folders + 1
    keys = ("first", "seen", "calls", "most", "second", "again", "memory", "rules")
    values = {key: {} for key in keys}
    for client in run.clients(*clients):
        limit = 3600
        options = ["--dir-cache-time", "1h"]
        with run.service(client, content=["--tree", f"{folders}x{files}"]) as (fake, folder):
            with mounted(client, fake, folder, options) as mount:
                took, seen, well = walk(mount.path, limit)
                log, name = fake.log(), client.name
                values["first"][name], values["seen"][name] = took, seen
                values["calls"][name] = log.listings()
                values["most"][name] = log.most_listings_per_folder()
                values["memory"][name] = mount.process.memory()
                if client is OURS:
                    run.expect(well and seen == everything, f"ls -lR saw {seen} of {everything}, ended well: {well}")
            start = time.time()
            with mounted(client, fake, folder, options) as mount:
                values["second"][name], _, _ = walk(mount.path, limit)
                values["again"][name] = fake.log().between(start).calls()
            values["rules"][name] = broken(fake.violations())
    return Table(title, f"Profile `home`, `ls -lR` of {folders:,} folders with {files} files each. The floor is one call per "
                 "folder at 2.5 calls a second.", [
        Line("first walk", seconds, values["first"], (folders + 2) / 2.5),
        Line(f"entries seen, of {everything:,}", count, values["seen"], compare=False),
        Line("listing calls", count, values["calls"], folders + 2),
        Line("most calls for one folder", count, values["most"], None, "1"),
        Line("walk after a restart", seconds, values["second"], None, "≤ 1 s"),
        Line("calls by its end", count, values["again"], None, "0"),
        Line("memory at most", lambda value: f"{value / MIB:,.0f} MiB", values["memory"], None, "≤ 150 MiB"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def folders(run):
    """All names of an account of some hundred folders; again after a restart."""
    return walking(run, run.pick(25, 100), 50, (OURS, RCLONE), "All names of an account")


def status(mount):
    """What the mount says of itself, by its own command."""
    command = [target() / "release/fichierfs", "status", "--json", mount.path]
    code, out = finish(command, 30)
    if code != 0:
        raise RuntimeError(f"status: {out.decode(errors='replace')}")
    return json.loads(out)["mounts"][0]["status"]


def completed(mount, seconds_at_most, look=lambda: None):
    """Waits for the crawl to know everything; `look` is called now and then meanwhile."""
    end = time.time() + seconds_at_most
    while True:
        tree = status(mount)["tree"]
        if tree["crawl"]["stage"] == "done":
            return tree
        if time.time() > end:
            raise RuntimeError(f"not known whole after {seconds_at_most} s: {tree['crawl']}")
        look()
        time.sleep(1)


def found(path):
    """`find` over everything: (seconds, entries)."""
    began = time.time()
    code, out = finish(["find", path, "-printf", "x"], 3600)
    return time.time() - began, len(out) if code == 0 else None


class Opener:
    """Opens folders nobody has opened yet while the crawl runs, from the end of the list: the crawl goes from the start."""

    def __init__(self, mount, folders, every, most):
        self.names = [mount.path / "tree" / f"folder {number:05}" for number in range(folders - 1, folders - 1 - most, -1)]
        self.every, self.last, self.waits = every, time.time(), []

    def __call__(self):
        if not self.names or time.time() < self.last + self.every:
            return
        self.last = time.time()
        path = self.names.pop(0)
        waited = timed(lambda: os.listdir(path))
        if waited is not None:
            self.waits.append(waited)


def crawl(run):
    """The crawl of a large account, what others feel of it, and the tree after a restart."""
    # With the folder they are in and the account's root: a call each, and one for who the account is. How large the
    # account is may be asked for once more meanwhile.
    folders, files = run.pick(38, 198), 51
    everything, fewest = folders * (files + 1) + 2, folders + 3
    keys = ("time", "calls", "most", "rules", "wait", "ready", "again", "asked", "memory", "store")
    values = {key: {} for key in keys}
    content = ["--tree", f"{folders}x{files}"]
    # Nothing is looked at again meanwhile: the calls counted are those it takes to know everything.
    options = ["--dir-cache-time", "1h"]
    with run.service(OURS, content=content) as (fake, folder):
        with mounted(OURS, fake, folder, options) as mount:
            began = time.time()
            opener = Opener(mount, folders, every=5, most=run.pick(6, 30))
            tree = completed(mount, 3 * folders + 120, opener)
            values["time"]["fichierfs"] = time.time() - began
            log = fake.log()
            values["calls"]["fichierfs"] = log.calls()
            values["most"]["fichierfs"] = log.most_listings_per_folder()
            values["wait"]["fichierfs"] = max(opener.waits, default=None)
            run.expect(tree["folders_listed"] == folders + 2, f"the crawl listed {tree['folders_listed']} of {folders + 2}")
            time.sleep(2)  # The last listings are written within a second.
        start = time.time()
        with mounted(OURS, fake, folder, options) as mount:
            values["ready"]["fichierfs"] = time.time() - start
            took, seen = found(mount.path)
            end = time.time()
            values["again"]["fichierfs"] = took
            values["asked"]["fichierfs"] = fake.log().between(start, end).calls()
            values["memory"]["fichierfs"] = mount.process.memory()
            values["store"]["fichierfs"] = tree_bytes(folder) / everything
            run.expect(seen == everything, f"find saw {seen} of {everything}")
        values["rules"]["fichierfs"] = broken(fake.violations())
    for client in run.clients(OURS, RCLONE)[1:]:
        with run.service(client, content=content) as (fake, folder), mounted(client, fake, folder) as mount:
            values["time"][client.name], _ = found(mount.path)
            log = fake.log()
            values["calls"][client.name] = log.calls()
            values["most"][client.name] = log.most_listings_per_folder()
            values["rules"][client.name] = broken(fake.violations())
    # What waits for a call waits for one that is under way at most, then for its own.
    one_call = 0.150 + 1 / 2.5
    return Table("The crawl of a large account", f"Profile `home`, {folders + 2:,} folders, {folders:,} of them with {files} files each. fichierfs completes "
                 "its tree by itself, at one call a second; rclone has no such thing, so a `find` lists everything for it.", [
        Line("everything known after", seconds, values["time"], compare=False),
        Line("calls, all kinds", count, values["calls"], fewest, f"≤ {fewest + 1:,}"),
        Line("most calls for one folder", count, values["most"], None, "1"),
        Line("rules broken", count, values["rules"], None, "0"),
        Line("longest wait for a folder opened meanwhile", milliseconds, values["wait"], one_call, "one call more"),
        Line("restart: mounted after", milliseconds, values["ready"], None, "≤ 300 ms"),
        Line("restart: first `find` over all", seconds, values["again"], None, "≤ 1 s"),
        Line("restart: calls by its end", count, values["asked"], None, "0"),
        Line("restart: memory at most", mebibytes, values["memory"], None, "≤ 150 MiB"),
        Line("tree on disk per entry", lambda value: f"{value:.0f} bytes", values["store"], None, "≤ 300 bytes"),
    ])


def tree_bytes(folder):
    """Bytes on disk of the stores of the tree."""
    return sum(file.stat().st_blocks * 512 for file in (folder / "state").rglob("*.redb"))


def million(run):
    """An account of a million entries after a restart."""
    folders, files = run.pick(40, 400), 2500
    everything = folders * (files + 1) + 2
    with run.service(OURS, profile="fast", content=["--tree", f"{folders}x{files}"]) as (fake, folder):
        with mounted(OURS, fake, folder) as mount:
            _, seen = found(mount.path)
            run.expect(seen == everything, f"find saw {seen} of {everything}")
            time.sleep(2)
        start = time.time()
        with mounted(OURS, fake, folder, ["--dir-cache-time", "1h"]) as mount:
            ready = time.time() - start
            at_start = mount.process.memory("VmRSS")
            names = [mount.path / "tree" / name for name in os.listdir(mount.path / "tree")]
            waits = [timed(lambda path=path: finish(["ls", path], 60)) for path in names[:: max(1, len(names) // 50)]]
            asked = fake.log().between(start).calls()
            took, seen = found(mount.path)
            run.expect(seen == everything, f"find saw {seen} of {everything} after the restart")
            memory = mount.process.memory()
        stored = tree_bytes(folder) / everything
    ours = lambda value: {"fichierfs": value}
    return Table("A million entries", f"Profile `fast`, {folders:,} folders with {files:,} files each, mounted anew. `ls` is a process of "
                 "its own, started and ended.", [
        Line("mounted after", milliseconds, ours(ready), None, "≤ 1 s"),
        Line("`ls` of a folder, median", milliseconds, ours(median(waits)), None, "≤ 50 ms"),
        Line("`ls` of a folder, slowest of 50", milliseconds, ours(max(waits)), None, "≤ 50 ms"),
        Line("calls by then", count, ours(asked), None, "0"),
        Line("`find` over everything", seconds, ours(took)),
        Line("memory when mounted", mebibytes, ours(at_start)),
        Line("memory at most, `find` included", mebibytes, ours(memory), None, "≤ 350 MiB"),
        Line("tree on disk per entry", lambda value: f"{value:.0f} bytes", ours(stored), None, "≤ 300 bytes"),
    ])
