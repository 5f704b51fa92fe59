// The server has worked on a refresh, and its answer is lost on the way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fingerprint } from "../book.mjs";
import { tally, underLoad } from "../load.mjs";
import { FAULTS } from "../recorder.mjs";
import { ACCESS_LIFE, ACCOUNTS, eventually } from "../world.mjs";

export function lostAnswer(name, world) {
  test(`${name}: after a lost answer the refresh token is shown again only when it can do no harm`, async (t) => {
    const account = ACCOUNTS[7];
    await world().connected([account]);
    await world().gate.say("accounts", "refresh", account);
    await world().served(account);
    const before = world().book.latest(account);
    const lost = await losing(world(), account, before.refresh);
    const answers = await underLoad(world().gate, [account], () => settled(world(), account, before));
    t.diagnostic(`${JSON.stringify(tally(answers))}\n${world().book.story(account, before.at)}`);

    const shown = world().book.calls.filter(({ shown: token }) => token === before.refresh);
    const { traits } = world().server;
    const ends = before.answeredAt + (before.expiresIn ?? ACCESS_LIFE) * 1000;
    if (traits.repetition === "ends the session") {
      // Some servers end it with the refresh; then no more is to be had of it.
      const refusedAt = world().refusedAt(before.access) ?? Infinity;
      const good = Math.min(ends, refusedAt);
      const early = shown.find(({ at }) => at > lost.at && at < good - (good === ends ? 1500 : 0));
      assert.equal(early?.at, undefined, `shown again while its access token was good:\n${world().book.story(account, before.at)}`);
      const refused = answers.filter(({ at, status }) => at < good - 2000 && status !== 200);
      assert.deepEqual(tally(refused), {}, "its access token is good to its end");
    }
    assert.ok(shown.length <= 3, `${fingerprint(before.refresh)} was shown ${shown.length} times`);
    const { state, reason } = await world().gate.account(account);
    if (traits.repetition === "is forgiven") {
      await world().served(account);
    } else {
      assert.deepEqual([state, reason], ["login_required", "rotation_response_lost"]);
    }
  });
}

/** Has the answer to the next showing of `refresh` lost; the call. */
async function losing(world, account, refresh) {
  let lost;
  world.recorder.fault = (call) => {
    if (call.shown !== refresh || lost) return undefined;
    lost = call;
    return FAULTS.answerLost;
  };
  try {
    const refreshed = world.gate.say("accounts", "refresh", account);
    assert.ok(await eventually(() => lost?.answeredAt, 15_000), "no refresh was asked for");
    await refreshed;
  } finally {
    world.recorder.fault = () => undefined;
  }
  return lost;
}

/** Until the account has a newer token or needs a login, at most some lives of its token. */
async function settled(world, account, { refresh }) {
  const isSettled = async () => {
    const { state } = await world.gate.account(account);
    const healed = world.book.calls.some((call) => call.shown === refresh && call.deliveredAt && call.status === 200);
    return state === "login_required" || healed;
  };
  assert.ok(await eventually(isSettled, ACCESS_LIFE * 3000, 100), world.book.story(account));
}
