"""Processes and folders of a run: started here, ended here, also when the run is cut short.

Knows nothing of what is measured.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def target():
    """The folder cargo builds into."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve()


def bound(command):
    """The command, told by SIGTERM when this program ends in whatever way."""
    return ["setpriv", "--pdeathsig", "TERM", *(str(part) for part in command)]


class Process:
    """A running program and what it has cost so far."""

    def __init__(self, command, log, env=None):
        self.log = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                bound(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**clean_environment(), **(env or {})})
        self.pid = self.popen.pid

    def cpu(self):
        """Seconds of processor time, all threads, user and system."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def memory(self, field="VmHWM"):
        """Bytes resident, at most so far (VmHWM) or now (VmRSS)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"no {field} of process {self.pid}")

    def ended(self):
        return self.popen.poll() is not None

    def end(self, patience=20):
        """Asks it to end, makes it end."""
        if not self.ended():
            self.popen.terminate()
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()

    def complaint(self):
        """The end of what it said."""
        return pathlib.Path(self.log).read_text(errors="replace")[-2000:]


def finish(command, patience):
    """Runs a command that reads from a mount: (exit code, output), None as code when it took too long.

    It is never waited for after that: in a read that the mount does not answer, not even SIGKILL ends it before the
    mount goes.
    """
    child = subprocess.Popen(bound(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = child.communicate(timeout=max(0.0, patience))
        return child.returncode, out
    except subprocess.TimeoutExpired as late:
        return None, late.stdout or b""
    finally:
        if child.poll() is None:
            child.kill()


def clean_environment():
    """The surroundings without what would configure the programs under test."""
    taken = ("FICHIERFS_", "RCLONE_", "XDG_")
    return {name: value for name, value in os.environ.items()
            if not name.startswith(taken) and not name.lower().endswith("_proxy")}


def wait_until(what, happened, process, seconds=60):
    """Waits for something a process does; says what it said when it does not."""
    end = time.monotonic() + seconds
    while not happened():
        if process.ended() or time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}\n{process.complaint()}")
        time.sleep(0.005)


def is_mounted(folder):
    mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    return any(line.split(" ")[1] == str(folder) for line in mounts)


def unmount(folder):
    """Unmounts as a person would, then however it goes. Nothing is waited for: a server that does not answer holds
    up whoever unmounts it, too."""
    for command in (["umount"], ["fusermount3", "-u"], ["umount", "-l"], ["fusermount3", "-uz"]):
        if not is_mounted(folder):
            return
        with contextlib.suppress(FileNotFoundError):
            finish([*command, folder], 5)


@contextlib.contextmanager
def work_folder():
    """A folder that vanishes with the run, with whatever is still mounted below it."""
    with tempfile.TemporaryDirectory(prefix="fichierfs-bench.", ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name).resolve()
        try:
            yield folder
        finally:
            mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
            for point in [line.split(" ")[1] for line in mounts]:
                if point.startswith(str(folder) + "/"):
                    unmount(pathlib.Path(point))


def end_on_signals():
    """Signals become an ordinary end, so that everything is cleaned up."""
    def leave(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
