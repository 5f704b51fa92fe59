// django-oauth-toolkit, as Marketgate's tests start it.

import { join } from "node:path";
import { freePorts } from "../driver/marketgate.mjs";
import { ServerProcess, call, formBy } from "../driver/process.mjs";
import { ACCESS_LIFE, API_CLIENT, CLIENTS, IDLE_LIFE, SELLERS, password } from "../driver/world.mjs";

const PYTHON = process.env.DJANGO_PYTHON;
const SCRIPT = join(import.meta.dirname, "server.py");

/** What DOT's own `ProtectedResourceView` says of a token that is not valid. */
const FORBIDDEN = { status: 403, headers: { "content-type": "text/html; charset=utf-8" }, body: "" };

/**
 * Starts it; `grace` is how many seconds a refresh token may be shown again after its first use, `protection` whether its family
 * ends when that happens later.
 */
export const django = ({ grace, protection }) => async ({ directory, origin, redirect }) => {
  const [port] = await freePorts(1);
  const consenting = Object.values(CLIENTS).map((client) => ({ ...client, grant: "authorization-code", redirect }));
  const wanted = {
    port,
    origin,
    database: join(directory, "django.sqlite3"),
    sellers: SELLERS,
    clients: [...consenting, { ...API_CLIENT, grant: "client-credentials" }],
    oauth: {
      ACCESS_TOKEN_EXPIRE_SECONDS: ACCESS_LIFE,
      // Counted from the end of the access token.
      REFRESH_TOKEN_EXPIRE_SECONDS: IDLE_LIFE - ACCESS_LIFE,
      ROTATE_REFRESH_TOKEN: true,
      REFRESH_TOKEN_REUSE_PROTECTION: protection,
      REFRESH_TOKEN_GRACE_PERIOD_SECONDS: grace,
    },
  };
  const running = new ServerProcess(PYTHON, [SCRIPT, JSON.stringify(wanted)]);
  const base = `http://127.0.0.1:${port}`;
  await running.ready(`${base}/login/`);
  return server({ port, base, running, origin, grace });
};

function server({ port, base, running, origin, grace }) {
  const introspect = (token) => call(`${base}/o/introspect/`, formBy(API_CLIENT, { token }));
  const administer = (what) => call(`${base}/administration/${what}`, { method: "POST" });
  const end = (seller) => administer(`end?seller=${seller}`);
  return {
    port,
    owns: (path) => /^\/(o|login)\//.test(path),
    tokenPath: "/o/token/",
    judge: async (token) => {
      const { active, username } = await introspect(token);
      return active ? username : undefined;
    },
    isLive: async (token) => {
      if ((await introspect(token)).active) return true;
      const body = new URLSearchParams({ token });
      return (await call(`${base}/administration/live`, { method: "POST", body })).live;
    },
    refusal: FORBIDDEN,
    app: () => ({
      grant: "authorization_code",
      api: `${origin}/v2`,
      authorize_url: `${origin}/o/authorize/`,
      token_url: `${origin}/o/token/`,
      revoke_url: `${origin}/o/revoke_token/`,
      scopes: ["items"],
      expired_when: [{ status: 403 }],
      refresh_token_lifetime: `${IDLE_LIFE}s`,
      reuse_window: `${grace}s`,
    }),
    answers: (seller) => ({ username: seller, password: password(seller), allow: "Authorize" }),
    traits: {
      repetition: grace > 0 ? "is forgiven" : "is refused",
      endsIdle: true,
      forgives: () => grace > 0,
    },
    ends: { "consent revoked": end },
    rotateSecret: async (client) => (await administer(`secret?client=${client}`)).secret,
    close: () => running.stop(),
  };
}
