// Node's `fetch`: with_fetch.mjs PLAN. URLs are joined by `new URL(path, base)`, which drops the base's own path: that is
// why the runner gives this client the route in header fields.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";

const plan = JSON.parse(await readFile(process.argv[2], "utf8"));
const results = [];
for (const exchange of plan.exchanges) results.push(await send(plan.apps[exchange.app], exchange));
await writeFile(`${plan.out}/result.json`, JSON.stringify(results));

async function send(app, exchange) {
  const { headers, ...body } = await bodyOf(exchange.body);
  const request = new Request(new URL(app.base_path + exchange.path, app.base), {
    method: exchange.method,
    headers: { ...headers, ...exchange.headers, ...app.headers },
    redirect: exchange.follow ? "follow" : "manual",
    ...body,
  });
  const sent = exchange.body?.stream
    ? await readFile(exchange.body.stream)
    : Buffer.from(await request.clone().arrayBuffer());
  const reply = await fetch(request);
  await writeFile(`${plan.out}/${exchange.file_name}`, Buffer.from(await reply.arrayBuffer()));
  return {
    status: reply.status,
    headers: [...reply.headers],
    sent: {
      length: sent.length,
      sha256: createHash("sha256").update(sent).digest("hex"),
      content_type: request.headers.get("content-type"),
    },
  };
}

async function bodyOf(body) {
  if (!body) return {};
  if (body.json !== undefined) {
    return { headers: { "content-type": "application/json" }, body: JSON.stringify(body.json) };
  }
  if (body.bytes) return { body: await readFile(body.bytes) };
  if (body.stream) return { body: Readable.toWeb(createReadStream(body.stream)), duplex: "half" };
  const form = new FormData();
  form.set("file", new Blob([await readFile(body.multipart)], { type: body.type }), body.filename);
  return { body: form };
}
