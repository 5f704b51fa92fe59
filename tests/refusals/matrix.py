"""Every client, every refusal, GET and uploads. The one rule: the client sees our status and code, or the run fails."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import upstream

KIB, MIB = 1 << 10, 1 << 20
KEY = "mgc_matrix-of-refusals"
# Clients mostly wait for answers, so several of them share a core.
AT_ONCE = 3 * (os.cpu_count() or 1)

PLAIN = """\
[proxy]
listen = "127.0.0.1:{proxy}"
[admin]
listen = "127.0.0.1:{admin}"
[upstream.timeouts]
token_wait = "1s"
"""
# For the upstream that never answers. The others do, and on a busy machine that may take longer than this.
IMPATIENT = """\
head = "1s"
"""
APP = """
[apps.{name}]
provider = "generic"
grant = "static"
api = "http://127.0.0.1:{port}"
api_key = "key-of-the-matrix"
"""
TWO_ACCOUNTS = """
[apps.two]
provider = "generic"
grant = "static"
credentials = "per-account"
api = "http://127.0.0.1:{port}"
[apps.two.accounts.one]
api_key = "key-one"
[apps.two.accounts.other]
api_key = "key-other"
"""
NO_TOKEN = """
[apps.tokenless]
provider = "generic"
api = "http://127.0.0.1:{port}"
token_url = "http://127.0.0.1:{port}/token"
client_id = "a"
client_secret = "b"
"""

SHAPES = [("GET", 0, False)] + [("POST", size, chunked) for size in (KIB, MIB, 20 * MIB) for chunked in (False, True)]


def configurations():
    """By instance: what follows the addresses."""
    silent, broken, early, closed = upstream.silent(), upstream.broken(), upstream.early(), upstream.closed()
    ports = {"silent": silent, "broken": broken, "early": early, "closed": closed}
    apps = "".join(APP.format(name=name, port=port) for name, port in ports.items())
    apps += TWO_ACCOUNTS.format(port=closed) + NO_TOKEN.format(port=closed)
    key = hashlib.sha256(KEY.encode()).hexdigest()
    return {
        "open": apps,
        "impatient": IMPATIENT + apps,
        "small": '[limits]\nbody = "512KiB"\n' + apps,
        "keyed": f'[callers.matrix]\nsha256 = "{key}"\n' + apps,
    }


def refusals():
    """Name, instance, path, headers, status, code, and whether the shape is refused so."""
    return [
        ("no such app", "open", "/nope/x", {}, 400, "no_such_app", None),
        ("account required", "open", "/two/x", {}, 400, "account_required", None),
        ("no such account", "open", "/two@third/x", {}, 400, "no_such_account", None),
        ("misspelt header", "open", "/closed/x", {"Marketgate-Acount": "x"}, 400, "bad_request", None),
        ("no key", "keyed", "/closed/x", {}, 401, "caller_unknown", None),
        ("a page's request", "open", "/closed/x", {"Sec-Fetch-Dest": "iframe"}, 403, "browser_refused", None),
        ("body too large", "small", "/silent/x", {}, 413, "body_too_large", lambda size: size >= MIB),
        ("target too long", "open", "/closed/" + "x" * 9000, {}, 414, "target_too_long", None),
        ("head too large", "open", "/closed/x", {"X-Large": "x" * 70_000}, 431, "head_too_large", None),
        ("nobody listens", "open", "/closed/x", {}, 502, "upstream_unreachable", None),
        ("broken off", "open", "/broken/x", {}, 502, "upstream_broken", None),
        ("no token", "open", "/tokenless/x", {}, 503, "token_unavailable", None),
        ("no answer", "impatient", "/silent/x", {}, 504, "upstream_timeout", None),
        ("the API's early answer", "open", "/early/x", {}, 413, "early", None),
    ]


@contextmanager
def running(binary, directory, name, text):
    """`marketgate run`, ready; yields its URL."""
    folder = directory / name
    folder.mkdir()
    proxy, admin = upstream.closed(), upstream.closed()
    (folder / "proxy.toml").write_text(PLAIN.format(proxy=proxy, admin=admin) + text)
    log = open(folder / "log", "w")
    process = subprocess.Popen([binary, "run", "--config", folder / "proxy.toml"], stderr=log, stdout=log)
    try:
        wait_for(f"http://127.0.0.1:{admin}/livez", process, folder / "log")
        yield f"http://127.0.0.1:{proxy}"
    finally:
        process.terminate()
        process.wait()


def wait_for(url, process, log):
    while True:
        if process.poll() is not None:
            sys.exit(f"marketgate ended with {process.returncode}: {log.read_text()}")
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            pass


def asked(name, url, headers, method, size, chunked):
    """The name of a case, and its request."""
    shape = f"{method} {size >> 10} KiB{' chunked' if chunked else ''}"
    request = {"url": url, "method": method, "headers": headers, "size": size, "chunked": chunked}
    return f"{name}, {shape}", request


def controls():
    """Without Marketgate: the client sends the body as asked, and reports an error when the server resets."""
    mirror, resets = upstream.mirror(), upstream.resets()
    for method, size, chunked in SHAPES:
        how = "none" if size == 0 else "chunked" if chunked else "measured"
        yield *asked("control: what is sent", f"http://127.0.0.1:{mirror}/{size}", {}, method, size, chunked), (200, how)
        yield *asked("control: the server resets", f"http://127.0.0.1:{resets}/x", {}, method, size, chunked), (None, None)


def cases(urls):
    """All exchanges, in order, with what is expected of each."""
    yield from controls()
    for name, instance, path, headers, status, code, is_for in refusals():
        for method, size, chunked in SHAPES:
            if is_for is None or is_for(size):
                yield *asked(name, urls[instance] + path, headers, method, size, chunked), (status, code)


def clients(work):
    """By name: the command, and whether it takes lines of fields in the place of JSON. The slowest start first."""
    here = Path(__file__).parent
    found, missing = {}, []
    if (work / "java/made").exists():
        # These processes are too short-lived for the optimizing compiler to pay off.
        java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{work}/java/classes:{work}/java/lib/*", "Driver"]
        names = ("httpclient5-async", "httpclient5", "vertx", "webclient", "okhttp", "java.net.http")
        found |= {name: ([*java, name], True) for name in names}
    else:
        missing.append("Java and Maven")
    python = [sys.executable, "-B", str(here / "drivers/python.py")]
    found |= {name: ([*python, name], False) for name in ("curl", "requests", "httpx", "aiohttp")}
    if shutil.which("node"):
        node = ["node", str(work / "node.mjs")]
        found |= {name: ([*node, name], False) for name in ("fetch", "undici-5", "undici-6", "undici-7", "axios")}
    else:
        missing.append("Node")
    if guzzle():
        found["guzzle"] = (["php", str(here / "drivers/guzzle.php")], False)
    else:
        missing.append("PHP with curl and Guzzle")
    if (work / "go-client").exists():
        found |= {name: ([str(work / "go-client"), name], False) for name in ("net/http", "resty", "fasthttp")}
    else:
        missing.append("Go")
    if missing and os.environ.get("CI"):
        sys.exit(f"not installed: {', '.join(missing)}")
    return found


def guzzle():
    """Whether PHP is installed with curl and Guzzle."""
    test = 'exit((int) !(extension_loaded("curl") && stream_resolve_include_path("GuzzleHttp/autoload.php")));'
    return shutil.which("php") and subprocess.run(["php", "-r", test]).returncode == 0


def line(request, as_fields):
    if not as_fields:
        return json.dumps(request)
    headers = ";".join(f"{name}={value}" for name, value in request["headers"].items())
    chunked = str(request["chunked"]).lower()
    return "\t".join([request["method"], request["url"], str(request["size"]), chunked, headers])


def try_client(command, as_fields, wanted):
    """The number of failed cases, a message for each, and the seconds it took."""
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    text = "".join(line(request, as_fields) + "\n" for _, request, _ in wanted)
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=2 * len(wanted))
        printed, why = done.stdout, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    except subprocess.TimeoutExpired as error:
        printed, why = (error.stdout or b"").decode(), "took too long"
    outcomes = [json.loads(one) for one in printed.splitlines()]
    if len(outcomes) != len(wanted):
        last = wanted[len(outcomes)][0] if len(outcomes) < len(wanted) else "all"
        wrong = [f"{len(outcomes)} of {len(wanted)} answers, up to {last}: {why}"]
        return len(wanted), wrong, time.monotonic() - started
    wrong = []
    for (name, _, (status, code)), outcome in zip(wanted, outcomes, strict=True):
        if (outcome.get("status"), outcome.get("code")) != (status, code):
            wrong.append(f"{name}: {outcome}, not {status} {code}")
    return len(wrong), wrong, time.monotonic() - started


def main():
    binary, work, *names = sys.argv[1:]
    work = Path(work)
    repeat = int(os.environ.get("REFUSALS_REPEAT", "1"))
    outcomes = Counter()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        urls = {
            name: stack.enter_context(running(binary, Path(directory), name, text))
            for name, text in configurations().items()
        }
        wanted = list(cases(urls)) * repeat
        chosen = {name: how for name, how in clients(work).items() if not names or name in names}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tried = pool.map(lambda how: try_client(*how, wanted), chosen.values())
            for name, (failed, wrong, seconds) in zip(chosen, tried, strict=True):
                outcomes["failed"] += failed
                outcomes["passed"] += len(wanted) - failed
                print(f"{name}: {len(wanted) - failed} of {len(wanted)}, {seconds:.0f} s", flush=True)
                for one in wrong:
                    print(f"    {one}", flush=True)
    print(f"{outcomes['passed']} passed, {outcomes['failed']} failed")
    sys.exit(1 if outcomes["failed"] or not outcomes["passed"] else 0)


main()
