// Every token call, in order, and what follows from them: which refresh tokens were lost, and whether that could be helped.

import { createHash } from "node:crypto";

/** By which a token is named in messages. */
export const fingerprint = (token) => createHash("sha256").update(token).digest("hex").slice(0, 8);

/**
 * An answer that was fully delivered longer than this before a kill must have been on the disk. Generous, since the test, the
 * server and Marketgate share few cores; an answer whose access token was already in use gets no such allowance.
 */
export const WINDOW_MS = 250;
/** A call may arrive so long after the one who made it was killed. */
const UNDERWAY_MS = 100;

export class Book {
  /** Token calls: { at, grant, shown, code, account, fault, status, access, refresh, error, answeredAt, deliveredAt }. */
  calls = [];
  /** Moments at which Marketgate was killed. */
  kills = [];
  /** When each access token was first seen at the API. */
  #used = new Map();
  /** Which account each refresh token belongs to. */
  #owners = new Map();

  constructor(now = () => performance.now()) {
    this.now = now;
  }

  /** A token call arrives with this form. */
  open(form) {
    const shown = form.get("refresh_token") ?? undefined;
    const call = { at: this.now(), grant: form.get("grant_type"), shown, account: shown && this.#owners.get(shown) };
    this.calls.push(call);
    return call;
  }

  /** The authorization server has answered it. */
  answered(call, { status, body }) {
    const said = parsed(body);
    Object.assign(call, { status, answeredAt: this.now(), access: said.access_token, expiresIn: said.expires_in });
    Object.assign(call, { error: said.error, description: said.error_description });
    if (status === 200) this.#bring(call, said.refresh_token ?? call.shown);
  }

  #bring(call, refresh) {
    call.refresh = refresh;
    if (call.account) this.#owners.set(refresh, call.account);
  }

  /** Its answer was handed to the network whole. */
  delivered(call) {
    call.deliveredAt = this.now();
  }

  /** The code that was exchanged last brought the first tokens of `account`. */
  name(account) {
    const call = this.calls.findLast(({ grant, status }) => grant === "authorization_code" && status === 200);
    call.account = account;
    this.#owners.set(call.refresh, account);
  }

  /** An access token arrived at the API. */
  used(access) {
    if (!this.#used.has(access)) this.#used.set(access, this.now());
  }

  killed() {
    this.kills.push(this.now());
  }

  refreshes(account, since = 0) {
    return this.calls.filter((call) => call.account === account && call.grant === "refresh_token" && call.at >= since);
  }

  /** The last answer with tokens that the server gave for `account`. */
  latest(account) {
    return this.calls.findLast((call) => call.account === account && call.status === 200);
  }

  /** Answers of the server that nobody may expect Marketgate to have kept. */
  excusable(call) {
    if (call.deliveredAt === undefined) return true;
    const mayBeLost = (kill) => kill >= call.at - UNDERWAY_MS && kill - call.deliveredAt < WINDOW_MS;
    const inUse = (kill) => this.#used.get(call.access) < kill;
    return this.kills.some((kill) => mayBeLost(kill) && !inUse(kill));
  }

  /** Refresh tokens that were shown again although the answer to the showing before should have been kept. */
  violations(since = 0) {
    const found = [];
    for (const [index, call] of this.calls.entries()) {
      if (!call.shown || call.at < since) continue;
      const before = this.calls.slice(0, index).find((it) => it.shown === call.shown && it.status === 200);
      if (before && before.refresh !== call.shown && !this.excusable(before)) found.push(this.#told(before, call));
    }
    return found;
  }

  /** Accounts for which the server's last answer may have been lost in a kill or on the way. */
  excused(since = 0) {
    const lost = this.calls.filter((call) => call.shown && call.status === 200 && call.at >= since && this.excusable(call));
    return new Set(lost.map(({ account }) => account));
  }

  /**
   * How long before a kill the last excusable answer for `account` had been delivered, in ms; negative where it was not yet, and
   * undefined where it was lost on the way.
   */
  lead(account, since = 0) {
    const call = this.refreshes(account, since).findLast((it) => it.status === 200 && this.excusable(it));
    const kill = call?.deliveredAt && this.kills.find((at) => at >= call.at - UNDERWAY_MS);
    return kill && kill - call.deliveredAt;
  }

  /**
   * Whether the newest access token of an account had ended when it was used at `at`, though it had just been delivered:
   * a server that repeats its answer may tell the same token as if it were new.
   */
  hadEnded({ account, at }) {
    const newest = this.refreshes(account).findLast((call) => call.deliveredAt <= at);
    const first = this.calls.find((call) => call.access && call.access === newest?.access);
    return first !== undefined && first !== newest && at - first.answeredAt > ((first.expiresIn ?? Infinity) - 1) * 1000;
  }

  /** How often, at most, one refresh token of `account` was answered in vain. */
  lossesInARow(account, since = 0) {
    const counts = new Map();
    for (const { shown, status } of this.refreshes(account, since)) {
      if (status === 200) counts.set(shown, (counts.get(shown) ?? 0) + 1);
    }
    return Math.max(0, ...counts.values());
  }

  /** What happened to an account, for a message: times in ms, tokens as fingerprints. */
  story(account, since = 0) {
    const known = (token) => token && fingerprint(token);
    const told = this.refreshes(account, since).map((call) =>
      JSON.stringify({ ...times(call), shown: known(call.shown), brought: known(call.refresh), access: known(call.access),
        used: this.#used.get(call.access)?.toFixed(0), status: call.status, error: call.error,
        description: call.description, fault: call.fault }));
    const kills = this.kills.filter((at) => at >= since).map((at) => at.toFixed(0));
    return [`${account}, killed at ${kills.join(" ")}:`, ...told].join("\n  ");
  }

  #told(before, call) {
    return `${call.account}: ${fingerprint(call.shown)} was shown again at ${call.at.toFixed(0)}, though its answer was ` +
      `delivered at ${before.deliveredAt.toFixed(0)}\n${this.story(call.account, before.at)}`;
  }
}

const times = ({ at, answeredAt, deliveredAt }) =>
  ({ at: at.toFixed(0), answered: answeredAt?.toFixed(0), delivered: deliveredAt?.toFixed(0) });

function parsed(body) {
  try {
    return JSON.parse(body.toString()) ?? {};
  } catch {
    return {};
  }
}
