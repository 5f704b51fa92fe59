// A server of the test: a process that is ready when it answers, and ends with everything it has started.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { eventually } from "./world.mjs";

export class ServerProcess {
  #log = "";
  #failed;

  /** Starts `command`; `options` are those of `spawn`. */
  constructor(command, args, options = {}) {
    this.child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...options });
    this.exited = once(this.child, "exit").catch((error) => {
      this.#failed = error;
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.#log = (this.#log + text).slice(-20_000)));
    }
    // Whatever ends the test ends it too.
    this.end = () => this.#signal("SIGKILL");
    process.once("exit", this.end);
  }

  /** Returns once `url` answers with `status`; a process that never does is stopped. */
  async ready(url, status = 200, limit = 120_000) {
    const answers = async () => {
      if (this.#failed) throw this.#failed;
      if (this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}: ${this.#log}`);
      const reply = await fetch(url, { redirect: "manual" }).catch(() => undefined);
      return reply?.status === status;
    };
    try {
      if (await eventually(answers, limit, 200)) return;
      throw new Error(`${url} does not answer ${status}: ${this.#log}`);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(signal = "SIGKILL") {
    process.removeListener("exit", this.end);
    this.#signal(signal);
    await this.exited;
  }

  #signal(signal) {
    if (!this.child.pid) return;
    try {
      process.kill(-this.child.pid, signal);
    } catch {
      // It has ended already.
    }
  }
}

/** JSON from a server of the test; a status that is not `expected` is an error. */
export async function call(url, options = {}, expected = [200, 201, 204]) {
  const reply = await fetch(url, options);
  const text = await reply.text();
  if (!expected.includes(reply.status)) throw new Error(`${options.method ?? "GET"} ${url}: ${reply.status} ${text}`);
  return text && JSON.parse(text);
}

/** A form POST by a client that authenticates by HTTP Basic. */
export const formBy = ({ id, secret }, form) => ({
  method: "POST",
  headers: {
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`,
    "content-type": "application/x-www-form-urlencoded",
  },
  body: new URLSearchParams(form).toString(),
});
