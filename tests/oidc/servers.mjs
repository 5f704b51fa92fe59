// The authorization server, and an API that believes nobody but it. The one rule: every token is judged by what
// oidc-provider says over HTTP, introspection (RFC 7662) for opaque tokens and its keys for JWTs.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import { createServer, request } from "node:https";
import { createLocalJWKSet, jwtVerify } from "jose";
import { Provider } from "oidc-provider";

export const SHORT_LIFE = 4;
export const LONG_LIFE = 600;
export const RESOURCE = "https://api.example.com/v2";

// Characters that RFC 6749 section 2.3.1 wants encoded before they go into HTTP Basic.
export const CLIENTS = {
  basic: { id: "shop 42:eu/basic+1", secret: "s3cr%t/+:&= ?", auth: "client_secret_basic" },
  body: { id: "shop 42:eu/body+1", secret: "s3cr%t/+:&= ?", auth: "client_secret_post" },
  short: { id: "short-lived", secret: "short-lived-secret", auth: "client_secret_basic" },
  jwt: { id: "jwt", secret: "jwt-secret", auth: "client_secret_basic", scope: "products:read" },
};
const READER = { id: "api", secret: "api-secret", auth: "client_secret_basic" };

/** Starts both on ports of their own: `issuer`, `api`, the counts of token calls, and `close`. */
export async function serve({ key, cert, authority }) {
  const door = createServer({ key, cert });
  const issuer = await listen(door);
  const { provider, calls } = authorizationServer(issuer);
  door.on("request", provider.callback());
  const ask = asker(readFileSync(authority));
  const resource = createSecureServer({ key, cert, allowHTTP1: true }, (req, res) => {
    answer(issuer, ask, req, res).catch((error) => res.writeHead(500).end(JSON.stringify({ error: String(error) })));
  });
  const api = await listen(resource);
  const close = () => {
    door.closeAllConnections();
    door.close();
    resource.close();
  };
  return { issuer, api, calls, close };
}

async function listen(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `https://localhost:${server.address().port}`;
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

/** The API: who the token says is calling, or 401. */
async function answer(issuer, ask, req, res) {
  const token = /^Bearer (\S+)$/.exec(req.headers.authorization ?? "")?.[1];
  const judge = token?.split(".").length === 3 ? verified : introspected;
  const claims = token && (await judge(issuer, ask, token));
  const status = claims ? 200 : 401;
  res.writeHead(status, { "content-type": "application/json" });
  const echo = { path: req.url, version: req.httpVersion, headers: { ...req.headers, authorization: undefined } };
  res.end(JSON.stringify(claims ? { ...echo, claims } : { error: "invalid_token" }));
}

async function introspected(issuer, ask, token) {
  const basic = Buffer.from(`${READER.id}:${READER.secret}`).toString("base64");
  const headers = { authorization: `Basic ${basic}`, "content-type": "application/x-www-form-urlencoded" };
  const claims = await ask(`${issuer}/token/introspection`, { method: "POST", headers }, new URLSearchParams({ token }));
  return claims.active ? claims : undefined;
}

async function verified(issuer, ask, token) {
  const keys = createLocalJWKSet(await ask(`${issuer}/jwks`));
  const { payload } = await jwtVerify(token, keys, { issuer, audience: RESOURCE });
  return payload;
}

/** One JSON call that trusts the test's own authority. */
function asker(ca) {
  return async (url, options = {}, body = "") => {
    const req = request(url, { ...options, ca });
    req.end(body.toString());
    const [res] = await once(req, "response");
    let text = "";
    for await (const piece of res.setEncoding("utf8")) text += piece;
    if (res.statusCode !== 200) throw new Error(`${url}: ${res.statusCode} ${text}`);
    return JSON.parse(text);
  };
}
