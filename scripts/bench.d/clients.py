"""The programs under test: how each is mounted, and nothing of what is done with the mount."""
import contextlib
import os
import pathlib

from processes import Process, is_mounted, target, unmount, wait_until

# What guides for media servers on cloud storage recommend for `rclone mount`, this backend's lack of
# polling included.
MEDIA_FLAGS = [
    "--vfs-read-ahead", "256M", "--vfs-read-chunk-size", "32M", "--vfs-read-chunk-size-limit", "2G",
    "--buffer-size", "32M", "--dir-cache-time", "1000h", "--attr-timeout", "1000h", "--poll-interval", "0",
    "--vfs-cache-max-age", "1000h", "--vfs-fast-fingerprint", "--no-modtime",
]


class Client:
    """One program with one set of options."""

    def __init__(self, name, command, enforce=True):
        self.name = name
        self.command = command
        # Whether the fake answers a broken rule as the service would, or only counts it.
        self.enforce = enforce


def fichierfs(service, folder, options):
    command = [target() / "release/fichierfs", "mount", "--foreground", "--state-dir", folder / "state",
               "--cache-dir", folder / "cache", "--ca-cert", service.ca, *options, folder / "mnt"]
    return command, {"HTTPS_PROXY": service.proxy, "FICHIERFS_API_KEY": service.key, "HOME": str(folder)}


def rclone(*flags, writes=False):
    def make(service, folder, options):
        del options  # Those are fichierfs's own.
        config = folder / "rclone.conf"
        config.touch()
        command = [target() / "interop-venv/bin/rclone", "mount", "F:", folder / "mnt",
                   "--config", config, "--cache-dir", folder / "cache", "--vfs-cache-mode", "full",
                   "--vfs-cache-max-size", "10G", *flags]
        if not writes:
            command += ["--read-only"]
        if os.geteuid() == 0:
            command += ["--allow-other"]
        return command, {"HTTPS_PROXY": service.proxy, "RCLONE_CA_CERT": str(service.ca), "HOME": str(folder),
                         "RCLONE_CONFIG_F_TYPE": "fichier", "RCLONE_CONFIG_F_API_KEY": service.key}
    return make


OURS = Client("fichierfs", fichierfs)
# Under enforced rules rclone is locked out again and again, so it is measured with them counted only,
# and once as it would fare.
RCLONE = Client("rclone", rclone(), enforce=False)
MEDIA = Client("rclone, media flags", rclone(*MEDIA_FLAGS), enforce=False)
LOCKED = Client("rclone, rules enforced", rclone())
RCLONE_WRITING = Client("rclone", rclone(writes=True), enforce=False)
LOCKED_WRITING = Client("rclone, rules enforced", rclone(writes=True))


class Mount:
    """A mount of a service by a client."""

    def __init__(self, client, service, folder, options=()):
        self.path = pathlib.Path(folder) / "mnt"
        self.path.mkdir(parents=True, exist_ok=True)
        command, env = client.command(service, pathlib.Path(folder), list(options))
        self.process = Process(command, folder / "client.log", env)
        try:
            wait_until(f"a mount by {client.name}", lambda: is_mounted(self.path), self.process)
        except BaseException:
            self.end()
            raise

    def end(self):
        unmount(self.path)
        self.process.end()
        # What a killed server leaves is a dead mountpoint.
        unmount(self.path)


@contextlib.contextmanager
def plain(folder, length):
    """A mount that does nothing but serve one file from memory: what FUSE itself costs. Its process and the file."""
    mountpoint = folder / "plain"
    mountpoint.mkdir(parents=True)
    process = Process([target() / "release/examples/plain-mount", mountpoint, length], folder / "plain.log")
    try:
        wait_until("the plain mount", lambda: is_mounted(mountpoint), process)
        yield process, mountpoint / "file"
    finally:
        unmount(mountpoint)
        process.end()


@contextlib.contextmanager
def mounted(client, service, folder, options=()):
    folder.mkdir(parents=True, exist_ok=True)
    mount = Mount(client, service, folder, options)
    try:
        yield mount
    finally:
        mount.end()
