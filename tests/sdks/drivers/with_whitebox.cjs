// @whitebox-co/walmart-marketplace-api, set up as on the page: orders, and an acknowledgement.
const { orders } = require("./use_whitebox.cjs");

(async () => {
  const api = await orders();
  const page = await api.getAllOrders({ limit: "2" });
  const found = page.data.list.elements.order.map((order) => order.purchaseOrderId);
  const acknowledged = await api.acknowledgeOrders({ purchaseOrderId: found[1] });
  console.log(JSON.stringify({ orders: found, changed: acknowledged.data.order.purchaseOrderId }));
})();
