// The authorization server that sellers consent at, and an API that believes it alone. It is strict: PKCE is required of
// everybody, each refresh token is taken once, and one that is shown again ends the whole grant. Its addresses are those of
// a Keycloak realm below `/wallapop`, so that the preset which promises an issuer and a revocation endpoint meets it too.

import { EventEmitter } from "node:events";
import { createServer } from "node:https";
import { Provider } from "oidc-provider";
import { READER, RESOURCE, api, fingerprint } from "./api.mjs";
import { listen } from "../driver/door.mjs";
import { pages } from "./pages.mjs";

export const SHORT_LIFE = 4;
const LONG_LIFE = 600;
const REALM = "/wallapop/realms/wallapop-connect";

export const CLIENTS = {
  confidential: { id: "confidential", secret: "s3cr%t/+:&= ?", auth: "client_secret_basic" },
  public: { id: "public", auth: "none", kind: "native" },
  short: { id: "short-lived", secret: "short-lived-secret", auth: "client_secret_post" },
  realm: { id: "realm", secret: "realm-secret", auth: "client_secret_post", jwt: true },
};

/**
 * Starts both at one origin; `redirects` gives each client's redirect address. `calls` keeps what happened at the
 * authorization server, and tells each token call as an event named after its grant.
 */
export async function serveSellers({ key, cert, authority }, redirects) {
  const door = createServer({ key, cert });
  const origin = await listen(door);
  const issuer = `${origin}${REALM}`;
  const provider = authorizationServer(issuer, redirects);
  const calls = record(provider);
  const [oauth, asking, resource] = [provider.callback(), pages(provider), api(issuer, authority)];
  door.on("request", (req, res) => {
    if (req.url.startsWith("/interaction/")) return asking(req, res);
    if (!req.url.startsWith(`${REALM}/`)) return resource(req, res);
    // As a framework does that mounts it there.
    req.originalUrl = req.url;
    req.url = req.url.slice(REALM.length);
    oauth(req, res);
  });
  const close = () => {
    door.closeAllConnections();
    door.close();
  };
  return { origin, issuer, provider, calls, close };
}

function authorizationServer(issuer, redirects) {
  const endpoint = (name) => `/protocol/openid-connect/${name}`;
  const isJwt = (client) => Object.values(CLIENTS).some(({ id, jwt }) => jwt && id === client.clientId);
  return new Provider(issuer, {
    clients: [...Object.entries(CLIENTS).map(([name, client]) => registered(client, redirects[name])), reader()],
    scopes: ["openid", "offline_access", "products:read"],
    routes: { authorization: endpoint("auth"), token: endpoint("token"), revocation: endpoint("revoke") },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: {
      AccessToken: (_, token) => (token.clientId === CLIENTS.short.id ? SHORT_LIFE : LONG_LIFE),
      ...{ Grant: LONG_LIFE, IdToken: LONG_LIFE, Interaction: LONG_LIFE, RefreshToken: LONG_LIFE, Session: LONG_LIFE },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    cookies: { keys: ["of this test"] },
    features: {
      introspection: { enabled: true },
      revocation: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_, client) => (isJwt(client) ? RESOURCE : undefined),
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: "products:read", audience: RESOURCE, accessTokenFormat: "jwt" }),
      },
    },
  });
}

const registered = ({ id, secret, auth, kind }, redirect) => ({
  client_id: id,
  ...(secret && { client_secret: secret }),
  token_endpoint_auth_method: auth,
  application_type: kind ?? "web",
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  redirect_uris: [redirect],
});

const reader = () => ({
  client_id: READER.id,
  client_secret: READER.secret,
  token_endpoint_auth_method: READER.auth,
  grant_types: [],
  response_types: [],
  redirect_uris: [],
});

/** What happens at the authorization server. */
class Calls extends EventEmitter {
  /** How each consent was asked for: { client, method }, the method being PKCE's. */
  asked = [];
  /** Token calls: { client, grant, status, verified, shown, refresh, access, grantId }, tokens as fingerprints. */
  token = [];
  /** Grants that were ended, by a revocation or because a refresh token was shown again. */
  revoked = [];
}

function record(provider) {
  const calls = new Calls();
  const known = (token) => token && fingerprint(token);
  provider.use(async (ctx, next) => {
    await next();
    if (!ctx.oidc?.params) return;
    const { route, params, entities } = ctx.oidc;
    if (route === "authorization") calls.asked.push({ client: params.client_id, method: params.code_challenge_method });
    if (route !== "token") return;
    const call = {
      client: ctx.oidc.client?.clientId,
      grant: params.grant_type,
      status: ctx.status,
      verified: params.code_verifier !== undefined,
      shown: known(params.refresh_token),
      refresh: known(ctx.body?.refresh_token),
      access: known(ctx.body?.access_token),
      grantId: entities.Grant?.jti,
    };
    calls.token.push(call);
    if (call.grantId) calls.emit(call.grantId, call);
  });
  provider.on("grant.revoked", (_, id) => calls.revoked.push(id));
  return calls;
}
