// The binary with its simulated marketplaces and a proxy.toml. The one rule: what is waited for is an event or a line.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const BINARY = process.env.MARKETGATE ?? "marketgate";
const PATIENCE = 30_000;

/** A process whose output is kept: `says` waits for words on stdout, `mentions` for words on stderr. */
export class Program {
  constructor(directory, args, env = {}) {
    const surroundings = { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory, NO_COLOR: "1", ...env };
    this.child = spawn(BINARY, args, { cwd: directory, env: surroundings, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = once(this.child, "close").then(([code]) => code);
    this.out = "";
    this.err = "";
    this.child.stdout.setEncoding("utf8").on("data", (text) => (this.out += text));
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.err += text));
  }

  says = (words) => this.#until("stdout", () => this.out, words);
  mentions = (words) => this.#until("stderr", () => this.err, words);

  async #until(stream, text, words) {
    const limit = AbortSignal.timeout(PATIENCE);
    while (!text().includes(words)) {
      if (this.child.exitCode !== null) throw new Error(`ended before it said ${words}:\n${this.out}${this.err}`);
      await Promise.race([once(this.child[stream], "data", { signal: limit }), this.exited]);
    }
    return text();
  }

  /** Its exit code, without asking it to end. */
  async ended() {
    const timer = setTimeout(() => this.child.kill("SIGKILL"), PATIENCE);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  async stop() {
    this.child.kill("SIGTERM");
    return await this.ended();
  }
}

/** Runs a command to its end: { code, stdout, stderr }. */
export function command(directory, ...args) {
  return new Promise((resolve) => {
    execFile(BINARY, args, { cwd: directory, timeout: PATIENCE }, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
  });
}

/** The simulator, and `marketgate run` before it with an app for each way back; `stop` ends both. */
export async function open(directory) {
  const sim = new Program(directory, ["sim", "--listen", "127.0.0.1:0"]);
  const origin = (await sim.says("\n")).trim();
  const [proxy, admin, callback] = await freePorts(3);
  const app = (name, redirect) => `[apps.${name}]
provider = "wallapop"
environment = "simulator"
simulator = "${origin}"
client_id = "${name}"
client_secret = "${name}-secret"
redirect_uri = "${redirect}"
`;
  const text = `[proxy]
listen = "127.0.0.1:${proxy}"
[admin]
listen = "127.0.0.1:${admin}"
[store]
path = "gate.db"
${app("here", `http://localhost:${callback}/callback`)}
${app("proxied", `http://localhost:${proxy}/callback`)}`;
  writeFileSync(join(directory, "proxy.toml"), text);
  const run = new Program(directory, ["run"]);
  const ready = await command(directory, "wait", "--timeout", "20s");
  if (ready.code !== 0) throw new Error(ready.stderr + run.err);
  const stop = async () => [await run.stop(), await sim.stop()];
  return { proxy: `http://127.0.0.1:${proxy}`, run, stop };
}

/** `marketgate login` with a browser that only writes down where it was sent: { login, url }. */
export async function login(directory, ...args) {
  const [script, opened] = [join(directory, "browser"), join(directory, "opened")];
  writeFileSync(script, `#!/bin/sh\nprintf '%s' "$1" > '${opened}.part' && mv '${opened}.part' '${opened}'\n`);
  chmodSync(script, 0o700);
  rmSync(opened, { force: true });
  const limit = AbortSignal.timeout(PATIENCE);
  const folder = watch(directory, { signal: limit });
  const login = new Program(directory, ["login", ...args], { BROWSER: script });
  while (!existsSync(opened)) await once(folder, "change", { signal: limit });
  folder.close();
  return { login, url: readFileSync(opened, "utf8") };
}

export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");
  const ports = servers.map((server) => server.address().port);
  for (const server of servers) await once(server.close(), "close");
  return ports;
}
