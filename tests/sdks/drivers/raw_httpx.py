"""httpx alone: raw_httpx.py PLAN STYLE, where STYLE is `client`, `async`, `every`, `every-async`, `none` or `none-async`."""

import asyncio
import json
import sys
from pathlib import Path

import gate_httpx
import httpx

plan, style = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]


def arguments(one):
    return one["method"], one["url"], {
        "headers": one["headers"],
        "content": bytes.fromhex(one["body"]) or None,
        "auth": tuple(one["auth"]),
    }


def outcome(answer):
    return {"status": answer.status_code, "url": str(answer.url), "body": answer.text}


def mounts(transport):
    return {gate_httpx.origin(route[0]): transport(*route) for route in plan["routes"]}


def synchronous(**options):
    with httpx.Client(follow_redirects=True, **options) as client:
        for one in plan["requests"]:
            method, url, options = arguments(one)
            yield outcome(client.request(method, url, **options))


async def asynchronous(**options):
    async with httpx.AsyncClient(follow_redirects=True, **options) as client:
        outcomes = []
        for one in plan["requests"]:
            method, url, options = arguments(one)
            outcomes.append(outcome(await client.request(method, url, **options)))
        return outcomes


if style.startswith("every"):
    for route in plan["routes"]:
        gate_httpx.every_client(*route)
match style:
    case "client":
        outcomes = list(synchronous(mounts=mounts(gate_httpx.ToGate)))
    case "async":
        outcomes = asyncio.run(asynchronous(mounts=mounts(gate_httpx.AsyncToGate)))
    case "every" | "none":
        outcomes = list(synchronous())
    case _:
        outcomes = asyncio.run(asynchronous())
print(json.dumps(outcomes))
