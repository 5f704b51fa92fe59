// A seller without a browser: follows redirects, keeps cookies, fills in the two pages. The one rule: it stops where the
// authorization server sends it away, so that the callback can be looked at, pasted or visited.

import { once } from "node:events";
import { request } from "node:https";

/** Where the seller is sent in the end. `answer` is `allow` or `deny`. */
export async function decide(url, seller, answer, ca) {
  const cookies = new Map();
  const { origin } = new URL(url);
  const visit = (address, form) => fetched(address, form, cookies, ca);
  let [here, page] = [url, await visit(url)];
  while (page.status !== 200) {
    if (!page.location) throw new Error(`${page.status} at ${here}: ${page.text}`);
    here = new URL(page.location, here).href;
    if (new URL(here).origin !== origin) return here;
    page = await visit(here);
    const form = page.text.includes('name="seller"') ? { seller } : { answer };
    if (page.status === 200) page = await visit(here, new URLSearchParams(form));
  }
  throw new Error(`the seller is left at ${here}: ${page.text}`);
}

async function fetched(url, form, cookies, ca) {
  const headers = {
    cookie: [...cookies].map((pair) => pair.join("=")).join("; "),
    ...(form && { "content-type": "application/x-www-form-urlencoded" }),
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
  if (value) cookies.set(name, value);
  else cookies.delete(name);
}
