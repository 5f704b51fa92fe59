// Spring Authorization Server, as Marketgate's tests start it.

import { freePorts } from "../driver/marketgate.mjs";
import { ServerProcess, call, formBy } from "../driver/process.mjs";
import { INVALID_TOKEN } from "../driver/resource.mjs";
import { ACCESS_LIFE, API_CLIENT, CLIENTS, IDLE_LIFE, SELLERS, password } from "../driver/world.mjs";

const JAR = process.env.SPRING_JAR;
const HOUR = 3600;

export const spring = () => async ({ origin, redirect }) => {
  const [port] = await freePorts(1);
  const properties = {
    "server.address": "127.0.0.1",
    "server.port": port,
    "server.forward-headers-strategy": "framework",
    "spring.main.banner-mode": "off",
    "logging.level.root": "warn",
    issuer: origin,
    redirect,
    sellers: SELLERS.join(","),
    "access.life": ACCESS_LIFE,
    ...Object.fromEntries(Object.keys(CLIENTS).map((name) => [`${name}.life`, name === "idle" ? IDLE_LIFE : HOUR])),
    ...credentials({ ...CLIENTS, api: API_CLIENT }),
  };
  const options = Object.entries(properties).map(([name, value]) => `--${name}=${value}`);
  const running = new ServerProcess("java", ["-XX:TieredStopAtLevel=1", "-Xmx384m", "-jar", JAR, ...options]);
  const base = `http://127.0.0.1:${port}`;
  await running.ready(`${base}/login`);
  return server({ port, base, running, origin });
};

const credentials = (clients) => Object.fromEntries(
  Object.entries(clients).flatMap(([name, { id, secret }]) => [[`${name}.id`, id], [`${name}.secret`, secret]]),
);

function server({ port, base, running, origin }) {
  const introspect = (token) => call(`${base}/oauth2/introspect`, formBy(API_CLIENT, { token }));
  const administer = (what) => call(`${base}/administration/${what}`, { method: "POST" });
  return {
    port,
    owns: (path) => /^\/(oauth2|login|userinfo|connect|\.well-known)\b/.test(path),
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
      authorize_url: `${origin}/oauth2/authorize`,
      token_url: `${origin}/oauth2/token`,
      revoke_url: `${origin}/oauth2/revoke`,
      userinfo_url: `${origin}/userinfo`,
      issuer: origin,
      scopes: ["openid", "items"],
      refresh_token_lifetime: name === "idle" ? `${IDLE_LIFE}s` : "60m",
    }),
    answers: (seller) => ({ username: seller, password: password(seller), scope: "items" }),
    traits: { repetition: "is refused", endsIdle: true },
    ends: { "consent revoked": (seller) => administer(`end?seller=${seller}`) },
    rotateSecret: (client) => administer(`secret?client=${client}`),
    close: () => running.stop(),
  };
}
