// Keycloak, as Marketgate's tests start it: at a plain port, below `/wallapop`, with an embedded database of its own.

import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../driver/marketgate.mjs";
import { ServerProcess, call, formBy } from "../driver/process.mjs";
import { INVALID_TOKEN } from "../driver/resource.mjs";
import { API_CLIENT, CLIENTS, password } from "../driver/world.mjs";
import { REALM, realm } from "./realm.mjs";

const HOME = process.env.KEYCLOAK_HOME;
const ADMIN = { username: "admin", password: "admin-password" };

/** The name of the database's file, without its ending. */
export const DATABASE = "keycloak";

/** Starts it with a realm that lets a refresh token be shown again `reuse` times. */
export const keycloak = ({ reuse }) => async ({ directory, origin, redirect }) => {
  copyFileSync(process.env.KEYCLOAK_DATABASE, join(directory, `${DATABASE}.mv.db`));
  const { port, base, running } = await startKeycloak({ directory, origin });
  try {
    const admin = administrator(base);
    await admin("POST", "", realm({ redirect, reuse }));
    return server({ port, base, running, admin, origin, reuse });
  } catch (error) {
    await running.stop();
    throw error;
  }
};

/** A process with its database in `directory`, which the world reaches at `origin`: { port, base, running }. */
export async function startKeycloak({ directory, origin }) {
  const [port] = await freePorts(1);
  const base = `http://127.0.0.1:${port}/wallapop`;
  const running = new ServerProcess(join(HOME, "bin", "kc.sh"), [
    "start", "--optimized", "--cache=local", "--http-enabled=true", "--http-host=127.0.0.1", `--http-port=${port}`,
    `--hostname=${origin}/wallapop`, "--proxy-headers=xforwarded", "--log-level=warn",
    `--db-url=jdbc:h2:file:${join(directory, DATABASE)};NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=0`,
  ], {
    env: { ...process.env, KC_BOOTSTRAP_ADMIN_USERNAME: ADMIN.username, KC_BOOTSTRAP_ADMIN_PASSWORD: ADMIN.password,
      JAVA_OPTS_KC_HEAP: "-Xms256m -Xmx768m", JAVA_OPTS_APPEND: "-XX:TieredStopAtLevel=1" },
  });
  await running.ready(`${base}/realms/master`);
  return { port, base, running };
}

function server({ port, base, running, admin, origin, reuse }) {
  const endpoint = `/wallapop/realms/${REALM}/protocol/openid-connect`;
  const introspect = (token) =>
    call(`${base}/realms/${REALM}/protocol/openid-connect/token/introspect`, formBy(API_CLIENT, { token }));
  return {
    port,
    owns: (path) => /^\/wallapop\/(realms|resources|js)\//.test(path),
    tokenPath: `${endpoint}/token`,
    judge: async (token) => {
      const { active, username } = await introspect(token);
      return active ? username : undefined;
    },
    isLive: async (token) => (await introspect(token)).active,
    refusal: INVALID_TOKEN,
    // The preset as it is, but for the budget: tokens that live for seconds need more calls than those of 300 s.
    app: () => ({ provider: "wallapop", environment: "simulator", simulator: origin, token_budget: "3000/1m" }),
    answers: (seller) => ({ username: seller, password: password(seller), accept: "Yes" }),
    traits: {
      repetition: reuse > 0 ? "is forgiven" : "ends the session",
      endsIdle: true,
      forgives: (book, account, since) => reuse > 0 && book.lossesInARow(account, since) <= reuse,
    },
    ends: ends(admin),
    rotateSecret: async (clientId) => {
      const [{ id }] = await admin("GET", `/${REALM}/clients?clientId=${clientId}`);
      return (await admin("POST", `/${REALM}/clients/${id}/client-secret`)).value;
    },
    close: () => running.stop(),
  };
}

/** What an administrator can do to a seller's grant. */
function ends(admin) {
  const user = async (seller) => (await admin("GET", `/${REALM}/users?exact=true&username=${seller}`))[0].id;
  const setEnabled = (enabled) => async (seller) => admin("PUT", `/${REALM}/users/${await user(seller)}`, { enabled });
  return {
    "session ended": async (seller) => {
      for (const { id } of await admin("GET", `/${REALM}/users/${await user(seller)}/sessions`)) {
        await admin("DELETE", `/${REALM}/sessions/${id}`);
      }
    },
    "consent revoked": async (seller) =>
      admin("DELETE", `/${REALM}/users/${await user(seller)}/consents/${CLIENTS.shop.id}`),
    "user disabled": setEnabled(false),
    "user enabled": setEnabled(true),
  };
}

/** The admin API, with a token that lives for a minute got anew for every call. */
const administrator = (base) => async (method, path, body) => {
  const form = { grant_type: "password", client_id: "admin-cli", ...ADMIN };
  const { access_token: token } = await call(`${base}/realms/master/protocol/openid-connect/token`, {
    method: "POST", body: new URLSearchParams(form),
  });
  const headers = { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) };
  return await call(`${base}/admin/realms${path}`, { method, headers, body: body && JSON.stringify(body) });
};
