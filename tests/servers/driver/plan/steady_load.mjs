// Access tokens end every few seconds under steady callers, who notice nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { strangers, tally, underLoad } from "../load.mjs";
import { ACCESS_LIFE, ACCOUNTS } from "../world.mjs";

const LIVES = 3.5;

export function steadyLoad(name, world) {
  test(`${name}: tokens of ${ACCESS_LIFE} s are renewed under load, and every answer is the seller's own`, async (t) => {
    await world().connected(ACCOUNTS);
    const since = performance.now();
    const seconds = ACCESS_LIFE * LIVES;
    const answers = await underLoad(world().gate, ACCOUNTS, () => new Promise((resolve) => setTimeout(resolve, seconds * 1000)));
    const slowest = Math.max(...answers.map(({ took }) => took));
    t.diagnostic(`${answers.length} requests: ${JSON.stringify(tally(answers))}, the slowest ${slowest.toFixed(0)} ms`);

    const refused = answers.filter(({ status }) => status !== 200);
    assert.deepEqual(tally(refused), {}, refused.slice(0, 3).map(({ account, at, body }) =>
      `${at.toFixed(0)} ${JSON.stringify(body)}\n${world().book.story(account, since)}`).join("\n"));
    assert.deepEqual(strangers(answers), []);
    // A steady caller needs a token at any time, and none is to be renewed within half its life.
    for (const account of ACCOUNTS) {
      const count = world().book.refreshes(account, since).filter(({ status }) => status === 200).length;
      assert.ok(count >= Math.floor(LIVES) - 1 && count <= 2 * LIVES + 1, world().book.story(account, since));
    }
    assert.deepEqual(world().book.violations(since), []);
  });
}
