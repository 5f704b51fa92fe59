"""requests alone: raw_requests.py PLAN STYLE, where STYLE is `session`, `every` or `none`."""

import json
import sys
from pathlib import Path

import gate_requests
import requests

plan, style = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
if style == "every":
    for route in plan["routes"]:
        gate_requests.every_session(*route)
session = requests.Session()
if style == "session":
    for route in plan["routes"]:
        gate_requests.through_gate(session, *route)
outcomes = []
for one in plan["requests"]:
    body = bytes.fromhex(one["body"]) or None
    answer = session.request(one["method"], one["url"], headers=one["headers"], data=body, auth=tuple(one["auth"]))
    outcomes.append({"status": answer.status_code, "url": answer.url, "body": answer.text})
print(json.dumps(outcomes))
