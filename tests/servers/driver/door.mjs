// Where a server of the test listens: a port of its own on this machine.

import { once } from "node:events";

/** Its origin, once it listens. */
export async function listen(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `https://localhost:${server.address().port}`;
}
