// What a seller is shown: who are you, and may this program act for you? The one rule: what is answered is written down by
// oidc-provider, and a grant holds exactly what was asked for.

/** A request listener for the interactions of `provider`. */
export function pages(provider) {
  return (req, res) => {
    interact(provider, req, res).catch((error) => res.writeHead(400).end(String(error)));
  };
}

async function interact(provider, req, res) {
  const details = await provider.interactionDetails(req, res);
  const isConsent = details.prompt.name === "consent";
  if (req.method !== "POST") return show(res, isConsent ? consent(details.params) : login());
  const form = await read(req);
  const result = isConsent ? await decided(provider, details, form) : { login: { accountId: form.get("seller") } };
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: isConsent });
}

async function decided(provider, { prompt, params, session }, form) {
  if (form.get("answer") !== "allow") return { error: "access_denied", error_description: "the seller said no" };
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(" "));
  for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  return { consent: { grantId: await grant.save() } };
}

async function read(req) {
  let body = "";
  for await (const piece of req.setEncoding("utf8")) body += piece;
  return new URLSearchParams(body);
}

function show(res, form) {
  res.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  res.end(`<!doctype html><title>Marketplace</title><link rel="icon" href="data:,"><form method="post">${form}</form>`);
}

const login = () => '<label>Seller <input name="seller" required></label> <button>Log in</button>';

const consent = ({ client_id: client, scope }) => `<p>May ${client} act for you: ${scope}?</p>
<button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button>`;
