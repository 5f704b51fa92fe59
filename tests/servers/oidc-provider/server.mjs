// oidc-provider for the common plan: it runs within the test, at a plain port behind the recorder.

import { Provider } from "oidc-provider";
import { call, formBy } from "../driver/process.mjs";
import { plainServer } from "../driver/recorder.mjs";
import { INVALID_TOKEN } from "../driver/resource.mjs";
import { ACCESS_LIFE, API_CLIENT, CLIENTS, IDLE_LIFE } from "../driver/world.mjs";
import { pages } from "./pages.mjs";

const LONG_LIFE = 3600;

export const oidcProvider = () => async ({ origin, redirect }) => {
  /** The grant of each seller, and who may not act at all. */
  const [grants, disabled] = [new Map(), new Set()];
  const provider = authorizationServer(origin, redirect, disabled);
  provider.on("grant.success", ({ oidc: { entities } }) => {
    if (entities.Grant) grants.set(entities.Grant.accountId, entities.Grant);
  });
  const [oauth, asking] = [provider.callback(), pages(provider)];
  const { port, close } = await plainServer((req, res) =>
    req.url.startsWith("/interaction/") ? asking(req, res) : oauth(req, res));
  const base = `http://127.0.0.1:${port}`;
  const introspect = (token) => call(`${base}/token/introspection`, formBy(API_CLIENT, { token }));
  return {
    port,
    owns: (path) => !path.startsWith("/v2/"),
    tokenPath: "/token",
    judge: async (token) => {
      const reply = await fetch(`${base}/me`, { headers: { authorization: `Bearer ${token}` } });
      return reply.status === 200 ? (await reply.json()).sub : void (await reply.text());
    },
    isLive: async (token) => (await introspect(token)).active,
    refusal: INVALID_TOKEN,
    app: (name) => ({
      grant: "authorization_code",
      api: `${origin}/v2`,
      authorize_url: `${origin}/auth`,
      // OpenID Connect Core section 11: offline access is granted only where a consent was asked for.
      authorize_params: { prompt: "consent" },
      token_url: `${origin}/token`,
      revoke_url: `${origin}/token/revocation`,
      userinfo_url: `${origin}/me`,
      issuer: origin,
      scopes: ["openid", "offline_access"],
      // A refresh token that is shown twice ends the grant and its access tokens.
      reuse_window: "0s",
      refresh_token_lifetime: name === "idle" ? `${IDLE_LIFE}s` : "60m",
    }),
    answers: (seller) => ({ seller, answer: "allow" }),
    traits: { repetition: "ends the session", endsIdle: true },
    ends: {
      "consent revoked": (seller) => grants.get(seller).destroy(),
      "user disabled": (seller) => disabled.add(seller),
      "user enabled": (seller) => disabled.delete(seller),
    },
    close,
  };
};

function authorizationServer(origin, redirect, disabled) {
  const provider = new Provider(origin, {
    clients: [...Object.values(CLIENTS).map((client) => consenting(client, redirect)), reader()],
    scopes: ["openid", "offline_access"],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: {
      AccessToken: ACCESS_LIFE,
      RefreshToken: (_, token) => (token.clientId === CLIENTS.idle.id ? IDLE_LIFE : LONG_LIFE),
      ...{ Grant: LONG_LIFE, IdToken: LONG_LIFE, Interaction: LONG_LIFE, Session: LONG_LIFE },
    },
    findAccount: (_, id) => (disabled.has(id) ? undefined : { accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    cookies: { keys: ["of this test"] },
    features: { introspection: { enabled: true }, revocation: { enabled: true }, devInteractions: { enabled: false } },
  });
  provider.proxy = true;
  return provider;
}

const consenting = ({ id, secret }, redirect) => ({
  client_id: id,
  client_secret: secret,
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  redirect_uris: [redirect],
});

const reader = () => ({
  client_id: API_CLIENT.id, client_secret: API_CLIENT.secret, grant_types: [], response_types: [], redirect_uris: [],
});
