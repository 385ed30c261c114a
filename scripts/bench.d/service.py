"""The fake service of one measurement, and what its log says afterwards."""
import contextlib
import json
import os
import statistics
import subprocess
import urllib.request

from processes import Process, target, wait_until

LISTINGS = ("folder/ls", "file/ls")
TOKEN = "download/get_token"


class Service:
    """A running fake. Everything reaches it over TLS through its proxy, as the real one is reached."""

    def __init__(self, folder, profile="home", enforce=True, content=(), faults=(), seed=1):
        self.ca = folder / "ca.pem"
        ready = folder / "ready"
        ready.unlink(missing_ok=True)
        # rclone sends its key along with downloads, which only we regard as a breach.
        switches = ["key_on_download_is_violation=false", f"enforce_rules={str(enforce).lower()}"]
        command = [target() / "release/fake-1fichier", "serve", "--profile", profile, "--seed", seed, "--proxy", "127.0.0.1:0",
                   "--ca-out", self.ca, "--ready-file", ready, *content]
        for switch in switches:
            command += ["--switch", switch]
        for fault in faults:
            command += ["--fault", json.dumps(fault)]
        self.process = Process(command, folder / "fake.log")
        wait_until("the fake service", ready.exists, self.process)
        self.addresses = json.loads(ready.read_text())
        self.key = self.addresses["key"]
        self.proxy = self.addresses["proxy_url"]

    def admin(self, path, body=None):
        """One request to the admin interface."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.addresses['admin_url']}/{path}", data=data,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)

    def log(self):
        return Log(self.admin("log"))

    def violations(self):
        """Rules broken, each with how often."""
        counts = {}
        for violation in self.admin("violations"):
            counts[violation["rule"]] = counts.get(violation["rule"], 0) + 1
        return counts

    def curl(self, url, *options):
        """The bare client: (answer, processor seconds of curl)."""
        command = ["curl", "-sS", "--fail", "--cacert", str(self.ca), "--noproxy", "*", *options, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            out = curl.stdout.read()
            _, status, usage = os.wait4(curl.pid, 0)
            curl.returncode = status
        if status != 0:
            raise RuntimeError(f"curl failed: {status}")
        return out, usage.ru_utime + usage.ru_stime

    def download_url(self, file_url):
        """A download link over TLS, for curl."""
        body = json.dumps({"url": file_url, "single": 0, "cdn": 0})
        out, _ = self.curl(f"{self.addresses['tls_api_url']}/download/get_token.cgi",
                           "-H", f"Authorization: Bearer {self.key}", "-H", "Content-Type: application/json",
                           "--data", body)
        return json.loads(out)["url"]


@contextlib.contextmanager
def service(folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    running = Service(folder, **options)
    try:
        yield running
    finally:
        running.process.end()


class Log:
    """Requests of a span of time."""

    def __init__(self, entries):
        self.entries = entries

    def between(self, start, end=float("inf")):
        """Those that arrived within real UNIX times."""
        return Log([entry for entry in self.entries if start <= entry["real_time"] < end])

    def of(self, *endpoints):
        return [entry for entry in self.entries if entry["endpoint"] in endpoints]

    def calls(self):
        """Requests that count for the account's limits: all but downloads."""
        return len(self.entries) - len(self.of("download"))

    def listings(self):
        return len(self.of(*LISTINGS))

    def tokens(self):
        return len(self.of(TOKEN))

    def gets(self):
        return len(self.of("download"))

    def bytes(self):
        return sum(entry["bytes_sent"] for entry in self.of("download"))

    def bytes_per_file(self):
        """Median of the bytes sent of a file."""
        files = {}
        for entry in self.of("download"):
            url = entry["params"].get("url")
            files[url] = files.get(url, 0) + entry["bytes_sent"]
        return statistics.median(files.values()) if files else 0

    def most_gets_per_file(self):
        files = {}
        for entry in self.of("download"):
            url = entry["params"].get("url")
            files[url] = files.get(url, 0) + 1
        return max(files.values(), default=0)

    def most_tokens_per_file(self):
        files = {}
        for entry in self.of(TOKEN):
            url = entry["params"].get("url")
            files[url] = files.get(url, 0) + 1
        return max(files.values(), default=0)

    def most_listings_per_folder(self):
        folders = {}
        for entry in self.of(*LISTINGS):
            key = entry["endpoint"], entry["params"].get("folder_id")
            folders[key] = folders.get(key, 0) + 1
        return max(folders.values(), default=0)

    def held(self):
        """Seconds the fake held up all of these, bandwidth apart."""
        return sum(entry["delays"]["connect"] + entry["delays"]["latency"] for entry in self.entries)

    def floor(self):
        """Seconds the fake held up the first token call and the first range: no client is faster."""
        held = 0.0
        for endpoint in (TOKEN, "download"):
            for entry in self.of(endpoint)[:1]:
                held += entry["delays"]["connect"] + entry["delays"]["latency"]
        return held
