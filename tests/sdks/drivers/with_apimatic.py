"""walmart-solutions-apimatic-sdk, set up as on the page: orders, and a feed."""

import hashlib
import inspect
import json
from pathlib import Path

from inventorymanagementanditemmanagementandordermanagementandpricemanagement.utilities.file_wrapper import FileWrapper
from use_apimatic import shop

HEADERS = {
    "wm_sec_access_token": "a token of the SDK",
    "wm_consumer_channel_type": None,
    "wm_qos_correlation_id": "2d0b8f3e-7f5c-4b6e-9d55-6c2a4d1c9a10",
    "wm_svc_name": "Walmart Marketplace",
    "accept": "application/json",
}


def every_parameter(call, **given):
    """The SDK's calls have no defaults: what is not given is None."""
    return call(**{name: given.get(name) for name in inspect.signature(call).parameters})


page = every_parameter(shop.orders.allorders, limit="2", **HEADERS)
with open(__file__, "rb") as file:
    feed = every_parameter(
        shop.feeds.bulk_item_inventory_update, feed_type="inventory", file=FileWrapper(file, "text/plain"), **HEADERS
    )
print(
    json.dumps(
        {
            "orders": [order.purchase_order_id for order in page.list.elements.order],
            "received": feed.additional_attributes["file"]["sha256"],
            "sent": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        }
    )
)
