"""What is asked about all files at once: which hold the same, and the index of them."""
import json
import os
import subprocess
import time

from clients import OURS, mounted
from measure import broken, median
from processes import bound, clean_environment, target
from report import Line, Table, count, mebibytes, seconds


def last_and_count(path):
    """The last line, and how many there are. Not all in memory: what this process takes counts as the command's."""
    line, lines = b"", 0
    with open(path, "rb") as file:
        for lines, line in enumerate(file, 1):
            pass
    return line, lines


class Asked:
    """What a command cost."""

    def __init__(self, command, env, out):
        began = time.time()
        with open(out, "wb") as file:
            child = subprocess.Popen(bound(command), stdin=subprocess.DEVNULL, stdout=file, env={**clean_environment(), **env})
            _, status, usage = os.wait4(child.pid, 0)
        self.seconds = time.time() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise RuntimeError(f"{command[1]} ended with {child.returncode}")
        self.memory = usage.ru_maxrss * 1024


def index(run):
    """`dupes` and `export-index` of an account of 50,000 files."""
    folders, files, same = 50, 1000, 2
    values = {key: {} for key in ("dupes", "export", "memory", "mount", "calls", "rules")}
    program = target() / "release/fichierfs"
    with run.service(OURS, profile="fast") as (fake, folder):
        env = {"HTTPS_PROXY": fake.proxy, "FICHIERFS_API_KEY": fake.key, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        given = ["--state-dir", folder / "state", "--ca-cert", fake.ca]
        fill = [target() / "release/examples/fill-store", folder / "state/default", folders, files, same]
        subprocess.run([str(part) for part in fill], env={**clean_environment(), **env}, check=True, stdout=subprocess.DEVNULL)

        def ask(name):
            began, pages = time.time(), folder / "pages"
            dupes = [Asked([program, "dupes", "--json", *given], env, pages) for _ in range(5)]
            told, _ = last_and_count(pages)
            told = json.loads(told)
            run.expect(told["groups"] == folders * files // same and told["files"] == folders * files, f"dupes found {told}")
            export = [Asked([program, "export-index", *given], env, pages) for _ in range(5)]
            _, lines = last_and_count(pages)
            run.expect(lines == folders * files + 1, f"the index has {lines} lines")
            values["dupes"][name] = median([it.seconds for it in dupes])
            values["export"][name] = median([it.seconds for it in export])
            values["memory"][name] = max(it.memory for it in dupes + export)
            values["calls"][name] = fake.log().between(began).calls()

        ask("no mount")
        with mounted(OURS, fake, folder, ["--dir-cache-time", "1h"]) as mount:
            # A mount asks who the account is, and lists what it has never seen.
            time.sleep(2)
            before = mount.process.memory("VmRSS")
            ask("mount")
            values["mount"]["mount"] = mount.process.memory() - before
        values["rules"] = {"mount": broken(fake.violations())}
    return Table("All files at once", f"{folders * files:,} files in {folders} folders, each content twice, asked of a running mount and of "
                 "what is kept on disk.", [
        Line("`dupes --json`", seconds, values["dupes"], None, "≤ 1 s"),
        Line("`export-index`", seconds, values["export"], None, "≤ 1 s"),
        Line("calls", count, values["calls"], None, "0"),
        Line("memory of the command at most", mebibytes, values["memory"], None, "≤ 64 MiB"),
        Line("memory of the mount, more than before", mebibytes, values["mount"], None, "≤ 64 MiB"),
        Line("rules broken", count, values["rules"], None, "0"),
    ])
