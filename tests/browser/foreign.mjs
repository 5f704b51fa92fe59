// Servers of the tests that are no part of Marketgate: the marketplace's API, which counts; a relay, which tells what became of
// every request at the gate; and a foreign site, whose pages try to get in.

import { EventEmitter, once } from "node:events";
import { createServer, request } from "node:http";
import { page } from "./vectors.mjs";

/** How long after the last arrival none is expected any more. */
const QUIET = 3000;

/** What arrived, by the last segment of its path; `await arrived.all(names)` waits until each of them has, or nothing more comes. */
export class Arrivals extends EventEmitter {
  seen = new Map();

  note(target, what) {
    const name = decodeURIComponent(new URL(target, "http://any").pathname.split("/").at(-1));
    this.seen.set(name, [...(this.seen.get(name) ?? []), what]);
    this.emit("arrival");
  }

  missing = (names) => names.filter((name) => !this.seen.has(name));

  /** The names that had not arrived when it had become quiet. */
  async all(names, quiet = QUIET) {
    while (this.missing(names).length > 0) {
      const arrived = await once(this, "arrival", { signal: AbortSignal.timeout(quiet) }).catch(() => null);
      if (!arrived) break;
    }
    return this.missing(names);
  }
}

async function listening(server) {
  await once(server.listen(0, "127.0.0.1"), "listening");
  const close = () => (server.closeAllConnections(), once(server.close(), "close"));
  return { port: server.address().port, close };
}

/** The API: `through` is what carried the key that Marketgate puts on, `direct` all else. */
export async function api(key) {
  const [through, direct] = [new Arrivals(), new Arrivals()];
  const server = createServer((incoming, answer) => {
    const arrivals = incoming.headers.authorization === `Bearer ${key}` ? through : direct;
    arrivals.note(incoming.url, incoming.method);
    answer.setHeader("content-type", "text/html");
    answer.end("<p>the API</p>");
  });
  server.on("upgrade", (incoming, socket) => {
    direct.note(incoming.url, "upgrade");
    socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  return { through, direct, ...(await listening(server)) };
}

/** A relay to a port: `answers` are the statuses of what was asked, by name. */
export async function relay(port) {
  const answers = new Arrivals();
  const send = (incoming, done) => {
    const { method, url: path, rawHeaders: headers } = incoming;
    const onward = request({ host: "127.0.0.1", port, method, path, headers: paired(headers), setHost: false });
    onward.on("response", (answer) => (answers.note(path, answer.statusCode), done(answer)));
    onward.on("upgrade", () => answers.note(path, 101));
    onward.on("error", () => incoming.destroy());
    incoming.on("error", () => onward.destroy());
    return onward;
  };
  const server = createServer((incoming, back) => {
    const done = (answer) => (back.writeHead(answer.statusCode, answer.headers), answer.pipe(back));
    incoming.pipe(send(incoming, done));
  });
  server.on("upgrade", (incoming, socket) => {
    socket.on("error", () => {});
    send(incoming, (answer) => socket.end(`HTTP/1.1 ${answer.statusCode} Refused\r\nConnection: close\r\n\r\n`)).end();
  });
  return { answers, ...(await listening(server)) };
}

const paired = (raw) => Object.fromEntries(raw.flatMap((name, i) => (i % 2 ? [] : [[name, raw[i + 1]]])));

/** A site with a page that tries every vector at the addresses in its query, and answers that lead on. */
export async function foreign() {
  const server = createServer((incoming, answer) => {
    const url = new URL(incoming.url, "http://foreign");
    const to = url.searchParams.get("url");
    const html = (text, headers = {}) => answer.writeHead(200, { "content-type": "text/html", ...headers }).end(text);
    const redirect = (status) => answer.writeHead(status, { location: to }).end();
    const script = (text) => html(`<!doctype html><script>${text}</script>`);
    const quoted = JSON.stringify(to);
    const kinds = {
      302: () => redirect(302),
      303: () => redirect(303),
      307: () => redirect(307),
      308: () => redirect(308),
      refresh: () => html(`<meta http-equiv=refresh content="0;url=${to}">`),
      "header-refresh": () => html("", { refresh: `0;url=${to}` }),
      location: () => script(`location = ${quoted}`),
      replace: () => script(`location.replace(${quoted})`),
      "auto-post": () => html(`<form method=post action="${to}"></form><script>document.forms[0].submit()</script>`),
      "auto-link": () => html(`<a href="${to}">x</a><script>document.links[0].click()</script>`),
      report: () => html("<img src=data:,>", { "content-security-policy": `img-src 'none'; report-uri ${to}` }),
      link: () => html("x", { link: `<${to}>; rel=preload; as=image` }),
      xslt: () => answer.writeHead(200, { "content-type": "text/xml" }).end(`<?xml-stylesheet type="text/xsl" href="${to}"?><x/>`),
      empty: () => html(""),
    };
    const led = url.pathname.match(/^\/lead\/(.+)$/)?.[1];
    if (led) return kinds[led]();
    if (url.pathname === "/service-worker.js") {
      answer.setHeader("content-type", "text/javascript");
      return answer.end("onmessage = (e) => e.waitUntil(fetch(e.data, { mode: 'no-cors' }).catch(() => {}))");
    }
    return html(page(url.searchParams.get("target"), url.searchParams.getAll("vector")));
  });
  server.on("upgrade", (incoming, socket) => {
    const to = new URL(incoming.url, "http://foreign").searchParams.get("url");
    socket.on("error", () => {});
    socket.end(`HTTP/1.1 302 Found\r\nLocation: ${to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  });
  return listening(server);
}
