// No page reaches a marketplace through the gate, whatever it makes Chromium send. The same pages try the API itself first,
// which shows that the vectors work and that the API counts.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { api, foreign, relay } from "./foreign.mjs";
import { Program, command, freePorts } from "./marketgate.mjs";
import { LED_VECTORS, PAGE_VECTORS } from "./vectors.mjs";

const API_KEY = "key-of-the-marketplace-51";
const CALLER_KEY = "mgk_key-of-the-caller-8c";

/** How many of the vectors Chromium must be seen to send where nobody stops them, so that their silence means something. */
const FEWEST = 65;

let directory, market, site, browser;
const gates = {};

/** A gate before the API, with more of `[proxy]` and what follows it, and a relay before the gate. */
async function gate(name, proxy, more) {
  const [port, admin] = await freePorts(2);
  const folder = join(directory, name);
  mkdirSync(folder);
  const text = `[proxy]
listen = "127.0.0.1:${port}"
${proxy}
[admin]
listen = "127.0.0.1:${admin}"
${more}
[apps.any]
provider = "generic"
grant = "static"
api = "http://127.0.0.1:${market.port}"
api_key = "${API_KEY}"
`;
  writeFileSync(join(folder, "proxy.toml"), text);
  const run = new Program(folder, ["run"]);
  const ready = await command(folder, "wait", "--timeout", "20s");
  if (ready.code !== 0) throw new Error(ready.stderr + run.err);
  return { run, folder, admin, relay: await relay(port) };
}

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "marketgate-pages-"));
  [market, site] = [await api(API_KEY), await foreign()];
  gates.open = await gate("open", "", "");
  gates.keyed = await gate("keyed", 'allowed_hosts = ["gate.test", "app.localhost"]', `[callers.sync]\nkey = "${CALLER_KEY}"`);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      "--no-sandbox",
      // A few processes for all frames and windows: what is sent is the same.
      "--disable-site-isolation-trials",
      "--renderer-process-limit=4",
      "--disable-popup-blocking",
      "--autoplay-policy=no-user-gesture-required",
      "--host-resolver-rules=MAP *.test 127.0.0.1, MAP *.localhost 127.0.0.1, MAP localhost. 127.0.0.1",
      // Newer Chromium asks the user before a page reaches the machine itself; others do not.
      "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights",
    ],
  });
});

after(async () => {
  await browser?.close();
  const codes = [];
  for (const { run, relay } of Object.values(gates)) {
    codes.push(await run.stop());
    await relay.close();
  }
  await site?.close();
  await market?.close();
  rmSync(directory, { recursive: true, force: true });
  assert.deepEqual(codes, [0, 0], "exit codes after SIGTERM");
});

/** In how many browser profiles the vectors are tried at once: in one alone they would wait for each other's connections. */
const PARTS = 4;

/** Opens pages of the foreign site, at that name of it, which try all vectors at the target. */
async function attack(name, target, opened) {
  const parts = Array.from({ length: PARTS }, (_, part) => NAMES.filter((_, i) => i % PARTS === part));
  const contexts = parts.map(async (part) => {
    const context = await browser.newContext();
    const query = [["target", target], ...part.map((vector) => ["vector", vector])];
    const address = `http://${name}:${site.port}/?${new URLSearchParams(query)}`;
    await (await context.newPage()).goto(address, { waitUntil: "commit" });
    return context;
  });
  const open = await Promise.all(contexts);
  const result = await opened();
  await Promise.all(open.map((context) => context.close()));
  return result;
}

/** Goes where no page has led: each address leads on to the target. */
async function lead(kind, target) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const to = encodeURIComponent(`${target}led-${kind}`);
  await page.goto(`http://evil.test:${site.port}/lead/${kind}?url=${to}`, { waitUntil: "commit" }).catch(() => {});
  return context;
}

const NAMES = Object.keys(PAGE_VECTORS);
// These open connections at most, or are for browsers that are not here.
const SILENT = ["dns-prefetch", "preconnect", "prerender"];

/** One site whose pages are no secure context, and one whose pages are. */
const BOTH = ["evil.test", "localhost"];

/** The vectors that reach an address where nothing stops them, by the name of the site that tries. */
const works = {};

for (const name of BOTH) {
  test(`a page at ${name} reaches an API that is not behind the gate, by nearly every vector`, async () => {
    const target = `http://localhost:${market.port}/${name}/`;
    market.direct.seen.clear();
    const missing = await attack(name, target, () => market.direct.all(NAMES.filter((vector) => !SILENT.includes(vector))));
    works[name] = NAMES.filter((vector) => market.direct.seen.has(vector));
    console.log(`${works[name].length} of ${NAMES.length} vectors work from ${name}; not: ${missing.join(", ")}`);
    assert.ok(works[name].length >= FEWEST, `only ${works[name].length}`);
  });
}

/** Gates, the names they are called by, and the sites that try it there. */
const TARGETS = [
  ["open", "localhost", BOTH],
  ["open", "127.0.0.1", ["evil.test"]],
  ["open", "localhost.", ["evil.test"]],
  ["open", "gate.test", ["evil.test"]],
  ["open", "app.localhost", ["evil.test"]],
  ["keyed", "gate.test", ["evil.test"]],
  ["keyed", "other.test", ["localhost"]],
];

for (const [which, host, sites] of TARGETS) {
  const refusals = which === "open" ? [403] : [401, 403];
  test(`no page reaches the API through the ${which} gate by the name ${host}`, async () => {
    const { answers, port } = gates[which].relay;
    const target = `http://${host}:${port}/any/`;
    for (const name of sites) {
      answers.seen.clear();
      await attack(name, target, () => answers.all(works[name]));
      const tried = works[name].filter((vector) => answers.seen.has(vector));
      assert.ok(tried.length >= FEWEST - 10, `from ${name} only ${tried.length} were tried: not ${answers.missing(works[name])}`);
      const heard = [...answers.seen].filter(([, statuses]) => statuses.some((status) => !refusals.includes(status)));
      assert.deepEqual(heard, [], `from ${name}`);
    }
    const kinds = which === "open" && host === "localhost" ? LED_VECTORS : ["302", "307", "auto-post"];
    for (const kind of kinds) {
      const context = await lead(kind, target);
      assert.deepEqual(await answers.all([`led-${kind}`]), []);
      await context.close();
      assert.ok(answers.seen.get(`led-${kind}`).every((status) => refusals.includes(status)), `led by ${kind}`);
    }
    assert.deepEqual([...market.through.seen.keys()], [], "reached the API");
  });
}

test("a person who types the address of the proxy is refused, and told what to do", async () => {
  const page = await browser.newPage();
  const answer = await page.goto(`http://localhost:${gates.open.relay.port}/any/typed`);
  assert.equal(answer.status(), 403);
  assert.equal((await answer.json()).code, "browser_refused");
  assert.deepEqual([...market.through.seen.keys()], []);
  await page.close();
});

test("the admin door's metrics and health open in a browser, but at no name that may be anybody's", async () => {
  const page = await browser.newPage();
  const status = async (host, path) => {
    const url = `http://${host}:${gates.open.admin}${path}`;
    const answer = page.waitForResponse(url);
    // What is no page is offered for download.
    await page.goto(url).catch((error) => assert.match(String(error), /Download is starting/));
    return (await answer).status();
  };
  assert.equal(await status("localhost", "/metrics"), 200);
  assert.equal(await status("127.0.0.1", "/readyz"), 200);
  assert.equal(await status("rebound.test", "/livez"), 200);
  assert.equal(await status("rebound.test", "/metrics"), 403);
  assert.equal(await status("localhost", "/api/accounts"), 403);
  await page.close();
});

test("names without callers' keys are a mistake in the configuration", async () => {
  const folder = join(directory, "mistaken");
  mkdirSync(folder);
  writeFileSync(join(folder, "proxy.toml"), `[proxy]\nallowed_hosts = ["gate.test"]\n[apps.any]\nprovider = "generic"\ngrant = "static"\napi = "http://127.0.0.1:1"\napi_key = "k"\n`);
  const { code, stderr } = await command(folder, "check");
  assert.equal(code, 3);
  assert.match(stderr, /allowed_hosts.*\n?[^]*\[callers\.NAME\]/);
});

test("what a program sends is counted, at either gate", async () => {
  const ask = (which, name, headers) => fetch(`http://127.0.0.1:${gates[which].relay.port}/any/${name}`, { headers });
  assert.equal((await ask("open", "a-program", {})).status, 200);
  assert.equal((await ask("keyed", "a-caller", { "marketgate-key": CALLER_KEY })).status, 200);
  assert.deepEqual([...market.through.seen.keys()], ["a-program", "a-caller"]);
});
