// Ory Hydra, as Marketgate's tests start it: opaque access tokens, no grace for a refresh token that was used, and an SQLite
// file. In memory it answers concurrent calls with "table is locked": good tokens are then called inactive, and refresh tokens
// that it has rotated already are answered with 500.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../driver/marketgate.mjs";
import { ServerProcess, call } from "../driver/process.mjs";
import { plainServer } from "../driver/recorder.mjs";
import { INVALID_TOKEN } from "../driver/resource.mjs";
import { ACCESS_LIFE, CLIENTS, IDLE_LIFE } from "../driver/world.mjs";
import { pages } from "./consent.mjs";

export const hydra = () => async ({ origin, redirect }) => {
  const [port, adminPort] = await freePorts(2);
  const directory = mkdtempSync(join(tmpdir(), "hydra-"));
  const DSN = `sqlite://${directory}/hydra.sqlite?_fk=true&_journal_mode=WAL&_busy_timeout=10000`;
  execFileSync(process.env.HYDRA, ["migrate", "sql", "-e", "--yes"], { env: { ...process.env, DSN }, stdio: "ignore" });
  const running = new ServerProcess(process.env.HYDRA, ["serve", "all", "--dev"], {
    env: {
      ...process.env,
      DSN,
      SECRETS_SYSTEM: "a secret of this test",
      ...{ SERVE_PUBLIC_HOST: "127.0.0.1", SERVE_PUBLIC_PORT: String(port) },
      ...{ SERVE_ADMIN_HOST: "127.0.0.1", SERVE_ADMIN_PORT: String(adminPort) },
      ...{ URLS_SELF_ISSUER: origin, URLS_LOGIN: `${origin}/login`, URLS_CONSENT: `${origin}/consent` },
      TTL_ACCESS_TOKEN: `${ACCESS_LIFE}s`,
      OAUTH2_PKCE_ENFORCED: "true",
      LOG_LEVEL: "error",
      // Without it `--dev` asks for SameSite=None without Secure, which Chromium refuses.
      SERVE_COOKIES_SAME_SITE_MODE: "Lax",
      SQA_OPT_OUT: "true",
    },
  });
  const admin = `http://127.0.0.1:${adminPort}/admin`;
  const administer = (method, path, body) => call(`${admin}${path}`, {
    method, headers: body && { "content-type": "application/json" }, body: body && JSON.stringify(body),
  });
  await running.ready(`http://127.0.0.1:${adminPort}/health/ready`);
  for (const [name, client] of Object.entries(CLIENTS)) await administer("POST", "/clients", registered(name, client, redirect));
  const asking = await plainServer(pages(administer));
  return server({ port, asking, running, admin, administer, origin, directory });
};

function server({ port, asking, running, admin, administer, origin, directory }) {
  const introspect = (token) => call(`${admin}/oauth2/introspect`, { method: "POST", body: new URLSearchParams({ token }) });
  return {
    portOf: (path) => (/^\/(login|consent)$/.test(path) ? asking.port : port),
    owns: (path) => !path.startsWith("/v2/"),
    tokenPath: "/oauth2/token",
    judge: async (token) => {
      const { active, sub } = await introspect(token);
      return active ? sub : undefined;
    },
    isLive: async (token) => (await introspect(token)).active,
    refusal: INVALID_TOKEN,
    app: (name) => ({
      grant: "authorization_code",
      api: `${origin}/v2`,
      authorize_url: `${origin}/oauth2/auth`,
      token_url: `${origin}/oauth2/token`,
      revoke_url: `${origin}/oauth2/revoke`,
      issuer: origin,
      scopes: ["openid", "offline_access"],
      // A refresh token that is shown twice ends the chain and its access tokens.
      reuse_window: "0s",
      refresh_token_lifetime: name === "idle" ? `${IDLE_LIFE}s` : "60m",
    }),
    answers: (seller) => ({ seller, answer: "allow" }),
    traits: { repetition: "ends the session", endsIdle: true },
    ends: { "consent revoked": (seller) => administer("DELETE", `/oauth2/auth/sessions/consent?all=true&subject=${seller}`) },
    rotateSecret: async (client) => {
      const secret = "another-secret-2";
      await administer("PATCH", `/clients/${client}`, [{ op: "replace", path: "/client_secret", value: secret }]);
      return secret;
    },
    close: async () => {
      asking.close();
      await running.stop();
      rmSync(directory, { recursive: true });
    },
  };
}

/** A client; the refresh tokens of `idle` end soon. */
function registered(name, { id, secret }, redirect) {
  const life = `${name === "idle" ? IDLE_LIFE : 3600}s`;
  return {
    client_id: id,
    client_secret: secret,
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    scope: "openid offline_access",
    redirect_uris: [redirect],
    authorization_code_grant_refresh_token_lifespan: life,
    refresh_token_grant_refresh_token_lifespan: life,
  };
}
