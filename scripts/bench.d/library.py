"""Media libraries: what a media server does on its first look, and on the ones after it."""
import os
import subprocess
import time

from clients import MEDIA, OURS, RCLONE, mounted
from measure import MIB, broken
from processes import finish, target
from report import Line, Table, count, seconds, size

# The base films: file name and ffmpeg's options. The mp4 has its index at the end, as cameras and muxers write it.
KINDS = {
    "mkv": ["-c:v", "mpeg4", "-b:v", "8M", "-c:a", "aac"],
    "mp4": ["-c:v", "mpeg4", "-b:v", "8M", "-c:a", "aac"],
    "avi": ["-c:v", "mpeg4", "-b:v", "8M", "-c:a", "mp3"],
    "ts": ["-c:v", "mpeg2video", "-b:v", "8M", "-c:a", "mp2"],
}
# Each is repeated until it is larger than any read-ahead that matters here.
LOOPS = 9


def base_films():
    """One film of 100 to 200 MB of each kind, made once."""
    folder = target() / "bench-films"
    folder.mkdir(exist_ok=True)
    for kind, options in KINDS.items():
        film = folder / f"film.{kind}"
        if film.exists():
            continue
        short, part = folder / f"short.{kind}", folder / f"part.{kind}"
        encode = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i",
                  "testsrc2=size=1280x720:rate=25:duration=20,noise=alls=30:allf=t", "-f", "lavfi", "-i",
                  "sine=frequency=440:duration=20", "-shortest", *options, str(short)]
        repeat = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-stream_loop", str(LOOPS), "-i", str(short),
                  "-c", "copy", str(part)]
        for command in (encode, repeat):
            subprocess.run(command, check=True)
        short.unlink()
        part.rename(film)
    return folder


def library(run, films):
    """A folder of `films` films in seasons of 25; links, so it costs no space."""
    base, top = base_films(), run.folder / f"library-{films}"
    kinds = list(KINDS)
    for n in range(films):
        season = top / f"Season {n // 25:02}"
        season.mkdir(parents=True, exist_ok=True)
        link = season / f"Episode {n:03}.{kinds[n % len(kinds)]}"
        if not link.exists():
            os.symlink(base / f"film.{kinds[n % len(kinds)]}", link)
    return top


def probe(path, patience):
    """What a media server asks of a file; whether it got an answer."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_name", "-of", "csv=p=0",
               str(path)]
    code, out = finish(command, patience)
    return code == 0 and b"." in out


def scan(top, limit):
    """Probes every film below `top`, one after the other, as a scanner does; (seconds, films that answered)."""
    began, answered = time.time(), 0
    try:
        for folder in sorted(os.listdir(top)):
            for name in sorted(os.listdir(top / folder)):
                left = limit - (time.time() - began)
                if left <= 0:
                    return time.time() - began, answered
                answered += probe(top / folder / name, min(left, 120))
    except OSError:
        pass  # A listing that failed: what it holds was not answered.
    return time.time() - began, answered


def probing(run):
    """ffprobe of a library: the first pass, the second, and one after a restart."""
    films = run.pick(16, 200)
    top = library(run, films)
    passes = ("first pass", "second pass", "after a restart")
    keys = [(name, key) for name in passes for key in ("time", "answered", "calls", "gets", "bytes")]
    values = {key: {} for key in keys}
    median_bytes, most_gets, most_tokens, rules = {}, {}, {}, {}
    for client in run.clients(OURS, RCLONE, MEDIA):
        # What takes seconds for each film is not waited for to the end: the films that answered tell.
        limit = run.pick(25, 90 if client is MEDIA else 1500)
        with run.service(client, content=["--library", str(top)]) as (fake, folder):
            marks = []
            for part in (passes[:2], passes[2:]):
                with mounted(client, fake, folder) as mount:
                    for name in part:
                        start = time.time()
                        took, answered = scan(mount.path, limit)
                        marks.append((name, start, time.time(), took, answered))
            log = fake.log()
            for name, start, end, took, answered in marks:
                span = log.between(start, end)
                figures = (took, answered, span.calls(), span.gets(), span.bytes())
                for key, value in zip(("time", "answered", "calls", "gets", "bytes"), figures):
                    values[name, key][client.name] = value
            first = log.between(marks[0][1], marks[0][2])
            median_bytes[client.name] = first.bytes_per_file()
            most_gets[client.name], most_tokens[client.name] = first.most_gets_per_file(), first.most_tokens_per_file()
            rules[client.name] = broken(fake.violations())
            if client is OURS:
                floor = first.held()
                run.expect(values["first pass", "answered"][client.name] == films, "a film could not be probed")
    forms = {"time": seconds, "answered": count, "calls": count, "gets": count, "bytes": size}
    names = {"time": "time", "answered": f"films that answered, of {films}", "calls": "calls", "gets": "ranges",
             "bytes": "bytes sent"}
    wanted = {"calls": "0", "gets": "0", "bytes": "0"}
    lines = []
    for name, key in keys:
        lines.append(Line(f"{name}: {names[key]}", forms[key], values[name, key],
                          floor if (name, key) == ("first pass", "time") else None,
                          wanted.get(key, "") if name != "first pass" else "", compare=key != "answered"))
    lines += [
        Line("bytes sent per film, median, first pass", lambda value: f"{value / MIB:.1f} MiB", median_bytes, None,
             "≤ 4 MiB"),
        Line("most ranges of a film, first pass", count, most_gets, None, "≤ 3"),
        Line("most token calls of a film, first pass", count, most_tokens, None, "1"),
        Line("rules broken", count, rules, None, "0"),
    ]
    return Table("A media server looks at a library", f"Profile `home`, `ffprobe` of {films} films, one after the other: "
                 "mkv, mp4 with its index at the end, avi and ts of 100 to 200 MB. The floor is the sum of "
                 "all delays of our first pass, bandwidth apart.", lines)
