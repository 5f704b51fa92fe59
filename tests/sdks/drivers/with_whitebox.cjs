// @whitebox-co/walmart-marketplace-api, set up as on the page: orders and an acknowledgement, then what fetches a token.
const { acknowledge, list } = require("./use_whitebox.cjs");
const { default: walmart, AuthenticationApi, OrdersApi, defaultParams } = require("@whitebox-co/walmart-marketplace-api");

const numbers = (answer) => answer.data.list.elements.order.map((order) => order.purchaseOrderId);

(async () => {
  const orders = numbers(await list());
  const acknowledged = await acknowledge(orders[1]);
  const parameters = { ...defaultParams, authorization: "Basic YW55OmFueQ==", grantType: "client_credentials" };
  const token = await new AuthenticationApi().tokenAPI(parameters);
  const configured = await walmart.getConfiguredApi(OrdersApi, { clientId: "any", clientSecret: "any" });
  const again = numbers(await configured.getAllOrders({ limit: "2" }));
  const changed = acknowledged.data.order.purchaseOrderId;
  console.log(JSON.stringify({ token: token.data.access_token, orders, again, changed }));
})();
