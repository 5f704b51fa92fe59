// An administrator of the server ends what a seller has granted, and sometimes gives it back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCOUNTS, CLIENTS, HEALING, ROTATED, eventually } from "../world.mjs";

/** A 401 within five seconds of a token's birth is the API's own affair: a second token would be refused too. */
const NO_LONGER_YOUNG_SECONDS = 5.5;
/** Older tokens may be refreshed at any moment, and then they are young again. */
const NOT_YET_DUE_SECONDS = 6.2;
/** Refused grants are shown again after a minute; this much later at most. */
const ONE_MORE_TRY_MS = 80_000;

export function administration(name, world) {
  const spare = ACCOUNTS.slice(2);
  for (const [index, end] of ["session ended", "consent revoked"].entries()) {
    test(`${name}: ${end} by an administrator is told at once`, async (t) => {
      const change = world().server.ends[end];
      if (!change) return t.skip("the server knows no such end");
      await ended(world(), spare[index], change);
    });
  }

  test(`${name}: a seller who was disabled and enabled again is served after \`accounts refresh\``, async (t) => {
    if (!world().server.ends["user enabled"]) return t.skip("the server knows no such end");
    const account = spare[2];
    await interrupted(world(), account);
    const { code, out, err } = await world().gate.say("accounts", "refresh", account);
    assert.equal(code, 0, `${out}${err}\n${world().book.story(account)}`);
    await world().served(account);
  });

  test(`${name}: a client's rotated secret is told, and the new one heals it`, async (t) => {
    const { rotateSecret } = world().server;
    if (!rotateSecret) return t.skip("the server keeps its clients' secrets");
    await world().connected([ROTATED]);
    await world().served(ROTATED);
    const secret = await rotateSecret(CLIENTS.rotated.id);
    const told = await world().gate.say("accounts", "refresh", ROTATED);
    assert.notEqual(told.code, 0, told.out);
    const { state, trouble } = await world().gate.account(ROTATED);
    assert.equal(state, "misconfigured", JSON.stringify(trouble));
    assert.match(trouble.action, /client_secret/);
    world().writeSecret("rotated", secret);
    const healed = await eventually(async () => (await world().gate.say("accounts", "refresh", ROTATED)).code === 0, 20_000, 500);
    assert.ok(healed, JSON.stringify(await world().gate.account(ROTATED)));
    await world().served(ROTATED);
  });

  // The minute passes while other tests run; `selfHealed` looks at it again.
  test(`${name}: a seller who was disabled and enabled again needs a login as long as nobody looks`, async (t) => {
    if (!world().server.ends["user enabled"]) return t.skip("the server knows no such end");
    await interrupted(world(), HEALING);
    world().enabledAt = performance.now();
  });
}

export function selfHealed(name, world) {
  test(`${name}: a seller who was enabled again is served again, and nobody told Marketgate`, async (t) => {
    const { enabledAt } = world();
    if (!enabledAt) return t.skip("nobody was enabled again");
    const isServed = async () => (await world().gate.ask(`/${HEALING}/items`)).status === 200;
    const limit = Math.max(enabledAt + ONE_MORE_TRY_MS - performance.now(), 1000);
    assert.ok(await eventually(isServed, limit, 500), world().book.story(HEALING));
    await world().served(HEALING);
  });
}

async function ended(world, account, change) {
  await world.connected([account]);
  await matured(world, account);
  await change(account.split("@")[1]);
  await refused(world, account);
  const { state, reason, trouble } = await world.gate.account(account);
  assert.deepEqual([state, reason], ["login_required", "revoked"], JSON.stringify(trouble));
}

/** The seller of `account` is disabled, and enabled again once Marketgate has noticed. */
async function interrupted(world, account) {
  const { "user disabled": disable, "user enabled": enable } = world.server.ends;
  const seller = account.split("@")[1];
  try {
    await ended(world, account, disable);
  } finally {
    await enable(seller);
  }
}

/** The first answer says so, and the API sees the dead token once. */
async function refused(world, account) {
  const since = performance.now();
  const first = await world.gate.ask(`/${account}/items`);
  const told = `${JSON.stringify(first.body)}\n${world.book.story(account, since)}`;
  assert.deepEqual([first.status, first.body.code], [503, "login_required"], told);
  assert.match(first.body.action, /marketgate accounts refresh/, "the server's administrator may give it back");
  assert.match(first.body.action, /marketgate login/);
  assert.equal(first.headers.get("retry-after"), null);
  for (let again = 0; again < 5; again += 1) {
    const { status, body } = await world.gate.ask(`/${account}/items`);
    assert.deepEqual([status, body.code], [503, "login_required"], JSON.stringify(body));
  }
  const dead = world.arrivals(account, since);
  assert.ok(dead.length <= 1, `the API saw the dead token ${dead.length} times`);
}

/** Until the token is old enough for a 401 to count, and no refresh of it is due. */
async function matured(world, account) {
  await world.served(account);
  const isOld = async () => {
    const age = (await world.gate.account(account)).token?.age_seconds;
    return age >= NO_LONGER_YOUNG_SECONDS && age <= NOT_YET_DUE_SECONDS;
  };
  assert.ok(await eventually(isOld, 60_000), JSON.stringify(await world.gate.account(account)));
}
