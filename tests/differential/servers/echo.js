// The application behind Node's own server: it shows what arrived, or answers as the path tells it to.
// It speaks the same language as application.rs and echo.py; application.rs describes it.
'use strict';
const http = require('node:http');

const PATTERN = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const PIECE = 1000;

function pairs(flat) {
  const lines = [];
  for (let i = 0; i < flat.length; i += 2) lines.push(`${flat[i].toLowerCase()}: ${flat[i + 1]}\n`);
  return lines.join('');
}

function shown(request, body) {
  const head = `${request.method} ${request.url} HTTP/${request.httpVersion}\n${pairs(request.rawHeaders)}\n${pairs(request.rawTrailers)}\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

function send(response, bytes, streamed) {
  if (!streamed) return response.end(bytes);
  for (let at = 0; at < bytes.length; at += PIECE) response.write(bytes.subarray(at, at + PIECE));
  response.end();
}

function follow(response, script) {
  const [head, tail] = script.split('\n\n');
  const [status, ...fields] = head.split('\n');
  const [body, ...extras] = tail.split('\n');
  const [kind, length] = body.split(' ');
  const flat = fields.flatMap((field) => {
    const colon = field.indexOf(': ');
    return [field.slice(0, colon), field.slice(colon + 2)];
  });
  const trailers = [];
  for (const extra of extras) {
    if (extra === 'early') response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    if (extra === 'processing') response.writeProcessing();
    if (extra.startsWith('trailer ')) trailers.push(extra.slice(8).split(': '));
  }
  if (kind === 'length') flat.push('Content-Length', length);
  response.writeHead(Number(status.slice(0, 3)), status.slice(4), flat);
  if (trailers.length > 0) response.addTrailers(trailers);
  if (kind === 'none') return response.end();
  send(response, Buffer.alloc(Number(length), PATTERN), kind === 'chunked');
}

function answer(request, response, body) {
  const [, page, rest] = /^(?:\/base)?\/([a-z]*)\/?([^?]*)/.exec(request.url) ?? [];
  if (page === 'reply') return follow(response, Buffer.from(rest, 'hex').toString('latin1'));
  const bytes = shown(request, body);
  const fields = ['X-Echo', '1', 'Content-Type', 'application/octet-stream'];
  if (page !== 'flow') fields.push('Content-Length', String(bytes.length));
  response.writeHead(200, fields);
  send(response, bytes, page === 'flow');
}

const options = { keepAliveTimeout: 120000, maxHeaderSize: 131072, requestTimeout: 0 };
const server = http.createServer(options, (request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => answer(request, response, Buffer.concat(pieces)));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
