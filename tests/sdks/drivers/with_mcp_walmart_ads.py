"""mcp-walmart-ads, started as on the page and spoken to as an MCP client does: orders, an acknowledgement, and a feed."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

CREDENTIAL = {"client_id": "any", "client_secret": "any", "advertisers": [{"id": 1}]}
CONFIGURATION = {
    "platforms": {"walmart:marketplace": {"regions": {"us": {"production": {"credentials": [CREDENTIAL]}}}}},
    "spec_refresh": {"auto": False, "interval": 7},
    "truncate_threshold": 1_000_000,
}
ORDERS = "walmart:marketplace:order-management"


async def main():
    home = Path("home").absolute()
    folder = home / ".config/mcp-walmart-ads"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIGURATION))
    program = StdioServerParameters(
        command=sys.executable, args=["-B", "use_mcp_walmart_ads.py"], env={**os.environ, "HOME": str(home)}
    )
    async with stdio_client(program) as streams, ClientSession(*streams) as session:
        await session.initialize()
        print(json.dumps(await outcome(session)))


async def outcome(session):
    page = await call(session, operation_id=f"{ORDERS}:getAllOrders", params={"limit": "2"})
    found = [order["purchaseOrderId"] for order in page["list"]["elements"]["order"]]
    acknowledged = await call(
        session, operation_id=f"{ORDERS}:acknowledgeOrders", path_params={"purchaseOrderId": found[1]}
    )
    feed = await call(
        session, api=ORDERS, method="POST", path="/v3/feeds", params={"feedType": "inventory"}, file_path=__file__
    )
    return {
        "orders": found,
        "changed": acknowledged["order"]["purchaseOrderId"],
        "received": feed["additionalAttributes"]["file"]["sha256"],
        "sent": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
    }


async def call(session, **arguments):
    """The body of the answer to one call."""
    common = {"region": "us", "environment": "production", "advertiser_id": 1}
    result = (await session.call_tool("call_endpoint", {**common, **arguments})).structured_content
    if result.get("status_code") != 200:
        sys.exit(f"{arguments}: {result}")
    return result["body"]


asyncio.run(main())
