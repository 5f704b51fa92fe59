"""python-walmart, set up as on the page: the orders it listed, and a shipment."""

import json

from use_python_walmart import orders, shop

# The SDK marks all it sends as a form, JSON too.
del shop.session.headers["Content-Type"]
found = [order["purchaseOrderId"] for order in orders["list"]["elements"]["order"]]
line = {"line_number": "1", "quantity": 1, "carrier": "USPS", "tracking_number": "1Z"}
shipped = shop.orders.create_shipment(found[0], [line])
print(json.dumps({"token": shop.token, "orders": found, "changed": shipped["order"]["purchaseOrderId"]}))
