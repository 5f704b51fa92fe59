// Marketgate as a user has it: a proxy.toml and the binary. The one rule: readiness is waited for with `marketgate wait`.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const BINARY = process.env.MARKETGATE ?? "marketgate";

/** The text of a proxy.toml; `apps` maps a name to the keys of an app, which is generic unless they say otherwise. */
export function configuration(apps, { proxy = 8080, admin = 8081, authority, store } = {}) {
  // JSON strings are TOML strings, for what is written here.
  const keys = (table) => Object.entries(table).map(([key, value]) => `${key} = ${toml(value)}`).join("\n");
  const app = ([name, table]) => `[apps.${name}]\n${keys({ provider: "generic", ...table })}\n`;
  const tables = Object.entries(apps).map(app);
  const trust = authority ? `[upstream]\nca_file = ${toml(authority)}\n` : "";
  const kept = store ? `[store]\npath = ${toml(store)}\n` : "";
  return `[proxy]\nlisten = "127.0.0.1:${proxy}"\n[admin]\nlisten = "127.0.0.1:${admin}"\n${trust}${kept}\n${tables.join("\n")}`;
}

function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{ ${Object.entries(value).map(([key, inner]) => `${key} = ${toml(inner)}`).join(", ")} }`;
}

/** Runs a command over a configuration to its end: { code, stdout, stderr }. */
export async function command(directory, text, ...args) {
  const config = join(mkdtempSync(join(directory, "command-")), "proxy.toml");
  writeFileSync(config, text);
  return await ended([...args, "--config", config]);
}

function ended(args) {
  return new Promise((resolve) => {
    execFile(BINARY, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
  });
}

/** `marketgate run`, once all its apps have tokens: its base URL, and `stop`, which resolves to the exit code. */
export async function run(directory, apps, authority) {
  const [proxy, admin] = await freePorts(2);
  const config = join(mkdtempSync(join(directory, "run-")), "proxy.toml");
  writeFileSync(config, configuration(apps, { proxy, admin, authority }));
  const child = spawn(BINARY, ["run", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  const stop = async () => {
    child.kill("SIGTERM");
    const [code] = await exited;
    return code;
  };
  for (const app of Object.keys(apps)) {
    const waited = await ended(["wait", app, "--timeout", "30s", "--config", config]);
    if (waited.code !== 0) {
      await stop();
      throw new Error(`${app} got no token: ${waited.stderr}\n${log}`);
    }
  }
  return { url: `http://127.0.0.1:${proxy}`, stop };
}

/** Ports that were free just now: `run` does not say which port it got for port 0. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");
  const ports = servers.map((server) => server.address().port);
  for (const server of servers) await once(server.close(), "close");
  return ports;
}
