// A running marketgate. The one rule: what is waited for is a line, or its end.

import { spawn } from "node:child_process";
import { once } from "node:events";

const BINARY = process.env.MARKETGATE ?? "marketgate";
const PATIENCE = 30_000;

/** A process whose output is kept, and whose stdin can be typed into. */
export class Program {
  out = "";
  err = "";
  over = false;

  constructor(directory, args) {
    const here = { HOME: directory, XDG_CONFIG_HOME: directory, NO_COLOR: "1", BROWSER: "true" };
    this.child = spawn(BINARY, args, { cwd: directory, env: { ...process.env, ...here } });
    this.exited = once(this.child, "close").then(([code]) => {
      this.over = true;
      return code;
    });
    this.child.stdout.setEncoding("utf8").on("data", (text) => (this.out += text));
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.err += text));
  }

  /** What `pattern` found on stderr. */
  async mentions(pattern) {
    const timer = this.#impatience();
    let found;
    while (!(found = pattern.exec(this.err)) && !this.over) {
      await Promise.race([once(this.child.stderr, "data"), this.exited]);
    }
    clearTimeout(timer);
    if (!found) throw new Error(`ended before it said ${pattern}:\n${this.out}${this.err}`);
    return found;
  }

  types = (line) => this.child.stdin.write(`${line}\n`);

  /** Its exit code, without asking it to end. */
  async ended() {
    const timer = this.#impatience();
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  /** Its exit code after `signal`; null if that killed it. */
  async stop(signal = "SIGTERM") {
    this.child.kill(signal);
    return await this.ended();
  }

  #impatience = () => setTimeout(() => this.child.kill("SIGKILL"), PATIENCE);
}
