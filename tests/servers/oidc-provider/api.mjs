// An API that believes nobody but one authorization server. The one rule: every token is judged by what oidc-provider says
// over HTTP, introspection (RFC 7662) for opaque tokens and its keys for JWTs.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { createLocalJWKSet, jwtVerify } from "jose";

export const RESOURCE = "https://api.example.com/v2";
/** The API itself, as a client of the authorization server. */
export const READER = { id: "api", secret: "api-secret", auth: "client_secret_basic" };

/** By which a token is known where the token itself has no business. */
export const fingerprint = (token) => createHash("sha256").update(token).digest("hex").slice(0, 8);

/** The API's request listener; `authority` is the file of the certificate authority that vouches for `issuer`. */
export function api(issuer, authority) {
  const ask = asker(readFileSync(authority));
  return (req, res) => {
    answer(issuer, ask, req, res).catch((error) => res.writeHead(500).end(JSON.stringify({ error: String(error) })));
  };
}

/** Who the token says is calling, or 401. */
async function answer(issuer, ask, req, res) {
  const token = /^Bearer (\S+)$/.exec(req.headers.authorization ?? "")?.[1];
  const judge = token?.split(".").length === 3 ? verified : introspected;
  const claims = token && (await judge(issuer, ask, token));
  const status = claims ? 200 : 401;
  res.writeHead(status, { "content-type": "application/json" });
  const echo = { path: req.url, version: req.httpVersion, headers: { ...req.headers, authorization: undefined } };
  const told = claims ? { ...echo, claims, token: fingerprint(token) } : { error: "invalid_token" };
  res.end(JSON.stringify(told));
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
