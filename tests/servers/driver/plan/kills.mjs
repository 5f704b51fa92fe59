// `kill -9` at random moments, again and again: what the server's answers brought is there in the next life.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { strangers, tally, underLoad } from "../load.mjs";
import { ACCESS_LIFE, ACCOUNTS, eventually } from "../world.mjs";

const KILLS = 20;
/** Every so many of them falls into a refresh, which a random moment seldom does. */
const AIMED = 4;

export function kills(name, world) {
  test(`${name}: ${KILLS} times kill -9 under load lose no grant that could have been kept`, async (t) => {
    await world().connected(ACCOUNTS);
    const { book, gate } = world();
    const since = performance.now();
    const answers = await underLoad(gate, ACCOUNTS, async (sofar) => {
      for (let count = 0; count < KILLS; count += 1) {
        await (count % AIMED === 0 ? nearARefresh(world(), sofar) : delay(200 + Math.random() * 1300));
        book.killed();
        await gate.kill();
        await gate.start();
      }
      await allComeOut(world());
    });

    assert.deepEqual(strangers(answers), []);
    assert.deepEqual(book.violations(since), []);
    const lost = await losses(world(), since);
    const leads = lost.map(({ account }) => book.lead(account, since)?.toFixed(0) ?? "on the way");
    t.diagnostic(`${JSON.stringify(tally(answers))}; refreshes ${book.calls.filter(({ at }) => at >= since).length}, ` +
      `answers that a kill may have lost ${book.excused(since).size}, ` +
      `grants lost ${lost.length}, their answers delivered so many ms before the kill: ${leads.join(" ")}`);
    // No connection is answered while there is no process; a token may end in that time; and an account whose grant is lost is
    // refused.
    const names = new Set(lost.map(({ account }) => account));
    const expected = ({ status, body }) => [0, 200].includes(status) || body.code === "token_unavailable";
    const odd = answers.filter((answer) => !expected(answer) && !names.has(answer.account) && !book.hadEnded(answer));
    assert.deepEqual(tally(odd), {}, odd.slice(0, 3).map(({ account, at, body }) =>
      `${at.toFixed(0)} ${JSON.stringify(body)}\n${book.story(account, since)}`).join("\n"));
  });
}

/** Every account is refreshed at least once more, so that whatever was lost comes out. */
async function allComeOut({ book, gate }) {
  const last = book.kills.at(-1);
  const isOut = async (account) => book.refreshes(account, last).some(({ answeredAt }) => answeredAt)
    || (await gate.account(account)).state === "login_required";
  await eventually(async () => (await Promise.all(ACCOUNTS.map(isOut))).every(Boolean), ACCESS_LIFE * 2500, 500);
  await delay(1000);
}

/** The accounts that need a login now: each must be excused, and say why. */
async function losses(world, since) {
  const excused = world.book.excused(since);
  const lost = [];
  for (const account of ACCOUNTS) {
    const { state, reason } = await world.gate.account(account);
    if (state === "ready" || state === "refreshing") {
      await world.served(account);
      continue;
    }
    const story = `${state} (${reason})\n${world.book.story(account, since)}`;
    assert.ok(excused.has(account), `lost outside any window: ${story}`);
    assert.deepEqual([state, reason], ["login_required", "rotation_response_lost"], story);
    assert.ok(!world.server.traits.forgives?.(world.book, account, since), `the server would have forgiven it: ${story}`);
    lost.push({ account, reason });
  }
  return lost;
}

/** Just after a refresh arrives at the server, while it is worked on, answered or stored. */
async function nearARefresh({ recorder, gate }, answers) {
  await once(recorder, "call", { signal: AbortSignal.timeout(ACCESS_LIFE * 2000) }).catch(() => {
    throw new Error(`nothing is refreshed: ${JSON.stringify(tally(answers))} ${JSON.stringify(answers.slice(-3))}\n${gate.run.err}`);
  });
  await delay(Math.random() * 80);
}

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
