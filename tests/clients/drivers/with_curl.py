"""`curl`: with_curl.py PLAN. One process an exchange, as in a shell script; a trace tells which bytes it sent."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path


def main(plan):
    out = Path(plan["out"])
    results = [send(plan["apps"][exchange["app"]], exchange, out) for exchange in plan["exchanges"]]
    (out / "result.json").write_text(json.dumps(results))


def send(app, exchange, out):
    heads, trace, answer = out / "heads", out / "trace", out / exchange["file_name"]
    answer.write_bytes(b"")
    command = ["curl", "-q", "-sS", "--max-time", "60", "-o", answer, "-D", heads, *method(exchange)]
    for name, value in (exchange["headers"] | app["headers"]).items():
        command += ["-H", f"{name}: {value}"]
    command += body(exchange.get("body"), out)
    if "body" in exchange:
        command += ["--trace", trace]
    if exchange.get("follow"):
        command += ["-L"]
    subprocess.run([*command, app["base"] + exchange["path"]], check=True, timeout=90)
    if exchange["method"] == "HEAD":
        answer.write_bytes(b"")
    status, headers = last_head(heads.read_bytes().decode("latin-1"))
    return {"status": status, "headers": headers, "sent": sent(exchange, trace)}


def method(exchange):
    return ["--head"] if exchange["method"] == "HEAD" else ["-X", exchange["method"]]


def body(body, out):
    if body is None:
        return []
    if "json" in body:
        file = out / "json"
        file.write_text(json.dumps(body["json"]), encoding="utf-8")
        return ["-H", "Content-Type: application/json", "--data-binary", f"@{file}"]
    if "bytes" in body:
        return ["-H", "Content-Type: application/octet-stream", "--data-binary", f"@{body['bytes']}"]
    if "stream" in body:
        return ["-H", "Content-Type: application/octet-stream", "-H", "Transfer-Encoding: chunked",
                "-T", body["stream"]]
    return ["-F", f"file=@{body['multipart']};type={body['type']};filename={body['filename']}"]


def last_head(text):
    """Status and fields of the last head: 100 Continue and redirects come before it."""
    lines = text.strip().split("\r\n\r\n")[-1].split("\r\n")
    return int(lines[0].split(" ")[1]), [line.split(": ", 1) if ": " in line else [line.rstrip(":"), ""] for line in lines[1:]]


def sent(exchange, trace):
    if "stream" in exchange.get("body", {}):
        content = Path(exchange["body"]["stream"]).read_bytes()
        return {"length": len(content), "sha256": hashlib.sha256(content).hexdigest(), "content_type": None}
    head, content = traced(trace) if "body" in exchange else ("", b"")
    content_type = re.search(r"(?im)^content-type: (.*?)\r?$", head)
    return {
        "length": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "content_type": content_type and content_type[1],
    }


def traced(trace):
    """Head and body that curl wrote, out of its hexadecimal trace."""
    parts, current = {"header": bytearray(), "data": bytearray()}, None
    for line in trace.read_text("latin-1").splitlines():
        started = re.match(r"=> Send (header|data)", line)
        if started:
            current = parts[started[1]]
        elif not re.match(r"[0-9a-f]{4,}: ", line):
            current = None
        elif current is not None:
            current += bytes.fromhex(re.match(r"[0-9a-f]+: ((?:[0-9a-f]{2} ){1,16})", line)[1])
    return parts["header"].decode("latin-1"), bytes(parts["data"])


main(json.loads(Path(sys.argv[1]).read_text()))
