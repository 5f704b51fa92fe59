// Accounts that nobody uses, whose refresh tokens end soon if they are not replaced.

import assert from "node:assert/strict";
import { test } from "node:test";
import { IDLE, IDLE_LIFE, eventually } from "../world.mjs";

export function idle(name, world) {
  test(`${name}: idle accounts whose refresh tokens end after ${IDLE_LIFE} s are kept alive`, async (t) => {
    if (!world().server.traits.endsIdle) return t.skip("the server's refresh tokens do not end while idle");
    const { book, gate, idleSince } = world();
    const passed = idleSince + IDLE_LIFE * 2000 + 5000;
    await eventually(() => performance.now() > passed, IDLE_LIFE * 3000, 250);
    for (const account of IDLE) {
      const { state, reason, login_required_by: end } = await gate.account(account);
      const story = book.story(account);
      assert.equal(state, "ready", `${reason}\n${story}`);
      assert.equal(end, null, "an end that every refresh moves asks nobody to log in");
      const refreshes = book.refreshes(account);
      // Kept alive, and not kept busy.
      assert.ok(refreshes.length >= 2 && refreshes.length <= 8, story);
      assert.ok(refreshes.every(({ status }) => status === 200), story);
      await world().served(account);
    }
  });
}
