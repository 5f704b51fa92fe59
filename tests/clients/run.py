"""The runner: every client does the plan directly and through Marketgate, and the two are compared. run.py BINARY

Prints a table, then every difference, then one line of counts; the exit code is 0 only if there was none.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import plan
import policy
import servers

HERE = Path(__file__).parent / "drivers"
BASES = {"other": "/generic/api", "walmart": "/walmart-marketplace"}
CREDENTIALS = {"other": ("Authorization", "Bearer "), "walmart": ("WM_SEC.ACCESS_TOKEN", "")}
TOKEN_PATHS = {"other": "/generic/oauth/token", "walmart": "/walmart-marketplace/v3/token"}


class Client:
    """A client, and the form of route it is given: prefix, account, header or port."""

    def __init__(self, name, command, route="prefix", joins=False, logs_in=False):
        self.name, self.command, self.route = name, command, route
        # Joins URLs by RFC 3986, so that the path of its base is lost.
        self.joins = joins
        # Fetches a token itself and insists on using it.
        self.logs_in = logs_in

    def does(self, exchange):
        if exchange["app"] == "nowhere" and self.route == "port":
            return False
        return not self.logs_in or exchange["app"] == "walmart"

    def direct(self, simulator_url, tokens):
        """Bases and credentials for direct calls."""
        apps = {}
        for app, path in BASES.items():
            header, prefix = CREDENTIALS[app]
            base = {"base": simulator_url, "base_path": path} if self.joins else {"base": simulator_url + path}
            apps[app] = base | {"headers": {header: prefix + tokens[app]}}
        return self._with_login(apps)

    def proxied(self, gate):
        """Bases and routes for calls through Marketgate; no credentials."""
        return self._with_login({app: self._routed(gate, app) for app in (*BASES, "nowhere")})

    def prefix(self, app):
        """What stands before the path of the API."""
        return {"prefix": f"/{app}", "account": f"/{app}@default", "header": "", "port": ""}[self.route]

    def address(self, gate, app):
        """Where the client reaches Marketgate."""
        return gate.ports.get(app, gate.url) if self.route == "port" else gate.url

    def _routed(self, gate, app):
        match self.route:
            case "prefix" | "account":
                return {"base": gate.url + self.prefix(app), "headers": {}}
            case "header":
                # The base of a careless user: its path will be dropped, and the header tells the route.
                headers = {"Marketgate-App": app} if app in BASES else {}
                return {"base": f"{gate.url}/{app}", "base_path": "", "headers": headers}
            case "port":
                return {"base": self.address(gate, app), "base_path": "", "headers": {}}

    def _with_login(self, apps):
        if self.logs_in:
            apps["walmart"]["headers"] = {}
            apps["walmart"]["login"] = {
                "path": "/v3/token",
                "client_id": servers.CLIENT,
                "client_secret": servers.SECRET,
                "token_header": "WM_SEC.ACCESS_TOKEN",
                "headers": plan.WALMART,
            }
        return apps


CURL = [sys.executable, HERE / "with_curl.py"]
REQUESTS = [sys.executable, HERE / "with_requests.py"]
HTTPX = [sys.executable, HERE / "with_httpx.py"]
FETCH = ["node", HERE / "with_fetch.mjs"]
CLIENTS = [
    Client("curl", CURL),
    Client("requests", REQUESTS),
    Client("httpx", HTTPX, route="account"),
    Client("fetch", FETCH, route="header", joins=True),
    Client("fetch, port", FETCH, route="port", joins=True),
    Client("token first", REQUESTS, logs_in=True),
]


class Stage:
    """Simulator and Marketgate, with what the runner itself knows of them."""

    def __init__(self, simulator_url, gate, directory):
        self.simulator_url, self.gate, self.directory = simulator_url, gate, directory
        self.records = servers.Records(simulator_url)
        self.tokens = {
            "other": servers.token(simulator_url, TOKEN_PATHS["other"], {}),
            "walmart": servers.token(simulator_url, TOKEN_PATHS["walmart"], plan.WALMART),
        }

    def ask_walmart(self, path, method="GET", body=None):
        headers = plan.WALMART | {"WM_SEC.ACCESS_TOKEN": self.tokens["walmart"], "Content-Type": "application/json"}
        return servers.ask(f"{self.simulator_url}/walmart-marketplace{path}", body, headers, method)

    def exchanges(self):
        """A SKU and the plan, after its lasting change was made once, so that making it again changes nothing."""
        page = self.ask_walmart("/v3/items?limit=3")
        sku = page["ItemResponse"][0]["sku"]
        amount = json.dumps({"sku": sku, "quantity": {"unit": "EACH", "amount": 7}}).encode()
        self.ask_walmart(f"/v3/inventory?sku={sku}", "PUT", amount)
        cursor = quote(page["nextCursor"], safe="")
        return sku, plan.exchanges(self.directory, self.simulator_url, sku, cursor)

    def run(self, client, way, apps, exchanges):
        """Lets a client do its exchanges one way; answers by name."""
        out = servers.directory_of(self.directory / re.sub(r"\W", "-", client.name) / way)
        todo = [
            exchange | {
                "headers": {"X-Check": exchange["name"]} | exchange.get("headers", {}),
                "file_name": f"{number}.body",
            }
            for number, exchange in enumerate(exchanges)
        ]
        (out / "plan.json").write_text(json.dumps({"apps": apps, "out": str(out), "exchanges": todo}))
        self.records.forget()
        done = subprocess.run([*client.command, out / "plan.json"], env=environment(), timeout=240, text=True,
                              stderr=subprocess.PIPE)
        if done.returncode != 0:
            log = (self.directory / "run.log").read_text()[-2000:]
            raise servers.Failed(f"{client.name}, {way}, exited {done.returncode}:\n{done.stderr}\n{log}")
        arrivals = self.records.by_check()
        results = json.loads((out / "result.json").read_text())
        answers = {}
        for exchange, result in zip(todo, results, strict=True):
            body = out / exchange["file_name"]
            answers[exchange["name"]] = policy.Answer(result, body.read_bytes(), arrivals.get(exchange["name"], []))
            body.unlink()
        return answers

    def judge(self, client, exchanges):
        """What differs for one client, by the name of the exchange."""
        mine = [exchange for exchange in exchanges if client.does(exchange)]
        comparable = [exchange for exchange in mine if "own" not in exchange]
        direct = self.run(client, "direct", client.direct(self.simulator_url, self.tokens), comparable)
        proxied = self.run(client, "proxied", client.proxied(self.gate), mine)
        found = {exchange["name"]: self._judge(client, exchange, direct, proxied) for exchange in mine}
        if client.logs_in:
            strays = self.records.of_tokens()
            found["no token call upstream"] = [f"token calls at the marketplace: {strays}"] if strays else []
        return found

    def _judge(self, client, exchange, direct, proxied):
        name = exchange["name"]
        if "own" in exchange:
            return policy.own_answer(exchange, proxied[name])
        app = exchange["app"]
        surface = {"api": self.simulator_url + BASES[app], "gate": client.address(self.gate, app), "prefix": client.prefix(app)}
        return policy.differences(exchange, direct[name], proxied[name], surface)

    def judge_vendor_client(self, sku):
        """python-walmart through Marketgate, against direct calls of the runner's own."""
        todo = self.directory / "python-walmart.json"
        todo.write_text(json.dumps({
            "base": f"{self.gate.url}/walmart/v3", "sku": sku,
            "client_id": "whoever", "client_secret": "whatever",
        }))
        done = subprocess.run([sys.executable, HERE / "with_python_walmart.py", todo], env=environment(),
                              timeout=120, text=True, capture_output=True)
        if done.returncode != 0:
            return {"python-walmart": [done.stderr]}
        seen = json.loads(done.stdout)
        paths = {
            "items": "/v3/items?limit=3", "one item": f"/v3/items/{sku}", "inventory": f"/v3/inventory?sku={sku}",
            "orders": "/v3/orders?limit=2", "orders that are none": "/v3/orders?purchaseOrderId=0",
        }
        found = {}
        for name, path in paths.items():
            expected = self.ask_walmart(path)
            same = expected == seen["answers"][name]
            found[f"python-walmart: {name}"] = [] if same else [f"expected {expected}, seen {seen['answers'][name]}"]
        worthless = seen["token"] not in self.tokens.values() and "placeholder" in seen["token"]
        found["python-walmart: its token is worthless"] = [] if worthless else [f"it was given {seen['token']}"]
        return found


def environment():
    """Clients must reach this machine itself, whatever HTTP proxy is configured for the rest."""
    return os.environ | {"NO_PROXY": "*", "no_proxy": "*"}


def table(rows, columns):
    """Checks down, clients across."""
    width = max(len(name) for name in rows)
    lines = [" ".join(["check".ljust(width), *(column.rjust(12) for column in columns)])]
    for name, row in rows.items():
        cells = ("" if column not in row else "FAIL" if row[column] else "pass" for column in columns)
        lines.append(" ".join([name.ljust(width), *(cell.rjust(12) for cell in cells)]))
    return "\n".join(lines)


def judge_all(stage):
    sku, exchanges = stage.exchanges()
    rows = {}
    for client in CLIENTS:
        for name, found in stage.judge(client, exchanges).items():
            rows.setdefault(name, {})[client.name] = found
    return rows, stage.judge_vendor_client(sku)


def report(rows, vendor):
    """Prints what passed and what did not; the number of failures."""
    print(table(rows, [client.name for client in CLIENTS]))
    for name, found in vendor.items():
        print(f"{name}: {'FAIL' if found else 'pass'}")
    judged = [(f"{who}: {name}", found) for name, row in rows.items() for who, found in row.items()]
    judged += vendor.items()
    failed = [(name, found) for name, found in judged if found]
    for name, found in failed:
        print("\n" + "\n  ".join([name, *found]))
    print(f"\n{len(judged) - len(failed)} passed, {len(failed)} failed")
    return len(failed)


def main(binary):
    with tempfile.TemporaryDirectory(prefix="marketgate-clients-") as text:
        directory = Path(text)
        with servers.simulator(binary, directory) as simulator_url:
            with servers.marketgate(binary, directory, simulator_url) as gate:
                rows, vendor = judge_all(Stage(simulator_url, gate, directory))
    return 1 if report(rows, vendor) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
