// node node.mjs fetch|undici-5|undici-6|undici-7|axios < cases > outcomes; a line of JSON each.
import { createInterface } from 'node:readline';

const which = process.argv[2];
const PIECE = Buffer.alloc(64 * 1024, 'x');

async function* pieces(size) {
  for (let left = size; left > 0; left -= PIECE.length) yield PIECE.subarray(0, Math.min(left, PIECE.length));
}

async function sender() {
  if (which === 'axios') {
    const { default: axios } = await import('axios');
    return async ({ url, method, headers, size, chunked }) => {
      const { Readable } = await import('node:stream');
      const data = size === 0 ? undefined : chunked ? Readable.from(pieces(size)) : Buffer.alloc(size, 'x');
      const answer = await axios.request({
        url, method, headers, data, validateStatus: () => true, responseType: 'text', transformResponse: (text) => text,
        maxRedirects: 0, maxBodyLength: Infinity, proxy: false,
      });
      return { status: answer.status, body: answer.data };
    };
  }
  const fetch = which === 'fetch' ? globalThis.fetch : (await import(which)).fetch;
  return async ({ url, method, headers, size, chunked }) => {
    const body = size === 0 ? undefined : chunked ? ReadableStream.from(pieces(size)) : Buffer.alloc(size, 'x');
    const answer = await fetch(url, { method, headers, body, duplex: 'half', redirect: 'manual' });
    return { status: answer.status, body: await answer.text() };
  };
}

const send = await sender();
for await (const line of createInterface({ input: process.stdin })) {
  const one = JSON.parse(line);
  let outcome;
  try {
    const { status, body } = await send(one);
    outcome = { status, code: JSON.parse(body).code };
  } catch (error) {
    outcome = { error: `${error} ${error.cause ?? ''} ${error.code ?? ''}` };
  }
  console.log(JSON.stringify(outcome));
}
process.exit(0);
