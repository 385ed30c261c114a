"""The benchmark: which questions there are, in which order, and where the answers go. See scripts/bench."""
import argparse
import os
import pathlib
import subprocess
import sys
import time

import index
import library
import listing
import load
import priority
import reading
import report
import writing
from measure import Run
from processes import end_on_signals, target, work_folder

ROWS = {
    "open": reading.opening,
    "seek": reading.seeking,
    "leave": reading.leaving,
    "sequential": reading.sequential,
    "cached": reading.cached,
    "probe": library.probing,
    "folders": listing.folders,
    "crawl": listing.crawl,
    "million": listing.million,
    "index": index.index,
    "check": load.checked,
    "streams": load.streams,
    "disk": load.disk,
    "crowd": load.crowd,
    "hostile": load.hostile,
    "stalled": load.stalled,
    "priority": priority.priority,
    "unpack": writing.unpack,
    "large": writing.large,
    "patch": writing.patch,
}


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures fichierfs beside rclone on the fake service.")
    parser.add_argument("--quick", action="store_true", help="ten minutes instead of three quarters of an hour")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--alone", action="store_true", help="without rclone")
    parser.add_argument("--only", metavar="ROW,…", help="these rows only")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and end")
    return parser.parse_args()


def main():
    given = arguments()
    if given.list:
        print("\n".join(f"{name:12}{(row.__doc__ or '').splitlines()[0] if row.__doc__ else ''}"
                        for name, row in ROWS.items()))
        return 0
    names = given.only.split(",") if given.only else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        sys.exit(f"bench: no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    end_on_signals()
    tables, busy, revision = [], os.getloadavg()[0], report.revision()
    with work_folder() as folder:
        run = Run(given.quick, given.alone, folder)
        for name in names:
            began = time.monotonic()
            print(f"== {name}", flush=True)
            try:
                table = ROWS[name](run)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                run.expect(False, f"{name}: {error}")
                continue
            tables.append(table)
            print(f"{table.markdown()}({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
    if given.write:
        write(tables, given, names, busy, revision)
    for problem in run.problems:
        print(f"bench: {problem}", file=sys.stderr)
    return 1 if run.problems else 0


def write(tables, given, names, busy, revision):
    """Writes the page. A page of some rows only would pass for the whole."""
    if set(names) != set(ROWS) or given.alone:
        sys.exit("bench: --write wants all rows and rclone")
    version = subprocess.run([target() / "interop-venv/bin/rclone", "version"], capture_output=True, text=True, check=True)
    command = "scripts/bench --quick --write" if given.quick else "scripts/bench --write"
    note = f"load average {busy:.1f} before it began"
    page = report.document(tables, version.stdout.splitlines()[0], command, revision, note)
    pathlib.Path("docs/performance.md").write_text(page)


if __name__ == "__main__":
    sys.exit(main())
