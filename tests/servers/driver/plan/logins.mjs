// Sellers log in at the server's own pages.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCOUNTS, IDLE } from "../world.mjs";

export function logins(name, world) {
  // First of all, so that their refresh tokens have ended by the time they are looked at.
  test(`${name}: sellers whose refresh tokens end soon log in and are left alone`, async () => {
    for (const account of IDLE) await world().logIn(account);
    world().idleSince = performance.now();
  });

  test(`${name}: twenty sellers log in by the server's pages, and each account is its seller's`, async () => {
    const [, ...others] = ACCOUNTS;
    for (const account of others) await world().logIn(account);
    await world().connected(ACCOUNTS);
    for (const account of ACCOUNTS) await world().served(account);
  });

  const inBrowser = { skip: process.env.CHROMIUM ? false : "there is no chromium" };
  test(`${name}: a seller logs in by Chromium`, inBrowser, async () => {
    const { out } = await world().logIn(ACCOUNTS[0], { inBrowser: true });
    assert.match(out, new RegExp(`^${ACCOUNTS[0]} is connected`));
    await world().served(ACCOUNTS[0]);
  });
}
