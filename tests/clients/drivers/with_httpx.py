"""Python's `httpx`: with_httpx.py PLAN. Bases are joined by the client's own `base_url`."""

import hashlib
import json
import sys
from pathlib import Path

import httpx


def main(plan):
    clients = {
        name: httpx.Client(base_url=app["base"], headers=app["headers"], timeout=60)
        for name, app in plan["apps"].items()
    }
    out = Path(plan["out"])
    results = [send(clients[exchange["app"]], exchange, out) for exchange in plan["exchanges"]]
    (out / "result.json").write_text(json.dumps(results))


def send(client, exchange, out):
    request = client.build_request(
        exchange["method"], exchange["path"], headers=exchange["headers"], **body(exchange.get("body"))
    )
    bytes_sent = bytes_of(exchange, request)
    reply = client.send(request, follow_redirects=exchange.get("follow", False))
    (out / exchange["file_name"]).write_bytes(reply.content)
    return {
        "status": reply.status_code,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in reply.headers.raw],
        "sent": {
            "length": len(bytes_sent),
            "sha256": hashlib.sha256(bytes_sent).hexdigest(),
            "content_type": request.headers.get("Content-Type"),
        },
    }


def bytes_of(exchange, request):
    if "stream" in exchange.get("body", {}):
        return Path(exchange["body"]["stream"]).read_bytes()
    return request.read()


def body(body):
    if body is None:
        return {}
    if "json" in body:
        return {"json": body["json"]}
    if "bytes" in body:
        return {"content": Path(body["bytes"]).read_bytes()}
    if "stream" in body:
        return {"content": pieces(body["stream"])}
    return {"files": {"file": (body["filename"], Path(body["multipart"]).read_bytes(), body["type"])}}


def pieces(path):
    with open(path, "rb") as file:
        while piece := file.read(70_000):
            yield piece


main(json.loads(Path(sys.argv[1]).read_text()))
