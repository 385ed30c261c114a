"""Many readers: right bytes, bounded memory and disk, nobody held up, trouble on the line."""
import contextlib
import os
import threading
import time

from clients import OURS, RCLONE, Mount, mounted
from library import library, probe
from measure import GIB, KIB, MIB, broken, forget_pages, read_exactly, read_through, timed
from report import Line, Table, count, mebibytes, milliseconds, rate, seconds, share


def together(count_of, work):
    """Runs `work(number)` on as many threads; returns what each returned."""
    results = [None] * count_of

    def one(number):
        results[number] = work(number)
    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(count_of)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def checked(run):
    """8 readers at random places of a 4 GiB file, every byte compared."""
    values = {key: {} for key in ("reads", "bytes", "wrong", "p50", "p95", "memory", "rules", "speed")}
    plans = {"profile home": ("home", run.pick(160, 800)), "profile fast": ("fast", run.pick(2000, 20000))}
    for name, (profile, reads) in plans.items():
        content = ["--synthetic", f"film.bin={4 * GIB}:7"]
        with run.service(OURS, profile=profile, content=content) as (fake, folder):
            with mounted(OURS, fake, folder) as mount:
                report = run.check(mount.path / "film.bin", "--seed", 7, "--readers", 8, "--reads", reads)
                memory = mount.process.memory()
            values["reads"][name], values["bytes"][name] = report["reads"], report["bytes"]
            values["wrong"][name] = report["wrong"] + report["short"] + sum(report["failed"].values())
            values["p50"][name], values["p95"][name] = report["p50_ms"] / 1000, report["p95_ms"] / 1000
            values["speed"][name] = report["bytes"] / report["seconds"]
            values["memory"][name], values["rules"][name] = memory, broken(fake.violations())
    return Table("Right bytes", "8 readers at random places of a 4 GiB file, 1 byte to 1 MB each; every byte is compared "
                 "with the one it must be.", [
        Line("reads", count, values["reads"]),
        Line("bytes compared", lambda value: f"{value / 1e6:,.0f} MB", values["bytes"]),
        Line("wrong, short or failed reads", count, values["wrong"], None, "0"),
        Line("median", milliseconds, values["p50"]),
        Line("95 of 100 within", milliseconds, values["p95"]),
        Line("together", rate, values["speed"]),
        Line("memory at most", mebibytes, values["memory"], None, "≤ 200 MiB"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def streams(run):
    """Many films played at once."""
    number = run.pick(30, 200)
    content = [word for n in range(number) for word in ("--synthetic", f"films/film {n:03}.mkv=2G:{n}")]
    values = {key: {} for key in ("memory", "failed", "time", "rules")}
    for client in run.clients(OURS, RCLONE):
        with run.service(client, content=content) as (fake, folder), mounted(client, fake, folder) as mount:
            names = [mount.path / "films" / f"film {n:03}.mkv" for n in range(number)]
            os.listdir(mount.path / "films")
            began = time.time()
            # 6 MB are more than any first window, so every stream is one that goes on.
            done = together(number, lambda n: timed(lambda: read_through(names[n], 6_000_000, 128 * KIB)))
            values["time"][client.name] = time.time() - began
            values["failed"][client.name] = sum(took is None for took in done)
            values["memory"][client.name] = mount.process.memory()
            values["rules"][client.name] = broken(fake.violations())
    return Table("Many streams", f"Profile `home`, {number} films open at the same time, 6 MB read of each.", [
        Line("memory at most", mebibytes, values["memory"], None, "≤ 200 MiB"),
        Line("until all had their bytes", seconds, values["time"], number / 2.5),
        Line("streams that failed", count, values["failed"], None, "0"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def disk(run):
    """The disk cache stays below its limit while three times as much is read."""
    limit = run.pick(128, 512) * MIB
    content = ["--synthetic", f"film.bin={3 * limit}:7"]
    used, stop = [], threading.Event()
    with run.service(OURS, profile="fast", content=content) as (fake, folder):
        with mounted(OURS, fake, folder, ["--cache-size", str(limit), "--memory", "64MiB"]) as mount:
            def sample():
                while not stop.wait(0.1):
                    used.append(occupied(folder / "cache"))
            sampler = threading.Thread(target=sample, daemon=True)
            sampler.start()
            read_through(mount.path / "film.bin")
            time.sleep(1)
            stop.set()
            sampler.join()
    run.expect(max(used) <= limit, f"the disk cache took {max(used)} of {limit} bytes")
    return Table("The disk cache's limit", f"Profile `fast`; {3 * limit // MIB} MiB read through a cache of "
                 f"{limit // MIB} MiB, looked at every 100 ms.", [
        Line("bytes on disk at most", mebibytes, {"fichierfs": max(used)}, limit, "≤ the limit"),
    ])


def occupied(folder):
    """Bytes that a folder's files take on disk; files may vanish meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def crowd(run):
    """10 players and a scanner."""
    films, span = run.pick(12, 200), run.pick(15, 40)
    top = library(run, films)
    content = ["--library", str(top)]
    content += [word for n in range(10) for word in ("--synthetic", f"playing/film {n}.mkv=4G:{n}")]
    values = {key: {} for key in ("longest", "failed", "scanned", "rules")}
    for client in run.clients(OURS, RCLONE):
        with run.service(client, content=content) as (fake, folder), mounted(client, fake, folder) as mount:
            os.listdir(mount.path / "playing")
            stop, answered = threading.Event(), []

            def scanner():
                for season in sorted(os.listdir(mount.path)):
                    if season != "playing" and not stop.is_set():
                        answered.append(scan_one(mount.path / season, stop))

            def player(number):
                return play(mount.path / "playing" / f"film {number}.mkv", 3e6, span)
            beside = threading.Thread(target=scanner, daemon=True)
            beside.start()
            played = together(10, player)
            stop.set()
            beside.join()
            values["longest"][client.name] = max(longest for longest, _ in played)
            values["failed"][client.name] = sum(failed for _, failed in played)
            values["scanned"][client.name] = sum(answered)
            values["rules"][client.name] = broken(fake.violations())
    return Table("Players beside a scanner", f"Profile `home`; 10 films played at 3 MB/s each for {span} s while `ffprobe` goes "
                 f"through {films} others.", [
        Line("longest wait of a player once it had started", milliseconds, values["longest"], None, "≤ 2 s"),
        Line("reads that failed", count, values["failed"], None, "0"),
        Line("films scanned meanwhile", count, values["scanned"], more_is_better=True),
        Line("rules broken", count, values["rules"], None, "0"),
    ])


def scan_one(folder, stop):
    answered = 0
    for name in sorted(os.listdir(folder)):
        if stop.is_set():
            break
        answered += probe(folder / name, 60)
    return answered


def play(path, speed, span):
    """Reads at a film's pace; (longest wait after the first read, reads that failed)."""
    piece, at, longest, failed = 256 * KIB, 0, 0.0, 0
    fd = os.open(path, os.O_RDONLY)
    try:
        failed += timed(lambda: read_exactly(fd, piece, 0)) is None
        began = time.monotonic()
        while (now := time.monotonic()) < began + span:
            at += piece
            time.sleep(max(0.0, began + at / speed - now))
            started = time.monotonic()
            took = timed(lambda: read_exactly(fd, piece, at))
            failed += took is None
            longest = max(longest, time.monotonic() - started)
    finally:
        os.close(fd)
    return longest, failed


@contextlib.contextmanager
def stubborn(run, options, **service):
    """A mount of a fake that may break its very first call: another fake is tried until one stands."""
    for seed in range(1, 10):
        with run.service(OURS, seed=seed, **service) as (fake, folder):
            try:
                mount = Mount(OURS, fake, folder, options)
            except RuntimeError:
                continue
            try:
                yield fake, mount, seed
            finally:
                mount.end()
            return
    raise RuntimeError("no mount in 9 tries")


def hostile(run):
    """Random reads while everything that can go wrong goes wrong."""
    reads = run.pick(100, 2000)
    content = ["--synthetic", "film.bin=20G:7"]
    options = ["--cache-size", "1GiB"]
    with stubborn(run, options, profile="hostile", content=content) as (fake, mount, tries):
        report = run.check(mount.path / "film.bin", "--seed", 7, "--readers", 16, "--reads", reads, "--most", "128k",
                           "--may-fail", 0.005)
        values = {"failed": sum(report["failed"].values()) / report["reads"], "wrong": report["wrong"] + report["short"],
                  "p50": report["p50_ms"] / 1000, "p99": report["p99_ms"] / 1000, "max": report["max_ms"] / 1000,
                  "tries": tries, "rules": broken(fake.violations())}
    ours = {key: {"fichierfs": value} for key, value in values.items()}
    return Table("Trouble", f"Profile `hostile` (2 % of every fault); {reads:,} random reads of up to 128 KB over 20 GB, 16 "
                 "readers, every byte compared. `scripts/fault-soak 100000` goes on for longer, with a clock that runs ten times as "
                 "fast.", [
        Line("reads that failed", share, ours["failed"], None, "≤ 0.5 %"),
        Line("wrong or short reads", count, ours["wrong"], None, "0"),
        Line("median", milliseconds, ours["p50"]),
        Line("99 of 100 within", milliseconds, ours["p99"]),
        Line("longest", milliseconds, ours["max"], None, "≤ 120 s"),
        Line("mounts tried until one stood", count, ours["tries"], None, "1"),
        Line("rules broken", count, ours["rules"], None, "0"),
    ])


def stalled(run):
    """A cached film beside 64 readers whose download never comes."""
    readers = 64
    content = ["--synthetic", "film.mkv=100M:7", "--synthetic", "stalled.mkv=40G:8"]
    faults = [{"endpoint": "download", "kind": "stall", "name": "stalled"}]
    with run.service(OURS, content=content, faults=faults) as (fake, folder):
        with mounted(OURS, fake, folder) as mount:
            film, dead = mount.path / "film.mkv", mount.path / "stalled.mkv"
            read_through(film)
            time.sleep(1)
            fd = os.open(dead, os.O_RDONLY)
            threads = [threading.Thread(target=timed, args=(lambda n=n: os.pread(fd, KIB, n * 500_000_000),), daemon=True)
                       for n in range(readers)]
            for thread in threads:
                thread.start()
            time.sleep(2)
            forget_pages(film)
            took = timed(lambda: read_through(film, MIB, 128 * KIB))
            waiting = sum(thread.is_alive() for thread in threads)
            run.expect(waiting == readers, f"only {waiting} of {readers} readers were stalled")
        for thread in threads:
            thread.join(30)
        os.close(fd)
    return Table("Stalled readers", f"Profile `home`; {readers} readers of a file whose downloads are silent, and one of a film "
                 "that is cached.", [
        Line("the cached film's first MiB", milliseconds, {"fichierfs": took}, None, "≤ 50 ms"),
    ])
