// `marketgate login` and what follows it against oidc-provider: PKCE, consent, rotation, revocation, identity.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { RESOURCE } from "./api.mjs";
import { certificates } from "../driver/certificates.mjs";
import { Gate } from "../driver/gate.mjs";
import { freePorts } from "../driver/marketgate.mjs";
import { decide } from "../driver/seller.mjs";
import { CLIENTS, SHORT_LIFE, serveSellers } from "./sellers.mjs";

const PATIENCE = 30_000;
const withBrowser = { skip: process.env.CHROMIUM ? false : "there is no chromium" };

let directory, tls, ca, servers, gate, browser, redirects;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "marketgate-login-"));
  tls = certificates(directory);
  ca = readFileSync(tls.authority);
  const [proxy, admin, callback] = await freePorts(3);
  // A listener of the login's own, and one that the running proxy has.
  const [here, proxied] = [callback, proxy].map((port) => `http://localhost:${port}/callback`);
  redirects = { confidential: here, public: proxied, short: here, realm: here };
  servers = await serveSellers(tls, redirects);
  gate = new Gate(directory, apps(), { proxy, admin, authority: tls.authority });
  await gate.start();
  // Debian's chromium as root, in a container or not, has no sandbox to use.
  const chromiumHere = { executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] };
  if (!withBrowser.skip) browser = await chromium.launch(chromiumHere);
});

after(async () => {
  await browser?.close();
  const code = await gate?.run?.stop();
  servers?.close();
  rmSync(directory, { recursive: true, force: true });
  assert.equal(code, 0, "exit code after SIGTERM");
});

function apps() {
  const endpoint = (name) => `${servers.issuer}/protocol/openid-connect/${name}`;
  const consenting = (name, more) => ({
    grant: "authorization_code",
    client_id: CLIENTS[name].id,
    ...(CLIENTS[name].secret && { client_secret: CLIENTS[name].secret }),
    // OpenID Connect Core section 11: offline access is granted only where a consent was asked for.
    authorize_url: `${endpoint("auth")}?prompt=consent`,
    scopes: ["openid", "offline_access", "products:read"],
    redirect_uri: redirects[name],
    ...more,
  });
  const generic = { api: `${servers.origin}/v2`, token_url: endpoint("token") };
  return {
    confidential: consenting("confidential", generic),
    careless: consenting("confidential", { ...generic, pkce: false }),
    public: consenting("public", { ...generic, pkce: true }),
    // oidc-provider counts in whole seconds: a token of four may live but three.
    short: consenting("short", { ...generic, client_auth: "body", refresh_at: 0.5 }),
    // The preset promises an issuer and revokes; here it finds an authorization server that nobody of us wrote.
    realm: consenting("realm", { provider: "wallapop", environment: "simulator", simulator: servers.origin }),
  };
}

/** A whole login by hand: the seller's answer is given, and the address at which it ends is pasted. */
async function paste(account, seller, { answer = "allow", altered = (url) => url, options = [] } = {}) {
  const { login, url } = await gate.login(account, "--no-browser", ...options);
  const callback = await decide(url, { seller, answer }, ca);
  login.types(altered(callback));
  const code = await login.ended();
  assertSecretive(login, callback);
  return { code, out: login.out, err: login.err, callback };
}

/** Neither the person's terminal nor the log shows a secret. */
function assertSecretive({ out, err }, callback) {
  const codes = new URL(callback).searchParams.getAll("code");
  const secrets = Object.values(CLIENTS).flatMap(({ secret }) => secret ?? []);
  for (const secret of [...codes, ...secrets]) {
    assert.ok(![out, err, gate.run.err].some((text) => text.includes(secret)), "a secret is shown");
  }
}

async function connect(account, seller, more) {
  const login = await paste(account, seller, more);
  assert.equal(login.code, 0, login.err);
  return login;
}

/** Exchanges of a code, in their order. */
const exchanges = ({ id }) => servers.calls.token.filter((call) => call.client === id && call.grant === "authorization_code");
/** Refreshes of one grant, in their order. */
const refreshes = (grantId) => servers.calls.token.filter((call) => call.grantId === grantId && call.grant === "refresh_token");

/** A request that must succeed, and whom its token stands for. */
async function subject(path) {
  const { status, body } = await gate.ask(path);
  assert.equal(status, 200, JSON.stringify(body));
  return body.claims.sub;
}

/** Chromium as the seller, up to the page that tells the outcome. */
async function click(url, seller, answer, title) {
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  await page.goto(url);
  await page.fill('[name="seller"]', seller);
  await page.click('button:text-is("Log in")');
  await page.click(`button:text-is("${answer}")`);
  await page.waitForSelector(`h1:text-is("${title}")`);
  assert.doesNotMatch(page.url(), /code=|state=|iss=|error/);
  const words = await page.textContent("main");
  await page.context().close();
  return words;
}

for (const [app, kind] of [["confidential", "with a secret, at the login itself"], ["public", "without one, at the proxy"]]) {
  test(`a seller who allows it in a browser is connected, for a client ${kind}`, withBrowser, async () => {
    const { login, url } = await gate.login(`${app}@clicked`);
    assert.match(await click(url, "alice", "Allow", "Connected"), new RegExp(`${app}@clicked is connected`));
    assert.equal(await login.ended(), 0, login.err);
    assert.match(login.out, new RegExp(`^${app}@clicked is connected`));
    assert.equal(await subject(`/${app}@clicked/items`), "alice");
  });
}

test("a seller who denies it in a browser ends the login with 4", withBrowser, async () => {
  const { login, url } = await gate.login("confidential@denied");
  assert.match(await click(url, "alice", "Deny", "Not connected"), /The seller did not consent/);
  assert.equal(await login.ended(), 4, login.err);
  assert.equal(login.out, "");
  assert.match(login.err, /^error: the seller did not consent \(access_denied: the seller said no\)$/m);
  assert.match(login.err, /help: start again: `marketgate login confidential@denied`/);
});

for (const app of ["confidential", "public"]) {
  test(`a pasted address connects a ${app} client, and the code is bound by S256`, async () => {
    const { callback } = await connect(`${app}@pasted`, "bob");
    assert.ok(callback.startsWith(`${redirects[app]}?`), callback);
    assert.equal(new URL(callback).searchParams.get("iss"), servers.issuer);
    const asked = servers.calls.asked.filter(({ client }) => client === CLIENTS[app].id);
    assert.ok(asked.length > 0 && asked.every(({ method }) => method === "S256"), JSON.stringify(asked));
    assert.ok(exchanges(CLIENTS[app]).every(({ verified }) => verified));
    const { status, body } = await gate.ask(`/${app}@pasted/items`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual([body.claims.sub, body.claims.client_id], ["bob", CLIENTS[app].id]);
    assert.equal(body.claims.scope, "openid offline_access products:read");
  });
}

test("a pasted refusal ends the login with 4", async () => {
  const login = await paste("confidential@refused", "bob", { answer: "deny" });
  assert.equal(login.code, 4, login.err);
  assert.match(login.err, /the seller did not consent \(access_denied: the seller said no\)/);
});

test("a login without PKCE is turned away by a server that requires it, and its words are shown", async () => {
  const { login, url } = await gate.login("careless@shop", "--no-browser");
  login.types(await decide(url, { seller: "bob", answer: "allow" }, ca));
  assert.equal(await login.ended(), 4, login.err);
  assert.match(login.err, /the marketplace refused the consent \(invalid_request: .*PKCE/);
});

test("an answer from another issuer, or from nobody, is not used where the issuer is known", async () => {
  const before = exchanges(CLIENTS.realm).length;
  const said = (iss) => (url) => {
    const callback = new URL(url);
    if (iss) callback.searchParams.set("iss", iss);
    else callback.searchParams.delete("iss");
    return callback.href;
  };
  const other = await paste("realm@mixed-up", "alice", { altered: said("https://other.example.com") });
  assert.equal(other.code, 1, other.err);
  assert.match(other.err, new RegExp(`comes from somebody else than ${servers.issuer}, and was not used`));
  const nobody = await paste("realm@mixed-up", "alice", { altered: said(undefined) });
  assert.equal(nobody.code, 1, nobody.err);
  assert.match(nobody.err, new RegExp(`does not say that it comes from ${servers.issuer}, and was not used`));
  assert.equal(exchanges(CLIENTS.realm).length, before, "a code was shown");
});

test("refresh tokens rotate under traffic and over a kill -9, each is shown once, and no request fails", async () => {
  await connect("short@rotating", "carol");
  const granted = exchanges(CLIENTS.short).at(-1);
  const seconds = 10;
  const statuses = await traffic("/short@rotating/items", seconds);
  assert.deepEqual([...statuses.keys()], [200], `statuses: ${JSON.stringify([...statuses])}`);
  const count = refreshes(granted.grantId).length;
  assert.ok(count >= Math.floor(seconds / SHORT_LIFE), `${count} refreshes are too few`);
  assert.ok(count <= 1 + seconds / (SHORT_LIFE / 2), `${count} refreshes are too many`);

  const last = await busyUntilRefreshed("/short@rotating/items", granted.grantId);
  // The token is new, so no refresh is under way.
  assert.equal(await gate.run.stop("SIGKILL"), null);
  await gate.start();
  const next = await busyUntilRefreshed("/short@rotating/items", granted.grantId);
  assert.equal(next.shown, last.refresh, "the store kept what the last refresh brought");

  const rotated = refreshes(granted.grantId);
  assert.ok(rotated.every(({ status }) => status === 200), JSON.stringify(rotated));
  const brought = [granted, ...rotated].map(({ refresh }) => refresh).slice(0, -1);
  assert.deepEqual(rotated.map(({ shown }) => shown), brought, "each shows what the one before it brought");
  assert.equal(new Set(brought).size, brought.length);
  assert.deepEqual(servers.calls.revoked, []);
});

/** Three callers for so long: how often each status came. */
async function traffic(path, seconds) {
  const statuses = new Map();
  const end = performance.now() + seconds * 1000;
  const caller = async () => {
    while (performance.now() < end) {
      const { status } = await gate.ask(path);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all([caller(), caller(), caller()]);
  return statuses;
}

/** Asks until the grant was refreshed and the new token was used, and holds every answer to 200: the refresh. */
async function busyUntilRefreshed(path, grantId) {
  let refresh, used;
  servers.calls.once(grantId, (call) => (refresh = call));
  const limit = AbortSignal.timeout(PATIENCE);
  while (!refresh || used !== refresh.access) {
    limit.throwIfAborted();
    const { status, body } = await gate.ask(path);
    assert.equal(status, 200, JSON.stringify(body));
    used = body.token;
  }
  return refresh;
}

test("a grant that the server ended needs a login, and a login mends it", async () => {
  await connect("short@ended", "erin");
  assert.equal(await subject("/short@ended/items"), "erin");
  const { grantId } = exchanges(CLIENTS.short).at(-1);
  await (await servers.provider.Grant.find(grantId)).destroy();
  const refreshed = await gate.say("accounts", "refresh", "short@ended");
  assert.match(refreshed.out + refreshed.err, /login_required \(revoked\)/);
  // What is left of the access token is used first, and the API takes it no more.
  let refused = await gate.ask("/short@ended/items");
  for (const limit = AbortSignal.timeout(PATIENCE); refused.status === 401; limit.throwIfAborted()) {
    refused = await gate.ask("/short@ended/items");
  }
  assert.equal(refused.status, 503, JSON.stringify(refused.body));
  assert.equal(refused.body.code, "login_required");
  assert.match(refused.body.action, /`marketgate login short@ended`/);
  assert.equal(refused.headers.get("retry-after"), null);
  await connect("short@ended", "erin");
  assert.equal(await subject("/short@ended/items"), "erin");
});

test("an account that is connected belongs to its seller, unless it is to change hands", async () => {
  const { out } = await connect("realm@shop", "alice");
  assert.match(out, /^realm@shop is connected, to alice$/m);
  assert.match(out, /\/items\/limits answered 200/);
  const { body } = await gate.ask("/realm@shop/items");
  assert.deepEqual([body.claims.sub, body.claims.aud], ["alice", RESOURCE]);
  const other = await paste("realm@shop", "bob");
  assert.equal(other.code, 1, other.out);
  assert.match(other.err, /realm@shop belongs to alice, and the marketplace named bob: nothing was changed/);
  assert.match(other.err, /--replace-identity/);
  assert.equal(await subject("/realm@shop/items"), "alice");
  await connect("realm@shop", "bob", { options: ["--replace-identity"] });
  assert.equal(await subject("/realm@shop/items"), "bob");
});

test("a logout has the server revoke the grant, and forgets it", async () => {
  await connect("realm@leaving", "frank");
  const { grantId } = exchanges(CLIENTS.realm).at(-1);
  const { code, out, err } = await gate.say("logout", "realm@leaving");
  assert.equal(code, 0, err);
  assert.match(out, /realm@leaving is logged out, and the marketplace has revoked its grant/);
  assert.deepEqual(servers.calls.revoked, [grantId]);
  assert.equal(await servers.provider.Grant.find(grantId), undefined);
  const { status, body } = await gate.ask("/realm@leaving/items");
  assert.deepEqual([status, body.code], [503, "login_required"]);
});

test("a logout says so where the server has no way to revoke that is known", async () => {
  await connect("confidential@leaving", "frank");
  const { code, out, err } = await gate.say("logout", "confidential@leaving");
  assert.equal(code, 0, err);
  assert.match(out, /logged out here; the marketplace did not revoke its grant: no address for it is configured/);
});
