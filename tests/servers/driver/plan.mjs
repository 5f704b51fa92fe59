// What is asked of Marketgate at every authorization server, in this order; each part is a file of its own.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { administration, selfHealed } from "./plan/administration.mjs";
import { idle } from "./plan/idle.mjs";
import { kills } from "./plan/kills.mjs";
import { logins } from "./plan/logins.mjs";
import { logout } from "./plan/logout.mjs";
import { lostAnswer } from "./plan/lost_answer.mjs";
import { outage } from "./plan/outage.mjs";
import { steadyLoad } from "./plan/steady_load.mjs";
import { World } from "./world.mjs";

/** All of it. The short ends of `idle` begin with the logins, so that it waits for little. */
export const WHOLE = [logins, administration, steadyLoad, lostAnswer, idle, selfHealed, outage, kills, logout];
/** What depends on how a server takes a refresh token that was shown before. */
export const REPETITIONS = [logins, lostAnswer, kills];

/** Runs `parts` against the server that `launch` starts; `name` begins the name of every test. */
export function plan(name, launch, parts = WHOLE) {
  let world;
  before(async () => {
    world = await World.open(launch);
  }, { timeout: 180_000 });
  after(async () => {
    if (world) assert.equal(await world.close(), 0, "exit code after SIGTERM");
  });
  for (const part of parts) part(name, () => world);
}
