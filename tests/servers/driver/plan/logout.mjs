// A logout through Marketgate is one at the server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCOUNTS } from "../world.mjs";

export function logout(name, world) {
  test(`${name}: a logout ends the grant at the server (RFC 7009)`, async () => {
    const account = ACCOUNTS[10];
    await world().connected([account]);
    await world().served(account);
    const { access, refresh } = world().book.latest(account);
    assert.ok(await world().server.isLive(refresh), "the refresh token was dead before the logout");
    const { code, out, err } = await world().gate.say("logout", account);
    assert.equal(code, 0, err);
    assert.match(out, new RegExp(`${account} is logged out`));
    assert.doesNotMatch(out, /did not revoke/);
    assert.ok(!(await world().server.isLive(refresh)), "the refresh token is still good");
    assert.ok(!(await world().server.isLive(access)), "the access token is still good");
    const { status, body } = await world().gate.ask(`/${account}/items`);
    assert.deepEqual([status, body.code], [503, "login_required"]);
    const { state, reason } = await world().gate.account(account);
    assert.deepEqual([state, reason], ["login_required", "logged_out"]);
  });
}
