// axios alone: raw_axios.cjs PLAN STYLE, where STYLE is `global` or `instance`; `none` and `none-instance` send the same
// without the interceptor. An instance gets its URLs in parts, with `baseURL` and `params`.
const { readFileSync } = require("node:fs");

const axios = require("axios");
const { throughGate } = require("./gate_axios.cjs");

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const style = process.argv[3];
const inParts = style.endsWith("instance");
const client = inParts ? axios.create() : axios;
if (!style.startsWith("none")) for (const route of plan.routes) throughGate(client, ...route);

const place = (url) => {
  if (!inParts) return { url };
  const { origin, pathname, searchParams } = new URL(url);
  return { baseURL: origin, url: pathname, params: searchParams };
};

const send = async ({ method, url, headers, body, auth: [username, password] }) => {
  const answer = await client.request({
    method,
    ...place(url),
    headers,
    data: body === "" ? undefined : Buffer.from(body, "hex"),
    auth: { username, password },
    responseType: "text",
    transformResponse: (text) => text,
    validateStatus: null,
  });
  return { status: answer.status, url: answer.request.res.responseUrl.replace("//any:any@", "//"), body: answer.data };
};

(async () => {
  const outcomes = [];
  for (const one of plan.requests) outcomes.push(await send(one));
  console.log(JSON.stringify(outcomes));
})();
