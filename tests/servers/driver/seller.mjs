// A seller with a browser, or with a program that stands in for one: follows redirects, keeps cookies, fills in the forms of
// whatever pages the authorization server has. Without a browser it stops where it is sent away, so that the callback can be
// looked at, pasted or visited.

import { once } from "node:events";
import { request } from "node:https";

const PAGES = 12;

/** Where the seller is sent in the end. `answers` are the inputs to fill in and the buttons to press, by name. */
export async function decide(url, answers, ca) {
  const cookies = new Map();
  const { origin } = new URL(url);
  let [here, form] = [url, undefined];
  for (let pages = 0; pages < PAGES; pages += 1) {
    const page = await fetched(here, form, cookies, ca);
    if (page.location) {
      [here, form] = [new URL(page.location, here).href, undefined];
      if (new URL(here).origin !== origin) return here;
    } else {
      const filled = page.status === 200 && fill(page.text, answers);
      if (!filled) throw new Error(`${page.status} at ${here}: ${page.text}`);
      [here, form] = [new URL(filled.action ?? here, here).href, filled.form];
    }
  }
  throw new Error(`the seller is left at ${here}`);
}

/** The first form of a page that is to be posted, filled in as a person would: { action, form }. */
function fill(page, answers) {
  const [, head, body] = /<form\b([^>]*)>([\s\S]*?)<\/form>/i.exec(page) ?? [];
  if (body === undefined) return undefined;
  const form = new URLSearchParams();
  for (const [tag] of body.matchAll(/<(?:input|button)\b[^>]*>/gi)) {
    const [name, value, type] = [attribute(tag, "name"), attribute(tag, "value") ?? "", attribute(tag, "type")];
    if (!name) continue;
    const isPressed = /^<button/i.test(tag) || ["submit", "checkbox", "radio"].includes(type);
    if (isPressed ? answers[name] === value : type === "hidden") form.append(name, value);
    else if (!isPressed && name in answers) form.append(name, answers[name]);
  }
  return { action: attribute(head, "action"), form };
}

function attribute(tag, name) {
  const [, double, single] = new RegExp(`\\s${name}=(?:"([^"]*)"|'([^']*)')`, "i").exec(tag) ?? [];
  return (double ?? single)?.replaceAll("&amp;", "&").replaceAll("&#x2F;", "/").replaceAll("&#39;", "'");
}

async function fetched(url, form, cookies, ca) {
  const headers = {
    // Some pages differ, and some servers say nothing, without it.
    accept: "text/html",
    cookie: [...cookies].map((pair) => pair.join("=")).join("; "),
    ...(form && { "content-type": "application/x-www-form-urlencoded", referer: url, origin: new URL(url).origin }),
  };
  const req = request(url, { method: form ? "POST" : "GET", headers, ca });
  req.end(form?.toString());
  const [res] = await once(req, "response");
  let text = "";
  for await (const piece of res.setEncoding("utf8")) text += piece;
  for (const line of res.headers["set-cookie"] ?? []) keep(cookies, line);
  return { status: res.statusCode, location: res.headers.location, text };
}

/** An empty value is how a server takes a cookie back. */
function keep(cookies, line) {
  const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
  if (value && !/;\s*max-age=0/i.test(line)) cookies.set(name, value);
  else cookies.delete(name);
}

/** The same in a browser, up to the page that tells the outcome; its words. */
export async function browse(browser, url, answers, title) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(url);
  const over = page.locator(`h1:text-is("${title}")`);
  for (let pages = 0; pages < PAGES && !(await over.count()); pages += 1) await fillIn(page, answers);
  await over.waitFor();
  const words = await page.textContent("main");
  await context.close();
  return words;
}

async function fillIn(page, answers) {
  let button = page.locator("form [type=submit], form button:not([type=button])").first();
  for (const [name, value] of Object.entries(answers)) {
    const text = page.locator(`form input[name="${name}"]:is([type=text], [type=password], :not([type]))`);
    const choice = page.locator(`form [name="${name}"][value="${value}"]`);
    if (await text.count()) await text.fill(value);
    else if (!(await choice.count())) continue;
    else if ((await choice.getAttribute("type")) === "checkbox") await choice.check();
    else button = choice;
  }
  await Promise.all([page.waitForEvent("framenavigated"), button.click()]);
  await page.waitForLoadState("load");
}

/** Debian's chromium as root, in a container or not, has no sandbox to use. */
export const CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
