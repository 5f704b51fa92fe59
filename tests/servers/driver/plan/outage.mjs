// The token endpoint is down for a while: it is asked seldom, and everybody is served as soon as it is back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { strangers, tally, underLoad } from "../load.mjs";
import { FAULTS } from "../recorder.mjs";
import { ACCOUNTS, eventually } from "../world.mjs";

const DOWN_MS = 20_000;
const FIRST_MS = 10_000;
const CALLS_A_MINUTE = 30;
/** Two seconds, and what a busy machine adds. */
const BACK_MS = 2_250;

export function outage(name, world) {
  test(`${name}: a token endpoint that is down for 20 s is asked seldom, and all are served after its return`, async (t) => {
    await world().connected(ACCOUNTS);
    const began = performance.now();
    const back = began + DOWN_MS;
    // First a gateway without its server, then nothing that answers.
    world().recorder.fault = () => (performance.now() - began < FIRST_MS ? FAULTS.refused : FAULTS.brokenOff);
    const servedSince = (answers, account) =>
      answers.find((it) => it.account === account && it.status === 200 && it.at + it.took > back);
    const answers = await underLoad(world().gate, ACCOUNTS, async (sofar) => {
      await eventually(() => performance.now() > back, DOWN_MS * 2, 10);
      world().recorder.fault = () => undefined;
      await eventually(() => ACCOUNTS.every((account) => servedSince(sofar, account)), 30_000);
    });

    const during = world().book.calls.filter(({ at }) => at >= began && at < back);
    const late = during.filter(({ at }) => at >= began + FIRST_MS);
    t.diagnostic(`${during.length} calls, ${late.length} of them after ten seconds; ${JSON.stringify(tally(answers))}`);
    const served = (account) => {
      const first = servedSince(answers, account);
      return first && first.at + first.took - back;
    };
    // Server and API share the processors with all else, so it is told when each account's call was made, not what came of it.
    const asked = (account) => {
      const call = world().book.refreshes(account, back).find(({ status }) => status === 200);
      return call ? call.at - back : 0;
    };
    const isLate = (account) => asked(account) - busy(world().book, back, asked(account)) > BACK_MS;
    const slow = ACCOUNTS.filter((account) => served(account) === undefined || isLate(account));
    t.diagnostic(`served again after ${ACCOUNTS.map(served).map((ms) => ms?.toFixed(0)).join(" ")} ms`);
    assert.deepEqual(strangers(answers), []);
    const expected = ({ status, body }) => status === 200 || (status === 503 && body.code === "token_unavailable");
    assert.deepEqual(tally(answers.filter((answer) => !expected(answer))), {});
    assert.ok(late.length <= (CALLS_A_MINUTE * (DOWN_MS - FIRST_MS)) / 60_000, `${late.length} calls in the last ten seconds`);
    assert.deepEqual(slow.map((account) => world().book.story(account, began)), []);
  });
}

/** For how long of the `ms` after `back` token calls were at work: whoever waits then waits for the server. */
function busy(book, back, ms) {
  let [sum, end] = [0, back];
  for (const { at, deliveredAt } of book.calls.filter((call) => call.at >= back)) {
    const until = Math.min(deliveredAt ?? at, back + ms);
    sum += Math.max(0, until - Math.max(at, end));
    end = Math.max(end, until);
  }
  return sum;
}
