"""The simulator and Marketgate in front of it, as processes. The one rule: readiness is asked for, never slept for."""

import base64
import json
import signal
import socket
import subprocess
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

CLIENT = "shop-42"
SECRET = "shop-42-secret"

CONFIGURATION = """\
[proxy]
listen = "127.0.0.1:{proxy}"

[[proxy.listener]]
listen = "127.0.0.1:{other}"
app = "other"

[[proxy.listener]]
listen = "127.0.0.1:{walmart}"
app = "walmart"

[admin]
listen = "127.0.0.1:{admin}"

[apps.other]
provider = "generic"
environment = "simulator"
simulator = "{simulator}"
client_id = "shop-42"
client_secret = {{ file = "secret" }}

[apps.walmart]
provider = "walmart-marketplace"
environment = "simulator"
simulator = "{simulator}"
client_id = "shop-42"
client_secret = {{ file = "secret" }}
"""


@dataclass
class Gate:
    """Where Marketgate listens: for all apps, and for one app each."""

    url: str
    ports: dict


class Failed(Exception):
    """A server did not start or did not end as it should."""


@contextmanager
def simulator(binary, directory):
    """`marketgate sim` on a free port; yields its URL."""
    with _process([binary, "sim", "--listen", "127.0.0.1:0"], directory, "sim") as process:
        url = process.stdout.readline().strip()
        if not url.startswith("http://"):
            raise Failed(f"sim printed {url!r} instead of its URL")
        yield url


@contextmanager
def marketgate(binary, directory, simulator_url):
    """`marketgate run` with a proxy.toml of its own, once every app has a token; yields its `Gate`."""
    ports = dict(zip(("proxy", "admin", "other", "walmart"), _free_ports(4), strict=True))
    (directory / "secret").write_text(SECRET + "\n")
    config = directory / "proxy.toml"
    config.write_text(CONFIGURATION.format(simulator=simulator_url, **ports))
    with _process([binary, "run", "--config", config], directory, "run") as process:
        for app in ("other", "walmart"):
            wait = [binary, "wait", "--config", config, app, "--timeout", "30s"]
            waited = subprocess.run(wait, capture_output=True, text=True)
            if waited.returncode != 0 or process.poll() is not None:
                log = (directory / "run.log").read_text()
                raise Failed(f"no token for {app}: {waited.stderr}\n{log}")
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        yield Gate(urls.pop("proxy"), urls)


@contextmanager
def _process(command, directory, name):
    """Runs for as long as the block; SIGTERM must end it, with exit code 0."""
    with open(directory / f"{name}.log", "w") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
        if code != 0:
            raise Failed(f"{name} exited {code} after SIGTERM")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def _free_ports(count):
    """Ports that were free just now: `run` does not say which one it got for port 0."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]


class Records:
    """What arrived at the simulator's APIs, by the name of the check that sent it."""

    def __init__(self, simulator_url):
        self.url = f"{simulator_url}/sim/requests"

    def forget(self):
        ask(self.url, method="DELETE")

    def of_tokens(self):
        return ask(f"{self.url}?kind=token&limit=10000")["requests"]

    def by_check(self):
        found = {}
        for record in ask(f"{self.url}?kind=api&limit=10000")["requests"]:
            check = dict(record["headers"]).get("x-check")
            found.setdefault(check, []).append(record)
        return found


def token(simulator_url, path, headers):
    """A token the script fetches for itself, for direct calls."""
    basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        **headers,
    }
    answer = ask(simulator_url + path, b"grant_type=client_credentials", headers, "POST")
    return answer["access_token"]


def ask(url, body=None, headers=None, method="GET"):
    """One JSON call of the script's own, past any configured HTTP proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, body, headers or {}, method=method)
    with opener.open(request, timeout=30) as reply:
        text = reply.read()
    return json.loads(text) if text else None


def directory_of(text):
    path = Path(text)
    path.mkdir(parents=True, exist_ok=True)
    return path
