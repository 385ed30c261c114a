"""Tables of figures: values side by side, ratios, Markdown."""
import os
import pathlib
import platform
import subprocess


def milliseconds(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def seconds(value):
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def count(value):
    return f"{value:,.0f}"


def size(value):
    return f"{value / 1e6:,.1f} MB" if value < 1e10 else f"{value / 1e9:,.1f} GB"


def mebibytes(value):
    return f"{value / 2**20:,.0f} MiB"


def rate(value):
    return f"{value / 1e6:,.0f} MB/s"


def per_gigabyte(value):
    return f"{value:.2f} CPU-s/GB"


def share(value):
    return f"{value * 100:.2f} %"


class Line:
    """One figure for every client."""

    def __init__(self, what, form, values, floor=None, wanted="", more_is_better=False, compare=True):
        self.what = what
        self.form = form
        self.values = values
        self.floor = floor
        self.wanted = wanted
        self.more_is_better = more_is_better
        self.compare = compare

    def text(self, client):
        value = self.values.get(client)
        return "" if value is None else self.form(value)

    def to_floor(self):
        ours = self.values.get("fichierfs")
        if not ours or not self.floor:
            return ""
        return f"{ours / self.floor:.2f}"

    def to_rclone(self):
        """How many times better than rclone; above 1 is better."""
        ours, theirs = self.values.get("fichierfs"), self.values.get("rclone")
        if not self.compare or ours is None or theirs is None:
            return ""
        better, worse = (ours, theirs) if self.more_is_better else (theirs, ours)
        if worse == 0:
            return "" if better == 0 else "∞"
        return f"{better / worse:.2f}"


class Table:
    """The answer to one question."""

    def __init__(self, title, note, lines):
        self.title = title
        self.note = note
        self.lines = lines

    def markdown(self):
        clients = []
        for line in self.lines:
            clients += [name for name in line.values if name not in clients]
        columns = {"": [line.what for line in self.lines]}
        for client in clients:
            columns[client] = [line.text(client) for line in self.lines]
        columns["floor"] = ["" if line.floor is None else line.form(line.floor) for line in self.lines]
        columns["to floor"] = [line.to_floor() for line in self.lines]
        columns["× better than rclone"] = [line.to_rclone() for line in self.lines]
        columns["wanted"] = [line.wanted for line in self.lines]
        shown = {name: cells for name, cells in columns.items() if name in ("", "fichierfs") or any(cells)}
        rows = [list(shown), ["---"] + ["--:"] * (len(shown) - 1), *map(list, zip(*shown.values()))]
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        return f"## {self.title}\n\n{self.note}\n\n{table}\n"


def machine():
    """What the figures were measured on, without naming the machine."""
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), Linux {platform.release().split('-')[0]}"


def revision():
    out = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return out.stdout.strip() or "an unknown revision"


def document(tables, rclone_version, command, measured, load):
    """The page docs/performance.md."""
    head = f"""# Performance

Measured by `{command}` at {measured} with {rclone_version}, on {machine()}; {load}.
Absolute figures hold for that machine only; read the ratios. The service is the stand-in in `tests/fake-1fichier`,
client and service run on the same cores, and everything goes over TLS.

- *floor*: the delays the fake really applied, from its log, plus the bytes asked for over the bandwidth. No client can be
  faster.
- *rclone* is `rclone mount --vfs-cache-mode full`; *media flags* adds what guides for media servers recommend. Both break
  the service's rules, and a real account would be locked for it; so their rules are only counted, and *rules enforced*
  shows how they fare when the fake answers as the service does.
- What is done millions of times is measured by itself, without a mount, with `cargo bench`.
- Profile `home`: API 150 ms, token 250 ms, first byte 60 ms, connection 40 ms, 25 MB/s per connection, 100 MB/s in all.
  Profile `fast`: no delays.

"""
    return head + "\n".join(table.markdown() for table in tables)
