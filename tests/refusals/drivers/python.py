"""python python.py requests|httpx|aiohttp|curl < cases > outcomes; a line of JSON each."""

import asyncio
import json
import subprocess
import sys

PIECE = b"x" * 65536


def pieces(size):
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


def body_of(case):
    if case["size"] == 0:
        return None
    return pieces(case["size"]) if case["chunked"] else b"x" * case["size"]


def with_requests():
    import requests

    session = requests.Session()
    session.trust_env = False

    def send(case):
        answer = session.request(case["method"], case["url"], headers=case["headers"], data=body_of(case),
                                 allow_redirects=False, timeout=60)
        return answer.status_code, answer.text

    return send


def with_httpx():
    import httpx

    client = httpx.Client(trust_env=False, timeout=60)

    def send(case):
        answer = client.request(case["method"], case["url"], headers=case["headers"], content=body_of(case))
        return answer.status_code, answer.text

    return send


def with_aiohttp():
    import aiohttp

    loop = asyncio.new_event_loop()

    async def make():
        return aiohttp.ClientSession()

    session = loop.run_until_complete(make())

    async def stream(size):
        for piece in pieces(size):
            yield piece

    async def ask(case):
        data = body_of(case)
        if case["chunked"] and case["size"]:
            data = stream(case["size"])
        async with session.request(case["method"], case["url"], headers=case["headers"], data=data) as answer:
            return answer.status, await answer.text()

    return lambda case: loop.run_until_complete(ask(case))


def with_curl():
    def send(case):
        command = ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--request", case["method"],
                   "--write-out", "\n%{http_code}", case["url"]]
        for name, value in case["headers"].items():
            command += ["--header", f"{name}: {value}"]
        if case["size"]:
            command += ["--data-binary", "@-"]
        if case["chunked"]:
            command += ["--header", "Transfer-Encoding: chunked"]
        done = subprocess.run(command, input=b"x" * case["size"], capture_output=True)
        if done.returncode:
            raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr.decode()}")
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), body

    return send


def main():
    send = {"requests": with_requests, "httpx": with_httpx, "aiohttp": with_aiohttp, "curl": with_curl}[sys.argv[1]]()
    for line in sys.stdin:
        try:
            status, body = send(json.loads(line))
            outcome = {"status": status, "code": json.loads(body)["code"]}
        except Exception as error:  # Whatever a client raises is its outcome.
            outcome = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(outcome), flush=True)


main()
