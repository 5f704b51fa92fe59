// An API that believes nobody but the authorization server: each request's token is judged anew, and the answer tells whom
// the token names.

import { fingerprint } from "./book.mjs";

/**
 * The API's request listener. `judge(token)` resolves to whom the token names, or to undefined; `refusal` is how this API
 * says that it takes a token no more.
 */
export function resource(judge, refusal, book) {
  /** Requests as they were judged: { at, who, token }, the token as it came. */
  const seen = [];
  const listener = async (req, res) => {
    const token = /^Bearer (\S+)$/.exec(req.headers.authorization ?? "")?.[1];
    req.resume();
    try {
      const who = token && (await judge(token));
      seen.push({ at: book.now(), who, token });
      if (who) book.used(token);
      answer(res, who, token, refusal);
    } catch (error) {
      res.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ error: String(error) }));
    }
  };
  return { listener, seen };
}

function answer(res, who, token, refusal) {
  if (!who) return res.writeHead(refusal.status, refusal.headers).end(refusal.body);
  res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ who, token: fingerprint(token) }));
}

/** RFC 6750 section 3.1. */
export const INVALID_TOKEN = {
  status: 401,
  headers: { "content-type": "application/json", "www-authenticate": 'Bearer error="invalid_token"' },
  body: '{"error":"invalid_token"}',
};
