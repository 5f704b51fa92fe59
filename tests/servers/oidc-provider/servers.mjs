// The authorization server for client credentials, and an API that believes it alone. The one rule: what it granted and
// refused is counted here, so that a test need not believe Marketgate.

import { createSecureServer } from "node:http2";
import { createServer } from "node:https";
import { Provider } from "oidc-provider";
import { READER, RESOURCE, api as apiOf } from "./api.mjs";
import { listen } from "../driver/door.mjs";

export { RESOURCE };
export const SHORT_LIFE = 4;
export const LONG_LIFE = 600;

// Characters that RFC 6749 section 2.3.1 wants encoded before they go into HTTP Basic.
export const CLIENTS = {
  basic: { id: "shop 42:eu/basic+1", secret: "s3cr%t/+:&= ?", auth: "client_secret_basic" },
  body: { id: "shop 42:eu/body+1", secret: "s3cr%t/+:&= ?", auth: "client_secret_post" },
  short: { id: "short-lived", secret: "short-lived-secret", auth: "client_secret_basic" },
  jwt: { id: "jwt", secret: "jwt-secret", auth: "client_secret_basic", scope: "products:read" },
};

/** Starts both on ports of their own: `issuer`, `api`, the counts of token calls, and `close`. */
export async function serve({ key, cert, authority }) {
  const door = createServer({ key, cert });
  const issuer = await listen(door);
  const { provider, calls } = authorizationServer(issuer);
  door.on("request", provider.callback());
  const resource = createSecureServer({ key, cert, allowHTTP1: true }, apiOf(issuer, authority));
  const api = await listen(resource);
  const close = () => {
    door.closeAllConnections();
    door.close();
    resource.close();
  };
  return { issuer, api, calls, close };
}

function authorizationServer(issuer) {
  const registered = ({ id, secret, auth, scope }) => ({
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: auth,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    ...(scope && { scope }),
  });
  const provider = new Provider(issuer, {
    clients: [...Object.values(CLIENTS), READER].map(registered),
    scopes: ["products:read", "products:write"],
    ttl: { ClientCredentials: (_, token) => (token.clientId === CLIENTS.short.id ? SHORT_LIFE : LONG_LIFE) },
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({ scope: "products:read", audience: RESOURCE, accessTokenFormat: "jwt" }),
      },
    },
  });
  const calls = { granted: new Map(), refused: [] };
  const count = (ctx) => {
    const id = ctx.oidc.client.clientId;
    if (ctx.oidc.route === "token") calls.granted.set(id, (calls.granted.get(id) ?? 0) + 1);
  };
  provider.on("grant.success", count);
  provider.on("grant.error", (_, error) => calls.refused.push(error.message));
  return { provider, calls };
}
