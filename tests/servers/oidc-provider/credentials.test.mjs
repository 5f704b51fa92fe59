// Client credentials against oidc-provider, over TLS that only `upstream.ca_file` makes trustworthy.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { certificates } from "../driver/certificates.mjs";
import { command, configuration, run } from "../driver/marketgate.mjs";
import { CLIENTS, RESOURCE, SHORT_LIFE, serve } from "./servers.mjs";

let directory, tls, servers, gate;

const app = (client, more = {}) => ({
  client_id: client.id,
  client_secret: client.secret,
  client_auth: client.auth === "client_secret_post" ? "body" : "basic",
  api: `${servers.api}/v2`,
  token_url: `${servers.issuer}/token`,
  scopes: ["products:read", "products:write"],
  ...more,
});

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "marketgate-oidc-"));
  tls = certificates(directory);
  servers = await serve(tls);
  const apps = {
    basic: app(CLIENTS.basic),
    body: app(CLIENTS.body),
    jwt: app(CLIENTS.jwt, { scopes: ["products:read"], token_request_params: { resource: RESOURCE } }),
    // oidc-provider counts in whole seconds: a token of four may live but three.
    short: app(CLIENTS.short, { refresh_at: 0.5 }),
  };
  gate = await run(directory, apps, tls.authority);
});

after(async () => {
  const code = await gate?.stop();
  servers?.close();
  rmSync(directory, { recursive: true, force: true });
  assert.equal(code, 0, "exit code after SIGTERM");
});

const ask = async (path) => {
  const reply = await fetch(`${gate.url}${path}`);
  return { status: reply.status, body: await reply.json() };
};

for (const name of ["basic", "body"]) {
  test(`a client that authenticates by ${CLIENTS[name].auth} reaches the API`, async () => {
    const { status, body } = await ask(`/${name}/items/?q=a+b%2Bc`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.path, "/v2/items/?q=a+b%2Bc");
    assert.equal(body.claims.client_id, CLIENTS[name].id);
    assert.equal(body.claims.scope, "products:read products:write");
    assert.equal(servers.calls.granted.get(CLIENTS[name].id), 1);
  });
}

test("the API is spoken to in HTTP/2, which it offers", async () => {
  assert.equal((await ask("/basic/items")).body.version, "2.0");
});

test("a parameter of the token call brings a JWT for the resource it names", async () => {
  const { status, body } = await ask("/jwt/items");
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.claims.aud, RESOURCE);
  assert.equal(body.claims.client_id, CLIENTS.jwt.id);
});

test("a token of four seconds is renewed under traffic and no request fails", async () => {
  const statuses = new Map();
  const seconds = 10;
  const end = performance.now() + seconds * 1000;
  const caller = async () => {
    while (performance.now() < end) {
      const { status } = await ask("/short/items");
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all([caller(), caller(), caller()]);
  assert.deepEqual([...statuses.keys()], [200], `statuses: ${JSON.stringify([...statuses])}`);
  assert.ok(statuses.get(200) > 50, `only ${statuses.get(200)} requests`);
  const granted = servers.calls.granted.get(CLIENTS.short.id);
  // Each must be renewed before it ends, and none within half its life.
  assert.ok(granted >= 1 + Math.floor(seconds / SHORT_LIFE), `${granted} tokens are too few`);
  assert.ok(granted <= 2 + seconds / (SHORT_LIFE / 2), `${granted} tokens are too many`);
});

test("a healthy configuration passes the online check", async () => {
  const text = configuration({ basic: app(CLIENTS.basic) }, { authority: tls.authority });
  const { code, stderr } = await command(directory, text, "check", "--online");
  assert.equal(code, 0, stderr);
});

test("the online check says that the client's credentials are wrong", async () => {
  for (const name of ["basic", "body"]) {
    const wrong = app({ ...CLIENTS[name], secret: "another-secret" });
    const text = configuration({ [name]: wrong }, { authority: tls.authority });
    const { code, stderr } = await command(directory, text, "check", "--online");
    assert.equal(code, 1, stderr);
    assert.match(stderr, /invalid_client/);
    assert.match(stderr, /client_id and client_secret/);
    assert.doesNotMatch(stderr, /another-secret/);
  }
});

test("the online check says that a scope is not allowed", async () => {
  const text = configuration({ jwt: app(CLIENTS.jwt, { scopes: ["products:write"] }) }, { authority: tls.authority });
  const { code, stderr } = await command(directory, text, "check", "--online");
  assert.equal(code, 1, stderr);
  assert.match(stderr, /invalid_scope/);
  assert.match(stderr, /scopes/);
});

test("without the authority's file the online check names the key that would help", async () => {
  const { code, stderr } = await command(directory, configuration({ basic: app(CLIENTS.basic) }), "check", "--online");
  assert.equal(code, 5, stderr);
  assert.match(stderr, /certificate/i);
  assert.match(stderr, /upstream\.ca_file/);
});
