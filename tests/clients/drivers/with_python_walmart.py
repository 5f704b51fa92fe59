"""`python-walmart`, a client of Walmart Marketplace that fetches its token itself: with_python_walmart.py PLAN.

It also leaves its Basic credentials on every request, beside the token. Only its base URL is another one.
"""

import json
import sys

from walmart import Walmart


def main(plan):
    client = type("Client", (Walmart,), {"base_url": property(lambda _: plan["base"], lambda _, vendors: None)})
    shop = client(plan["client_id"], plan["client_secret"])
    answers = {
        "items": shop.items.all(limit=3),
        "one item": shop.items.get(plan["sku"]),
        "inventory": shop.inventory.all(sku=plan["sku"]),
        "orders": shop.orders.all(limit=2),
        "orders that are none": shop.orders.all(purchaseOrderId="0"),
    }
    json.dump({"token": shop.token, "expires_in": shop.token_expires_in, "answers": answers}, sys.stdout)


with open(sys.argv[1]) as plan:
    main(json.load(plan))
