// Marketgate for sellers: `marketgate run` over a store of its own, and the commands of the person beside it. All of them
// find each other by the one configuration, as they do for a user.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { configuration } from "./marketgate.mjs";
import { Program } from "./program.mjs";

export class Gate {
  /** Writes the configuration; `ports` are those of the proxy door and the admin door. */
  constructor(directory, apps, { proxy, admin, authority }) {
    this.directory = directory;
    this.url = `http://127.0.0.1:${proxy}`;
    this.admin = `http://127.0.0.1:${admin}`;
    const text = configuration(apps, { proxy, admin, authority, store: "gate.db" });
    writeFileSync(join(directory, "proxy.toml"), text);
  }

  /** `marketgate run`, once it is ready. */
  async start() {
    this.run = new Program(this.directory, ["run"]);
    const { code, err } = await this.say("wait", "--timeout", "20s");
    if (code !== 0) throw new Error(err + this.run.err);
  }

  /** `kill -9`; what it logged is kept. */
  async kill() {
    await this.run.stop("SIGKILL");
    this.log = (this.log ?? "") + this.run.err;
  }

  /** A command, to its end: { code, out, err }. */
  async say(...args) {
    const program = new Program(this.directory, args);
    const code = await program.ended();
    return { code, out: program.out, err: program.err };
  }

  /** A login that waits, and the address it wants to have opened: { login, url }. */
  async login(...args) {
    const login = new Program(this.directory, ["login", ...args]);
    const [, url] = await login.mentions(/^ {2}(https:\S+)\n/m);
    return { login, url };
  }

  /** What the API answers through the proxy: { status, headers, body }. */
  async ask(path) {
    const reply = await fetch(`${this.url}${path}`);
    const text = await reply.text();
    const isJson = /json/.test(reply.headers.get("content-type") ?? "");
    return { status: reply.status, headers: reply.headers, body: isJson ? JSON.parse(text) : { text } };
  }

  /** How an account stands, as the accounts API has it. */
  async account(name) {
    const reply = await fetch(`${this.admin}/api/accounts/${name.replace("@", "/")}`);
    return await reply.json();
  }
}
