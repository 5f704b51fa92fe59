// `marketgate login` with Chromium as the seller's browser, clicks and all.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { login, open } from "./marketgate.mjs";

let directory, gate, browser;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "marketgate-browser-"));
  gate = await open(directory);
  // Debian's chromium as root, in a container or not, has no sandbox to use.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  const codes = await gate?.stop();
  rmSync(directory, { recursive: true, force: true });
  assert.deepEqual(codes, [0, 0], "exit codes after SIGTERM");
});

/** A page that takes down what the browser complains of. */
async function seller(url) {
  const page = await (await browser.newContext()).newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(url);
  assert.match(await page.textContent("main"), /This is a simulation/);
  return { page, complaints };
}

/** The outcome's page: its words, and an address bar that holds neither code nor state. */
async function outcome(page, title) {
  await page.waitForSelector(`h1:text-is("${title}")`);
  assert.doesNotMatch(page.url(), /code=|state=|error/);
  assert.equal(await page.title(), `${title} – Marketgate`);
  const size = await page.evaluate(() => getComputedStyle(document.querySelector("h1")).fontSize);
  assert.equal(size, "24px", "the page's own style is not blocked by its policy");
  return await page.textContent("main");
}

for (const [app, where] of [["here", "the login itself"], ["proxied", "the running proxy, which has the port"]]) {
  test(`a seller who allows it comes back to ${where} and is connected`, async () => {
    const { login: terminal, url } = await login(directory, `${app}@shop-2`);
    assert.match(terminal.err, /Open this address/);
    const { page, complaints } = await seller(url);
    await page.selectOption("#seller", "shop-2");
    await page.click("text=Allow");
    const words = await outcome(page, "Connected");
    assert.match(words, new RegExp(`${app}@shop-2 is connected; the marketplace knows the seller as shop-2`));
    assert.match(words, /You can close this page/);
    assert.equal(await terminal.ended(), 0, terminal.err);
    assert.match(terminal.out, new RegExp(`${app}@shop-2 is connected, to shop-2`));
    assert.match(terminal.out, /\/items\/limits answered 200/);
      assert.doesNotMatch(terminal.out + terminal.err + gate.run.err, /-secret|[?&]code=/);
    assert.deepEqual(complaints, []);
    const line = terminal.out.match(/curl -i '([^']+)'/)[1];
    assert.equal((await fetch(line)).status, 200, line);
    await page.context().close();
  });

  test(`a seller who denies it is told at ${where}, and the terminal ends with 4`, async () => {
    const { login: terminal, url } = await login(directory, `${app}@shop-3`);
    const { page } = await seller(url);
    await page.click("text=Deny");
    assert.match(await outcome(page, "Not connected"), /The seller did not consent/);
    assert.equal(await page.textContent("p.helps code"), `marketgate login ${app}@shop-3`);
    assert.equal(await terminal.ended(), 4, terminal.err);
    assert.equal(terminal.out, "");
    assert.match(terminal.err, /error: the seller did not consent/);
    assert.match(terminal.err, new RegExp(`help: start again: .marketgate login ${app}@shop-3`));
    await page.context().close();
  });
}

test("a page that is loaded again shows the outcome and spends nothing", async () => {
  const { login: terminal, url } = await login(directory, "proxied@shop-4");
  const { page } = await seller(url);
  await page.selectOption("#seller", "shop-4");
  await page.click("text=Allow");
  await outcome(page, "Connected");
  await page.reload();
  await outcome(page, "Connected");
  assert.equal(await terminal.ended(), 0, terminal.err);
  await page.context().close();
});
