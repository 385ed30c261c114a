"""One file and one reader: the first bytes, seeks, throughput, what is cached."""
import contextlib
import os
import random
import time

from clients import LOCKED, MEDIA, OURS, RCLONE, mounted, plain
from measure import GIB, KIB, MIB, broken, failures, forget_pages, median, quantile, read_exactly, read_through, timed
from report import Line, Table, count, milliseconds, per_gigabyte, rate, size

# What the profile `home` gives one connection and the account, in bytes per second.
CONNECTION, ACCOUNT = 25e6, 100e6
HEAD = 512 * KIB


def opening(run):
    """Cold open to the first 512 KiB; then elsewhere in the same file; then the same bytes again."""
    files = run.pick(4, 8)
    content = [word for n in range(files) for word in ("--synthetic", f"films/film {n:02}.mkv=4G:{n}")]
    cold, live, cached, floors, live_floors, failed, rules = {}, {}, {}, [], [], {}, {}
    for client in run.clients(OURS, RCLONE, MEDIA):
        with run.service(client, content=content) as (fake, folder), mounted(client, fake, folder) as mount:
            times = [[], [], []]
            for name in sorted(os.listdir(mount.path / "films")):
                # Calls are rationed; a person opens one film, then another.
                time.sleep(1.5)
                began = time.time()
                holder = []
                times[0].append(timed(lambda: first(holder, mount.path / "films" / name)))
                if not holder:
                    continue
                between = time.time()
                times[1].append(timed(lambda: read_exactly(holder[0], HEAD, 2 * GIB)))
                os.posix_fadvise(holder[0], 0, 0, os.POSIX_FADV_DONTNEED)
                times[2].append(timed(lambda: read_exactly(holder[0], HEAD, 0)))
                os.close(holder[0])
                if client is OURS:
                    log = fake.log()
                    floors.append(log.between(began, between).floor() + HEAD / CONNECTION)
                    live_floors += [e["delays"]["latency"] + HEAD / CONNECTION
                                    for e in log.between(between).of("download")[:1]]
            name = client.name
            cold[name], live[name], cached[name] = map(median, times)
            failed[name] = sum(map(failures, times))
            rules[name] = broken(fake.violations())
    return Table("The first bytes of a film", f"Profile `home`, median of {files} films of 4 GB, 512 KiB each.", [
        Line("cold: open and read", milliseconds, cold, median(floors), "≤ 1.15 × floor"),
        Line("link known: read 2 GiB further", milliseconds, live, median(live_floors), "≤ 1.3 × floor"),
        Line("cached: read again, not in the page cache", milliseconds, cached, None, "≤ 5 ms"),
        Line("reads that failed", count, failed),
        Line("rules broken", count, rules, None, "0"),
    ])


def first(holder, path):
    fd = os.open(path, os.O_RDONLY)
    holder.append(fd)
    read_exactly(fd, HEAD, 0)


def seeking(run):
    """Random seeks in a 40 GB film."""
    seeks, piece, pause = run.pick(25, 100), 256 * KIB, 0.25
    content = ["--synthetic", "film.mkv=40G:7"]
    lines = {key: {} for key in ("p50", "p95", "tokens", "gets", "bytes", "failed", "rules")}
    for client in run.clients(OURS, RCLONE, MEDIA, LOCKED):
        with run.service(client, content=content) as (fake, folder):
            with mounted(client, fake, folder) as mount:
                places, times = random.Random(1), []
                # Those that take seconds for each do as many as they can.
                end = time.monotonic() + run.pick(15, 60 if client in (MEDIA, LOCKED) else 120)
                fd = os.open(mount.path / "film.mkv", os.O_RDONLY)
                try:
                    for _ in range(seeks):
                        if time.monotonic() > end:
                            break
                        at = places.randrange(0, 39_000_000_000)
                        times.append(timed(lambda: read_exactly(fd, piece, at)))
                        time.sleep(pause)
                finally:
                    os.close(fd)
            log, name = fake.log(), client.name
            # The first one also waits for the link, which all share.
            lines["p50"][name], lines["p95"][name] = quantile(times[1:], 0.5), quantile(times[1:], 0.95)
            lines["tokens"][name], lines["gets"][name] = log.tokens(), log.gets()
            lines["bytes"][name] = log.bytes() / max(1, len(times))
            lines["failed"][name] = failures(times) + seeks - len(times)
            lines["rules"][name] = broken(fake.violations())
    floor = 0.060 + piece / CONNECTION
    return Table("Seeks", f"Profile `home`, {seeks} random seeks in a 40 GB file, 256 KiB read at each, "
                 f"{pause} s between them.", [
        Line("median", milliseconds, lines["p50"], floor),
        Line("95 of 100 within", milliseconds, lines["p95"], floor, "≤ 1.25 × floor"),
        Line("token calls", count, lines["tokens"], None, "1"),
        Line("ranges", count, lines["gets"]),
        Line("bytes sent per seek", size, lines["bytes"], piece, "≤ 8 MiB over"),
        Line("seeks that failed or were not made in time", count, lines["failed"]),
        Line("rules broken", count, lines["rules"], None, "0"),
    ])


def leaving(run):
    """Seeks away from a film in full flow: what comes in vain, and how soon the other place is there."""
    seeks, stretch, piece = run.pick(8, 30), 40 * MIB, 256 * KIB
    lines = {key: {} for key in ("p50", "p95", "over", "stream", "tokens", "failed", "rules")}
    for client in run.clients(OURS, RCLONE):
        with run.service(client, content=["--synthetic", "film.mkv=40G:7"]) as (fake, folder):
            with mounted(client, fake, folder) as mount:
                places, times, read = random.Random(2), [], 0
                fd = os.open(mount.path / "film.mkv", os.O_RDONLY)
                try:
                    for _ in range(seeks):
                        at = places.randrange(0, 39_000_000_000)
                        took = timed(lambda: read_exactly(fd, piece, at))
                        times.append(took)
                        if took is None:
                            continue
                        read += piece
                        for step in range(at + piece, at + stretch, MIB):
                            failed = timed(lambda: read_exactly(fd, MIB, step)) is None
                            read += 0 if failed else MIB
                finally:
                    os.close(fd)
                # What was on its way when the file was closed.
                time.sleep(1)
            log, name = fake.log(), client.name
            asked = [(e["bytes_sent"], asked_bytes(e)) for e in log.of("download")]
            broken_off = sum(sent < wanted for sent, wanted in asked)
            over = max(0, log.bytes() - read)
            lines["p50"][name], lines["p95"][name] = quantile(times[1:], 0.5), quantile(times[1:], 0.95)
            lines["over"][name] = over / seeks
            lines["stream"][name] = over / max(seeks, broken_off)
            lines["tokens"][name], lines["failed"][name] = log.tokens(), failures(times)
            lines["rules"][name] = broken(fake.violations())
    floor = 0.060 + piece / CONNECTION
    return Table("Seeks in full flow", f"Profile `home`, {seeks} times {stretch // MIB} MiB of a 40 GB film as fast as they "
                 "come, then elsewhere at once, 256 KiB first.", [
        Line("first 256 KiB elsewhere, median", milliseconds, lines["p50"], floor),
        Line("95 of 100 within", milliseconds, lines["p95"], floor),
        Line("bytes sent in vain per seek", size, lines["over"]),
        Line("of them per connection left behind", size, lines["stream"], None, "≤ 8 MiB"),
        Line("token calls", count, lines["tokens"], None, "1"),
        Line("seeks that failed", count, lines["failed"]),
        Line("rules broken", count, lines["rules"], None, "0"),
    ])


def asked_bytes(entry):
    """The length of the range a download asked for."""
    first, _, last = (entry["params"].get("range") or "bytes=0-0").removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1 if first and last else 0


def sequential(run):
    """One film from its start to its end, as fast as it comes."""
    home_film, fast_film = run.pick(1_000, 2_000) * 10**6, run.pick(1_000, 4_000) * 10**6
    speed, fast, cpu, served, memory = {}, {}, {}, {}, {}
    for client in run.clients(OURS, RCLONE, MEDIA):
        # A quarter tells the pace of those that take minutes for all.
        part = 1 if client is OURS else 4
        home_bytes, fast_bytes = home_film // part, fast_film // part
        content = ["--synthetic", f"film.mkv={home_bytes}:7"]
        with run.service(client, content=content) as (fake, folder), mounted(client, fake, folder) as mount:
            took = timed(lambda: read_through(mount.path / "film.mkv"))
            speed[client.name] = took and home_bytes / took
        content = ["--synthetic", f"film.mkv={fast_bytes}:7"]
        with run.service(client, profile="fast", content=content) as (fake, folder), \
                mounted(client, fake, folder) as mount:
            os.listdir(mount.path)
            before, serving = mount.process.cpu(), fake.process.cpu()
            took = timed(lambda: read_through(mount.path / "film.mkv"))
            fast[client.name] = took and fast_bytes / took
            cpu[client.name] = (mount.process.cpu() - before) / (fast_bytes / 1e9)
            served[client.name] = (fake.process.cpu() - serving) / (fast_bytes / 1e9)
            memory[client.name] = mount.process.memory()
    ceiling, note = machine_ceiling(run)
    return Table("One film from start to end", f"{note}", [
        Line("profile home", rate, speed, ACCOUNT, "≥ 90 MB/s", more_is_better=True),
        Line("profile fast", rate, fast, ceiling, "≥ 4 × rclone, ≥ 0.75 of the ceiling", more_is_better=True),
        Line("processor time of the client, fast", per_gigabyte, cpu),
        Line("processor time of the fake beside it, fast", per_gigabyte, served, compare=False),
        Line("memory at most, fast", lambda value: f"{value / MIB:,.0f} MiB", memory),
    ])


def machine_ceiling(run):
    """The most this machine can do: all cores busy with a mount that serves from memory, curl and the fake."""
    cores = len(os.sched_getaffinity(0))
    length = run.pick(1_000, 3_000) * 10**6
    with run.service(OURS, profile="fast", content=["--synthetic", f"big.mkv={length}:7"]) as (fake, folder):
        link = fake.download_url(next(find_files(fake.admin("tree")))["url"])
        serving = fake.process.cpu()
        _, curl = fake.curl(link, "-o", "/dev/null")
        fetch = (curl + fake.process.cpu() - serving) / (length / 1e9)
        curl /= length / 1e9
        with plain(folder, length) as (process, path):
            before, own = process.cpu(), time.process_time()
            read_through(path)
            serve = (process.cpu() - before + time.process_time() - own) / (length / 1e9)
    note = (f"{cores} cores. curl alone costs {curl:.2f} CPU-s/GB and with the fake that serves it {fetch:.2f}; "
            f"a mount that does nothing but serve from memory, and its reader, {serve:.2f}. "
            "Ceiling = cores / (fetch + serve). rclone reads a quarter of the film.")
    return cores / (fetch + serve) * 1e9, note


def find_files(tree):
    """All files of an account's tree as the admin interface shows it."""
    if isinstance(tree, dict):
        if "url" in tree and "name" in tree:
            yield tree
        for value in tree.values():
            yield from find_files(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from find_files(value)


def cached(run):
    """A file that is on disk already, read again and again."""
    length = run.pick(200, 800) * 10**6
    content = ["--synthetic", f"film.mkv={length}:7"]
    disk, pages, lent, cpu = {}, {}, {}, {}
    for client in run.clients(OURS, RCLONE):
        options = ["--memory", "64MiB"]
        with run.service(client, profile="fast", content=content) as (fake, folder):
            with mounted(client, fake, folder, options) as mount:
                read_through(mount.path / "film.mkv")
                time.sleep(2)
            with mounted(client, fake, folder, options) as mount, contextlib.ExitStack() as stack:
                paths = {client.name: mount.path / "film.mkv"}
                keep(fake, paths[client.name])
                fetched, before = len(fake.log().of("download")), mount.process.cpu()
                disk.update(rates(length, paths, anew=True))
                cpu[client.name] = (mount.process.cpu() - before) / (TIMES * length / 1e9)
                if client is OURS:
                    _, paths[PLAIN] = stack.enter_context(plain(folder, length))
                    disk.update(rates(length, {PLAIN: paths[PLAIN]}, anew=True))
                    paths[DIRECT] = data_file(folder)
                pages.update(rates(length, paths))
                if client is OURS:
                    run.expect(len(fake.log().of("download")) == fetched, "a cached file was fetched again")
            if client is OURS and os.geteuid() == 0:
                with mounted(client, fake, folder, [*options, "--read-only"]) as mount:
                    paths = {client.name: whole(mount.path / "film.mkv"), DIRECT: data_file(folder)}
                    lent.update(rates(length, paths))
    direct, beside = pages.pop(DIRECT), lent.pop(DIRECT, None)
    return Table("What is cached", f"A file of {length // 10**6} MB that was read before, mounted anew; the floor is the "
                 "cache's own file, read directly from the page cache, in turn with the others. *Plain mount* does nothing but "
                 "serve from memory: the kernel keeps and copies the pages of a FUSE mount one by one, 4 KiB each, those of a file "
                 "on a disk in large pieces; no mount can change that.", [
        Line("from the disk cache", rate, disk, direct, more_is_better=True),
        Line("from the page cache", rate, pages, direct, "≥ 0.8 of the floor, or the plain mount", more_is_better=True),
        Line("read by the kernel itself: read-only, as root", rate, lent, beside, "≥ 0.9 of the floor",
             more_is_better=True),
        Line("processor time of the client, disk cache", per_gigabyte, cpu),
    ])


# How often something cached is read; the best counts, since what else the machine does only adds.
TIMES = 5

PLAIN, DIRECT = "plain mount", "directly"


def rates(length, paths, anew=False):
    """Bytes per second of reading each of the files through, in turn, at best; `anew` without the kernel's copy of it."""
    took = {name: [] for name in paths}
    for _ in range(TIMES):
        for name, path in paths.items():
            if anew:
                forget_pages(path)
            took[name].append(timed(lambda path=path: read_through(path)))
    return {name: length / min(times) for name, times in took.items()}


def data_file(folder):
    """The disk cache's own copy of the only film there is."""
    return max((folder / "cache").rglob("data/*/*"), key=lambda file: file.stat().st_blocks)


def keep(fake, path):
    """Reads until nothing is fetched: what came faster than the disk took it is not kept the first time."""
    for _ in range(TIMES):
        fetched = len(fake.log().of("download"))
        forget_pages(path)
        read_through(path)
        if len(fake.log().of("download")) == fetched:
            return


def whole(path):
    """The path, once the kernel may read the cache's file itself: it was found sound in this process and is certain to be
    on the disk, which the second opening sees to."""
    read_through(path)
    read_through(path)
    time.sleep(2)
    read_through(path)
    return path
