// The TLS listener that stands between Marketgate and an authorization server. It forwards everything, writes every token
// call down in a `Book`, and can refuse token calls or lose their answers.

import { EventEmitter } from "node:events";
import { Agent, createServer, request } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { listen } from "./door.mjs";

/** What befalls a token call: refused with 502, broken off before or after the server has worked on it. */
export const FAULTS = { refused: "refused", brokenOff: "broken off", answerLost: "answer lost" };

export class Recorder extends EventEmitter {
  /** Decides which fault a token call meets: `(call) => one of FAULTS or undefined`. */
  fault = () => undefined;

  #agent = new Agent({ keepAlive: true });

  /** `book` receives the token calls. */
  constructor({ key, cert }, book) {
    super();
    this.book = book;
    this.server = createTlsServer({ key, cert }, (req, res) => {
      this.#answer(req, res).catch(() => res.destroy());
    });
  }

  /** Its origin, once it listens. */
  async listen() {
    this.origin = await listen(this.server);
    return this.origin;
  }

  /**
   * `authorization` says where the authorization server is: { port or portOf(path), owns(path), tokenPath }; `resource` answers all other
   * requests.
   */
  serve(authorization, resource) {
    this.authorization = authorization;
    this.resource = resource;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
    this.#agent.destroy();
  }

  async #answer(req, res) {
    const path = req.url.split("?")[0];
    if (!this.authorization.owns(path)) return this.resource(req, res);
    const body = await bytes(req);
    if (req.method === "POST" && path === this.authorization.tokenPath) return this.#tokenCall(req, res, body);
    const reply = await this.#forward(req, body);
    res.writeHead(reply.status, reply.headers).end(reply.body);
  }

  async #tokenCall(req, res, body) {
    const call = this.book.open(new URLSearchParams(body.toString()));
    call.fault = this.fault(call);
    this.emit("call", call);
    if (call.fault === FAULTS.refused) return res.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad gateway</h1>");
    if (call.fault === FAULTS.brokenOff) return req.socket.destroy();
    const reply = await this.#forward(req, body);
    this.book.answered(call, reply);
    if (call.fault === FAULTS.answerLost) {
      req.socket.destroy();
    } else {
      res.on("finish", () => this.book.delivered(call));
      res.writeHead(reply.status, reply.headers).end(reply.body);
    }
    this.emit("answered", call);
  }

  #port = (req) => this.authorization.portOf?.(req.url.split("?")[0]) ?? this.authorization.port;

  /** What the authorization server answers, which goes on working when the client is gone. */
  #forward(req, body) {
    const { host } = new URL(this.origin);
    const headers = { ...req.headers, host, "x-forwarded-proto": "https", "x-forwarded-host": host,
      "x-forwarded-port": host.split(":")[1], "x-forwarded-for": "127.0.0.1" };
    delete headers["transfer-encoding"];
    if (body.length > 0) headers["content-length"] = body.length;
    const options = { port: this.#port(req), host: "127.0.0.1", method: req.method, path: req.url, headers };
    return new Promise((resolve, reject) => {
      const onward = request({ ...options, agent: this.#agent }, async (res) => {
        const { connection: _, "transfer-encoding": __, "keep-alive": ___, ...kept } = res.headers;
        try {
          resolve({ status: res.statusCode, headers: kept, body: await bytes(res) });
        } catch (error) {
          reject(error);
        }
      });
      onward.on("error", reject).end(body);
    });
  }
}

async function bytes(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** A plain HTTP server on a port of its own, for what runs within the test: { port, close }. */
export async function plainServer(listener) {
  const server = createServer(listener);
  await listen(server);
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { port: server.address().port, close };
}
