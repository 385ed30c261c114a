"""Folders: what it costs to see all names, the first time and after a restart."""
import time

from clients import LOCKED, OURS, RCLONE, mounted
from measure import MIB, broken
from processes import finish
from report import Line, Table, count, seconds


def walk(path, limit):
    """`ls -lR`; (seconds, entries seen, whether it ended well)."""
    began = time.time()
    code, out = finish(["ls", "-lR", path], limit)
    return time.time() - began, entries(out), code == 0


def entries(listing):
    return sum(line[:1] in b"-d" and line[:1] != b"" for line in listing.splitlines())


def state_bytes(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def walking(run, folders, files, clients, title):
    """The first walk over everything, and the first one after a restart."""
    everything = folders * files + folders + 1
    keys = ("first", "seen", "calls", "most", "second", "again", "memory", "store", "rules")
    values = {key: {} for key in keys}
    for client in run.clients(*clients):
        limit = run.pick(40, 240) if client is LOCKED else 3600
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
            if client is not LOCKED:
                start = time.time()
                with mounted(client, fake, folder, options) as mount:
                    values["second"][name], _, _ = walk(mount.path, limit)
                    values["again"][name] = fake.log().between(start).calls()
                if client is OURS:
                    values["store"][name] = state_bytes(folder / "state") / everything
            values["rules"][name] = broken(fake.violations())
    return Table(title, f"Profile `home`, `ls -lR` of {folders:,} folders with {files} files each. The floor is one call per "
                 "folder at 2.5 calls a second.", [
        Line("first walk", seconds, values["first"], (folders + 2) / 2.5),
        Line(f"entries seen, of {everything:,}", count, values["seen"], compare=False),
        Line("listing calls", count, values["calls"], folders + 2),
        Line("most calls for one folder", count, values["most"], None, "1"),
        Line("walk after a restart", seconds, values["second"], None, "≤ 1 s"),
        Line("calls by its end", count, values["again"], None, "0"),
        Line("state on disk per entry", lambda value: f"{value:.0f} bytes", values["store"], None, "≤ 300 bytes"),
        Line("memory at most", lambda value: f"{value / MIB:,.0f} MiB", values["memory"], None, "≤ 150 MiB"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def folders(run):
    """All names of an account of some hundred folders; again after a restart."""
    return walking(run, run.pick(25, 300), 50, (OURS, RCLONE, LOCKED), "All names of an account")


def crawl(run):
    """The same with a thousand folders, and rclone beside it."""
    return walking(run, run.pick(60, 1000), 50, (OURS, RCLONE), "All names of a large account")
