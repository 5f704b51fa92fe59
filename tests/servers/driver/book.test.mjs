// The book itself: what it calls lost, and what it excuses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Book, WINDOW_MS } from "./book.mjs";

/** A book whose clock is set by hand, in which `seller` has been given the refresh token `first`. */
function opened() {
  const clock = { now: 0 };
  const book = new Book(() => clock.now);
  const exchange = book.open(new URLSearchParams({ grant_type: "authorization_code", code: "c" }));
  book.answered(exchange, tokens("access-0", "first"));
  book.name("shop@seller");
  /** A refresh by which `shown` becomes `brought`; delivered unless `lost`. */
  const refresh = (shown, brought, { lost = false } = {}) => {
    const call = book.open(new URLSearchParams({ grant_type: "refresh_token", refresh_token: shown }));
    book.answered(call, tokens(`access of ${brought}`, brought));
    if (!lost) book.delivered(call);
    return call;
  };
  const at = (moment, act) => {
    clock.now = moment;
    return act();
  };
  return { book, refresh, at };
}

const tokens = (access, refresh) => ({ status: 200, body: JSON.stringify({ access_token: access, refresh_token: refresh }) });

test("the book: an old refresh token that is shown after its answer was delivered is a violation", () => {
  const { book, refresh, at } = opened();
  at(1000, () => refresh("first", "second"));
  at(5000, () => refresh("first", "third"));
  assert.equal(book.violations().length, 1);
  assert.match(book.violations()[0], /^shop@seller: \w{8} was shown again at 5000, though its answer was delivered at 1000/);
});

test("the book: an answer that was lost on the way, or in a kill just after, is excused", () => {
  for (const lost of [true, false]) {
    const { book, refresh, at } = opened();
    at(1000, () => refresh("first", "second", { lost }));
    at(1000 + WINDOW_MS / 2, () => book.killed());
    at(5000, () => refresh("first", "third"));
    assert.deepEqual(book.violations(), []);
    assert.deepEqual([...book.excused()], ["shop@seller"]);
  }
});

test("the book: a kill long after the answer, or before the call, excuses nothing", () => {
  for (const kill of [500, 1000 + WINDOW_MS * 2]) {
    const { book, refresh, at } = opened();
    if (kill < 1000) at(kill, () => book.killed());
    at(1000, () => refresh("first", "second"));
    if (kill > 1000) at(kill, () => book.killed());
    at(5000, () => refresh("first", "third"));
    assert.equal(book.violations().length, 1);
    assert.deepEqual([...book.excused()], []);
  }
});

test("the book: an access token that was used before the kill was on the disk", () => {
  const { book, refresh, at } = opened();
  const { access } = at(1000, () => refresh("first", "second"));
  at(1010, () => book.used(access));
  at(1020, () => book.killed());
  at(5000, () => refresh("first", "third"));
  assert.equal(book.violations().length, 1);
});

test("the book: losses in a row are those of one refresh token", () => {
  const { book, refresh, at } = opened();
  at(1000, () => refresh("first", "second", { lost: true }));
  at(2000, () => refresh("first", "third", { lost: true }));
  at(3000, () => refresh("third", "fourth"));
  assert.equal(book.lossesInARow("shop@seller"), 2);
});
