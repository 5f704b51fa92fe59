// One authorization server, the recorder before it, an API behind it, and Marketgate between its callers and all of them.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { Book } from "./book.mjs";
import { certificates } from "./certificates.mjs";
import { Gate } from "./gate.mjs";
import { freePorts } from "./marketgate.mjs";
import { Recorder } from "./recorder.mjs";
import { resource } from "./resource.mjs";
import { CHROMIUM_FLAGS, browse, decide } from "./seller.mjs";

/** Seconds that an access token lives. */
export const ACCESS_LIFE = 12;
/** Seconds that a refresh token of the client `idle` lives. */
export const IDLE_LIFE = 60;

/** The clients registered at the authorization server, each an app of the configuration by the same name. */
export const CLIENTS = {
  shop: { id: "marketgate-shop", secret: "shop-secret-1" },
  rotated: { id: "marketgate-rotated", secret: "rotated-secret-1" },
  idle: { id: "marketgate-idle", secret: "idle-secret-1" },
};
/** The API, as a client of the authorization server that may ask about tokens. */
export const API_CLIENT = { id: "marketgate-api", secret: "api-secret-1" };

const sellers = (count) => Array.from({ length: count }, (_, index) => `s${String(index + 1).padStart(2, "0")}`);

/** The accounts of each app; every account is named after its seller. */
export const ACCOUNTS = sellers(20).map((seller) => `shop@${seller}`);
/** One that is left alone to heal. */
export const HEALING = "shop@h1";
export const ROTATED = "rotated@r1";
export const IDLE = ["idle@i1", "idle@i2"];
/** Everybody whom the authorization server must know. */
export const SELLERS = [...ACCOUNTS, HEALING, ROTATED, ...IDLE].map((account) => account.split("@")[1]);
export const password = (seller) => `pass word of ${seller}`;

export class World {
  /**
   * `launch({ directory, origin, redirect })` starts an authorization server that knows `CLIENTS`, `API_CLIENT` and `SELLERS`, and
   * whose browsers and clients reach it at `origin`. It returns
   * - `port` or `portOf(path)`, `owns(path)`, `tokenPath`: where it listens, which paths are its own, and its token endpoint;
   * - `app(name)`: the keys of the app in Marketgate's configuration;
   * - `answers(seller)`: what the seller fills in and presses at its pages;
   * - `judge(token)`: whom an access token names, or undefined; `isLive(token)`: whether a token of either kind is good;
   *   `refusal`: how its APIs refuse a token;
   * - `ends`: by name, what an administrator can do to a seller; `rotateSecret(clientId)`, where it can;
   * - `traits`: `repetition` of a refresh token "is refused", "ends the session" or "is forgiven"; `endsIdle`, if refresh tokens
   *   end while idle; `forgives(book, account, since)`, if a loss should have been healed;
   * - `close()`.
   */
  static async open(launch) {
    const world = new World();
    try {
      await world.#open(launch);
    } catch (error) {
      await world.close().catch(() => {});
      throw error;
    }
    return world;
  }

  async #open(launch) {
    this.directory = mkdtempSync(join(tmpdir(), "marketgate-servers-"));
    const tls = certificates(this.directory);
    this.ca = readFileSync(tls.authority);
    this.book = new Book();
    this.recorder = new Recorder(tls, this.book);
    const origin = await this.recorder.listen();
    const [proxy, admin] = await freePorts(2);
    const redirect = `http://localhost:${proxy}/callback`;
    this.server = await launch({ directory: this.directory, origin, redirect });
    this.api = resource((token) => this.server.judge(token), this.server.refusal, this.book);
    this.recorder.serve(this.server, this.api.listener);
    this.gate = new Gate(this.directory, this.#apps(redirect), { proxy, admin, authority: tls.authority });
    await this.gate.start();
    if (process.env.CHROMIUM) {
      this.browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: CHROMIUM_FLAGS });
    }
  }

  #apps(redirect) {
    const app = (name) => {
      this.writeSecret(name, CLIENTS[name].secret);
      const client = { client_id: CLIENTS[name].id, client_secret: { file: secretFile(name) }, redirect_uri: redirect };
      return [name, { ...client, ...this.server.app(name) }];
    };
    return Object.fromEntries(Object.keys(CLIENTS).map(app));
  }

  /** Where the configuration of an app finds the client's secret. */
  writeSecret(name, secret) {
    writeFileSync(join(this.directory, secretFile(name)), secret);
  }

  async close() {
    await this.browser?.close();
    const code = await this.gate?.run?.stop();
    await this.server?.close();
    this.recorder?.close();
    rmSync(this.directory, { recursive: true, force: true });
    return code;
  }

  /** A whole login, at the server's own pages. */
  async logIn(account, { inBrowser = false } = {}) {
    const { login, url } = await this.gate.login(account, "--no-browser");
    const answers = this.server.answers(account.split("@")[1]);
    if (inBrowser) await browse(this.browser, url, answers, "Connected");
    else login.types(await decide(url, answers, this.ca));
    const code = await login.ended();
    assert.equal(code, 0, `login ${account}: ${login.out}${login.err}`);
    this.book.name(account);
    return login;
  }

  /** Those of `accounts` that earlier tests left without a grant are connected again. */
  async connected(accounts) {
    for (const account of accounts) {
      const { status } = await this.gate.ask(`/${account}/items`);
      if (status !== 200) await this.logIn(account);
    }
  }

  /** A request that must be answered, by the token of its own seller. */
  async served(account) {
    const { status, body } = await this.gate.ask(`/${account}/items`);
    assert.equal(status, 200, `${account}: ${JSON.stringify(body)}\n${this.book.story(account)}`);
    assert.equal(body.who, account.split("@")[1], "another seller's token");
  }

  /** Requests of `account` that reached the API since `moment`; a token that names nobody is known by the book. */
  arrivals(account, moment) {
    const tokens = new Set(this.book.calls.filter((call) => call.account === account).map(({ access }) => access));
    return this.api.seen.filter(({ at, token }) => at >= moment && tokens.has(token));
  }

  /** When the API first refused this access token, if it has. */
  refusedAt(access) {
    return this.api.seen.find(({ token, who }) => token === access && !who)?.at;
  }
}

const secretFile = (name) => `${name}.secret`;

/** Repeats `attempt` until it returns something, every `pause` ms, for `limit` ms; undefined then. */
export async function eventually(attempt, limit, pause = 50) {
  for (const end = performance.now() + limit; performance.now() < end; ) {
    const found = await attempt();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return undefined;
}
