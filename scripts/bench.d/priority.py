"""Who comes first: a program beside a greedy one, and everybody when the network is gone."""
import os
import statistics
import subprocess
import threading
import time

from clients import OURS, mounted
from measure import KIB, read_through, timed
from reading import find_files
from report import Line, Table, count, milliseconds
from service import TOKEN


def priority(run):
    """A program beside one that opens 500 files at once; known names when the network is gone."""
    greedy, others = run.pick(100, 500), 5
    content = [word for n in range(greedy) for word in ("--synthetic", f"many/{n:03}.bin=1M:{n}")]
    content += [word for n in range(others) for word in ("--synthetic", f"other/{n}.bin=1M:{n}")]
    content += ["--synthetic", "unknown/below/file.bin=1M:1"]
    with run.service(OURS, content=content) as (fake, folder):
        with mounted(OURS, fake, folder, ["--no-crawl"]) as mount:
            for name in ("many", "other", "unknown"):
                os.listdir(mount.path / name)
            between, took = beside(fake, mount, greedy, others)
            fake.admin("faults", {"endpoint": "*", "kind": "stall"})
            listing, space, killed = cut_off(mount)
    values = {"between": statistics.median(between), "took": statistics.median(took), "listing": listing, "space": space,
              "killed": killed}
    ours = {key: {"fichierfs": value} for key, value in values.items()}
    return Table("Who comes first", f"Profile `home`. A program opens {greedy} files at once, then {others} other programs read one "
                 "each (medians). Then the service swallows everything and answers nothing; the kernel's copies are dropped.", [
        Line("calls made before the other program's own", count, ours["between"], None, "≤ 1"),
        Line("until the other program had its bytes", milliseconds, ours["took"]),
        Line("a known folder's names without the network", milliseconds, ours["listing"], None, "≤ 50 ms"),
        Line("free space without the network", milliseconds, ours["space"], None, "≤ 5 ms"),
        Line("until a killed program is gone that waits for an answer", milliseconds, ours["killed"], None, "≤ 2 s"),
    ])


def beside(fake, mount, greedy, others):
    """(calls that came before each other program's own, seconds it waited)."""
    urls = {file["name"]: file["url"] for file in find_files(fake.admin("tree")) if file["name"].count(".") == 1}
    paths = [mount.path / "many" / f"{n:03}.bin" for n in range(greedy)]
    for path in paths:
        threading.Thread(target=timed, args=(lambda path=path: read_through(path, KIB),), daemon=True).start()
    time.sleep(2)
    between, took = [], []
    for n in range(others):
        start = time.time()
        subprocess.run(["head", "-c", "1", mount.path / "other" / f"{n}.bin"], stdout=subprocess.DEVNULL, check=True)
        took.append(time.time() - start)
        tokens = sorted(fake.log().of(TOKEN), key=lambda entry: entry["real_time"])
        own = next(at for at, entry in enumerate(tokens) if entry["params"].get("url") == urls[f"{n}.bin"])
        between.append(sum(entry["real_time"] >= start for entry in tokens[:own]))
    return between, took


def cut_off(mount):
    """Seconds for a known folder's names, for the free space, and until a killed program is gone."""
    if os.geteuid() == 0:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")
    listing = timed(lambda: os.listdir(mount.path / "many"))
    space = timed(lambda: os.statvfs(mount.path))
    stuck = subprocess.Popen(["ls", mount.path / "unknown" / "below"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    began = time.monotonic()
    stuck.kill()
    stuck.wait()
    return listing, space, time.monotonic() - began
