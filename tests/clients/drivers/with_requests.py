"""Python's `requests`: with_requests.py PLAN. Bases are joined as its users do: by writing them one after the other."""

import hashlib
import json
import sys
from pathlib import Path

import requests


def main(plan):
    session = requests.Session()
    results = []
    for exchange in plan["exchanges"]:
        app = plan["apps"][exchange["app"]]
        if "login" in app:
            app["headers"] = log_in(session, app)
        results.append(send(session, app, exchange, Path(plan["out"])))
    Path(plan["out"], "result.json").write_text(json.dumps(results))


def log_in(session, app):
    """What every client of Walmart's does first; the token is then used as it came."""
    login = app.pop("login")
    answer = session.post(
        app["base"] + login["path"],
        auth=(login["client_id"], login["client_secret"]),
        headers=login["headers"],
        data={"grant_type": "client_credentials"},
        timeout=60,
    )
    answer.raise_for_status()
    granted = answer.json()
    assert granted["token_type"] == "Bearer" and granted["expires_in"] > 60, granted
    return {login["token_header"]: granted["access_token"]}


def send(session, app, exchange, out):
    headers = exchange["headers"] | app["headers"]
    request = requests.Request(exchange["method"], app["base"] + exchange["path"], headers, **body(exchange.get("body")))
    prepared = session.prepare_request(request)
    reply = session.send(prepared, allow_redirects=exchange.get("follow", False), timeout=60)
    (out / exchange["file_name"]).write_bytes(reply.content)
    return {
        "status": reply.status_code,
        "headers": list(reply.raw.headers.items()),
        "sent": sent(exchange, prepared),
    }


def body(body):
    if body is None:
        return {}
    if "json" in body:
        return {"json": body["json"]}
    if "bytes" in body:
        return {"data": Path(body["bytes"]).read_bytes()}
    if "stream" in body:
        return {"data": pieces(body["stream"])}
    return {"files": {"file": (body["filename"], Path(body["multipart"]).read_bytes(), body["type"])}}


def pieces(path):
    with open(path, "rb") as file:
        while piece := file.read(70_000):
            yield piece


def sent(exchange, prepared):
    if "stream" in exchange.get("body", {}):
        bytes_sent = Path(exchange["body"]["stream"]).read_bytes()
    else:
        bytes_sent = prepared.body or b""
    bytes_sent = bytes_sent.encode() if isinstance(bytes_sent, str) else bytes_sent
    return {
        "length": len(bytes_sent),
        "sha256": hashlib.sha256(bytes_sent).hexdigest(),
        "content_type": prepared.headers.get("Content-Type"),
    }


main(json.loads(Path(sys.argv[1]).read_text()))
