"""Runs each SDK and each HTTP library with the code of docs/sdks.md, and compares what the simulator saw and what came back."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "../../docs/sdks.md"
ADDRESS_OF_THE_PAGE = "http://127.0.0.1:8080/"
WALMART = "https://marketplace.walmartapis.com/"
EXAMPLE = "https://api.example.com/base/"
PLACEHOLDER = "marketgate-placeholder-token"
KEY = "mgc_matrix-of-sdks"
GUZZLE = Path("/usr/share/php/GuzzleHttp/autoload.php")

CONFIGURATION = """\
[proxy]
listen = "127.0.0.1:{proxy}"
[admin]
listen = "127.0.0.1:{admin}"
[apps.walmart]
provider = "walmart-marketplace"
environment = "simulator"
simulator = "{sim}"
client_id = "{shop}"
client_secret = {{ env = "SHOP_SECRET" }}
market = "us"
[apps.generic]
provider = "generic"
api = "{sim}/generic/api"
token_url = "{sim}/generic/oauth/token"
client_id = "{shop}"
client_secret = {{ env = "SHOP_SECRET" }}
"""
CALLERS = """\
[callers.sdk]
sha256 = "{digest}"
"""


def page_files():
    """The code blocks of the page that name their file in a comment on the first or second line."""
    blocks = re.findall(r"```(?:python|js|php)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    named = ((re.match(r"(?:<\?php\n)?(?:#|//) ([\w.]+)\n", block), block) for block in blocks)
    return {name[1]: block for name, block in named if name}


class Gate:
    """A running Marketgate: its URL, the key it asks for if any, and the shop whose token it has."""

    def __init__(self, name, shop, key, url, folder, forward_proxy):
        self.name, self.shop, self.key, self.url, self.folder = name, shop, key, url, folder
        self.forward_proxy = forward_proxy

    def token(self):
        """What its token path hands out."""
        return self.key or PLACEHOLDER

    def orders(self):
        """The numbers of the first two orders, asked for without any SDK."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(f"{self.url}walmart/v3/orders?limit=2", headers=headers)
        with OPENER.open(request, timeout=30) as answer:
            return [order["purchaseOrderId"] for order in json.load(answer)["list"]["elements"]["order"]]


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Simulator:
    def __init__(self, url):
        self.url = url

    def arrived(self):
        """The requests since it was last asked."""
        with OPENER.open(f"{self.url}/sim/requests", timeout=30) as answer:
            found = json.load(answer)["requests"]
        self.forget()
        return found

    def forget(self):
        OPENER.open(urllib.request.Request(f"{self.url}/sim/requests", method="DELETE"), timeout=30).close()


@contextmanager
def process(command, log, **options):
    with open(log, "w") as output:
        running = subprocess.Popen(command, stderr=output, **options)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


@contextmanager
def simulator(binary, folder):
    command = [binary, "sim", "--listen", "127.0.0.1:0"]
    with process(command, folder / "sim.log", stdout=subprocess.PIPE, text=True) as running:
        yield Simulator(re.search(r"http://\S+?(?=/?\s)", running.stdout.readline())[0])


@contextmanager
def gate(binary, folder, sim, forward_proxy, name, key):
    shop = f"shop-{name}"
    folder = folder / name
    folder.mkdir()
    proxy, admin = free_port(), free_port()
    text = CONFIGURATION.format(proxy=proxy, admin=admin, sim=sim.url, shop=shop)
    if key:
        text += CALLERS.format(digest=hashlib.sha256(key.encode()).hexdigest())
    (folder / "proxy.toml").write_text(text)
    environment = {**os.environ, "SHOP_SECRET": f"{shop}-secret"}
    command = [binary, "run", "--config", folder / "proxy.toml"]
    with process(command, folder / "log", stdout=subprocess.DEVNULL, env=environment) as running:
        wait_for(f"http://127.0.0.1:{admin}/readyz", running, folder / "log")
        yield Gate(name, shop, key, f"http://127.0.0.1:{proxy}/", folder, forward_proxy)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(url, running, log):
    while running.poll() is None:
        try:
            return OPENER.open(url, timeout=5).close()
        except OSError:
            pass
    sys.exit(f"marketgate ended with {running.returncode}: {log.read_text()}")


@contextmanager
def storage():
    """A server of somebody else's; yields its URL and what headers it has seen. It serves as the programs' forward proxy as
    well: requests takes one for a redirect although `NO_PROXY` names the host."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"stored")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def lay_out(gate, work):
    """The folder in which programs run beside this gate: the page's files with its address, and the drivers."""
    for name, text in page_files().items():
        (gate.folder / name).write_text(text.replace(ADDRESS_OF_THE_PAGE, gate.url))
    for driver in (HERE / "drivers").iterdir():
        shutil.copy(driver, gate.folder)
    (gate.folder / "node_modules").symlink_to(work / "node_modules")


def run(gate, *command):
    """What the program printed. A request to the vendor's real host goes to a proxy that is not there."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    proxies = {"https_proxy": "http://127.0.0.1:9", "http_proxy": gate.forward_proxy, "no_proxy": "127.0.0.1"}
    for name, value in proxies.items():
        environment |= {name: value, name.upper(): value}
    if gate.key:
        environment["MARKETGATE_KEY"] = gate.key
    done = subprocess.run(command, cwd=gate.folder, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failed(f"exit code {done.returncode}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout)


class Failed(Exception):
    pass


def interpreter(driver):
    by_ending = {".py": [sys.executable, "-B"], ".cjs": ["node"], ".php": ["php"]}
    return [*by_ending[Path(driver).suffix], driver]


# By SDK: its driver, and what it must send below `/v3`; `{0}` and `{1}` are the numbers of the first orders. What
# `getConfiguredApi` of Whitebox's returns sends each call twice.
SDKS = {
    "python-walmart": ("with_python_walmart.py", ["GET orders?limit=2", "POST orders/{0}/shipping"]),
    "walmart-solutions-apimatic-sdk": ("with_apimatic.py", ["GET orders?limit=2", "POST feeds?feedType=inventory"]),
    "mcp-walmart-ads": (
        "with_mcp_walmart_ads.py",
        ["GET orders?limit=2", "POST orders/{1}/acknowledge", "POST feeds?feedType=inventory"],
    ),
    "@whitebox-co/walmart-marketplace-api": (
        "with_whitebox.cjs",
        ["GET orders?limit=2", "POST orders/{1}/acknowledge", "GET orders?limit=2", "GET orders?limit=2"],
    ),
}


def try_sdk(gate, sim, name):
    """Yields each check and what is wrong, None if nothing is."""
    driver, wanted = SDKS[name]
    orders = gate.orders()
    sim.forget()
    outcome = run(gate, *interpreter(driver))
    records = sim.arrived()
    yield "orders", unequal(outcome["orders"], orders)
    if "again" in outcome:
        yield "orders again", unequal(outcome["again"], orders)
    if "token" in outcome:
        yield "token", unequal(outcome["token"], gate.token())
    if "changed" in outcome:
        yield "change", None if outcome["changed"] in orders else f"changed {outcome['changed']}, not one of {orders}"
    if "sent" in outcome:
        yield "upload", unequal(outcome["received"], outcome["sent"])
    targets = ["{} /walmart-marketplace/v3/{}".format(*one.format(*orders).split(" ", 1)) for one in wanted]
    yield "arrived", unequal([f"{record['method']} {record['target']}" for record in records], targets)
    yield "the gate's token", not_as_the_gate(records, gate)


def not_as_the_gate(records, gate):
    """Whether a request came without the gate's token, or with anything of the SDK's beside it."""
    known = {"sha256:" + hashlib.sha256(token.encode()).hexdigest()[:12] for token in (gate.token(), "any", "sdk-token")}
    for record in records:
        where = f"{record['method']} {record['target']}"
        shown = [value.rsplit(" ", 1)[-1] for name, value in record["headers"] if name in CREDENTIALS]
        if record["account"] != gate.shop:
            return f"{where} came as {record['account']}, not as {gate.shop}"
        if len(shown) != 1 or known & set(shown):
            return f"{where} showed {shown}"
        if record["violations"] or record["status"] != 200:
            return f"{where}: {record['status']}, {record['violations']}"
    return None


CREDENTIALS = ("authorization", "wm_sec.access_token", "cookie")

# By library: its driver; by style with the page's code, the style that sends the same without it.
LIBRARIES = {
    "requests": ("raw_requests.py", {"session": "none", "every": "none"}),
    "httpx": (
        "raw_httpx.py",
        {"client": "none", "async": "none-async", "every": "none", "every-async": "none-async"},
    ),
    "axios": ("raw_axios.cjs", {"global": "none", "instance": "none-instance"}),
    "guzzle": ("raw_guzzle.php", {"stack": "none"}),
}
ODD = "a%2Fb/c%20d;e=f/%C3%BC?x=1&y=%2B%2f&x=2&empty="
BODY = bytes(range(256)) * 300


def request(method, url, body=b"", **headers):
    """One that shows credentials of its own, as SDKs do."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    names["WM_SEC.ACCESS_TOKEN"] = "sdk-token"
    return {"method": method, "url": url, "headers": names, "body": body.hex(), "auth": ["any", "any"]}


def odd_request(base):
    return request("PUT", base + ODD, BODY, Content_Type="application/octet-stream", X_Own="kept")


def try_library(gate, sim, stored, name, style):
    driver, styles = LIBRARIES[name]
    url, seen = f"{stored[0]}/report", stored[1]
    key = [gate.key]
    routes = [[WALMART, f"{gate.url}walmart/", *key], [EXAMPLE, f"{gate.url}generic/", *key]]
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    requests = [
        request("POST", f"{WALMART}v3/token", b"grant_type=client_credentials", **form),
        request("GET", f"{WALMART}v3/orders?limit=2"),
        odd_request(EXAMPLE),
        request("GET", f"{EXAMPLE}redirect?to=/generic/api/landed&code=302"),
        request("GET", f"{EXAMPLE}redirect?to={url}&code=302"),
        request("GET", f"{sim.url}/sim"),
    ]
    orders = gate.orders()
    sim.forget()
    seen.clear()
    outcomes = run_plan(gate, driver, style, routes, requests)
    records = sim.arrived()
    token, listed, _, landed, away, elsewhere = outcomes
    yield "statuses", unequal([one["status"] for one in outcomes], [200] * 6)
    yield "token", unequal(json.loads(token["body"])["access_token"], gate.token())
    yield "orders", None if all(order in listed["body"] for order in orders) else listed["body"][:300]
    yield "arrived", unequal([record["target"].split("?")[0] for record in records if record["kind"] == "api"], [
        "/walmart-marketplace/v3/orders",
        "/generic/api/" + ODD.split("?")[0],
        "/generic/api/redirect",
        "/generic/api/landed",
        "/generic/api/redirect",
    ])
    yield "redirect", unequal(landed["url"], f"{gate.url}generic/landed")
    yield "redirect to another host", unequal((away["url"], away["body"], kept(seen)), (url, "stored", []))
    yield "another host", unequal(elsewhere["url"], f"{sim.url}/sim")
    ours = [record for record in records if record["kind"] == "api" and "/redirect" not in record["target"]]
    yield "the gate's token", not_as_the_gate(ours, gate)
    if not gate.key:
        yield "unchanged", unequal(odd(records), odd(plainly(gate, sim, driver, styles[style])))


def run_plan(gate, driver, style, routes, requests):
    plan = gate.folder / "plan.json"
    plan.write_text(json.dumps({"routes": routes, "requests": requests}))
    return run(gate, *interpreter(driver), plan, style)


def kept(seen):
    """The credentials that came along to another host."""
    return [name for one in seen for name in one if name in (*CREDENTIALS, "marketgate-key")] if seen else ["nothing came"]


def plainly(gate, sim, driver, style):
    """What arrives if the same library sends the odd request to the gate itself."""
    run_plan(gate, driver, style, [], [odd_request(f"{gate.url}generic/")])
    return sim.arrived()


def odd(records):
    """What arrived of the odd request, all that must not depend on the way."""
    found = [record for record in records if record["method"] == "PUT"]
    return [
        (record["target"], record["body_length"], record["body_sha256"], sorted(map(tuple, record["headers"])))
        for record in found
    ]


def unequal(found, wanted):
    return None if found == wanted else f"{found}, not {wanted}"


def programs():
    """Name, what it needs, and what tries it."""
    for name in SDKS:
        needs = "node" if SDKS[name][0].endswith(".cjs") else None
        yield name, needs, lambda gate, sim, _, name=name: try_sdk(gate, sim, name)
    for name, (driver, styles) in LIBRARIES.items():
        needs = {".cjs": "node", ".php": "php"}.get(Path(driver).suffix)
        for style in styles:
            yield (
                f"{name} ({style})",
                needs,
                lambda gate, sim, stored, name=name, style=style: try_library(gate, sim, stored, name, style),
            )


def is_missing(needs):
    return needs and (not shutil.which(needs) or (needs == "php" and not GUZZLE.exists()))


def outcome_of(checks):
    try:
        return list(checks)
    except (Failed, subprocess.TimeoutExpired, ValueError, KeyError, OSError) as error:
        return [("program", f"{type(error).__name__}: {error}")]


def main():
    binary, work, *names = sys.argv[1:]
    outcomes = Counter()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        folder = Path(directory)
        sim = stack.enter_context(simulator(binary, folder))
        stored = stack.enter_context(storage())
        gates = [
            stack.enter_context(gate(binary, folder, sim, stored[0], name, key))
            for name, key in (("open", None), ("keyed", KEY))
        ]
        for one in gates:
            lay_out(one, Path(work).absolute())
        for name, needs, attempt in programs():
            if names and name.split(" ")[0] not in names:
                continue
            if is_missing(needs):
                # A CI run that leaves something out must not pass.
                outcomes["failed"] += os.environ.get("CI") == "true"
                print(f"{name}: not tried, since {needs} is missing", flush=True)
                continue
            for one in gates:
                report(outcomes, f"{name}, {one.name}", outcome_of(attempt(one, sim, stored)))
    print(f"{outcomes['passed']} passed, {outcomes['failed']} failed")
    sys.exit(1 if outcomes["failed"] or not outcomes["passed"] else 0)


def report(outcomes, name, checks):
    wrong = [(check, problem) for check, problem in checks if problem]
    outcomes["failed"] += len(wrong)
    outcomes["passed"] += len(checks) - len(wrong)
    print(f"{name}: {len(checks) - len(wrong)} of {len(checks)}", flush=True)
    for check, problem in wrong:
        print(f"    {check}: {problem}", flush=True)


main()
