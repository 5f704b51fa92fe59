// The pages that Hydra leaves to others: who are you, and may this program act for you?

const FORMS = {
  "/login": '<label>Seller <input name="seller" required></label> <button>Log in</button>',
  "/consent": '<button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button>',
};

/** A request listener for both; `administer(method, path, body)` calls Hydra's admin API. */
export function pages(administer) {
  return async (req, res) => {
    const { pathname, searchParams } = new URL(req.url, "http://localhost");
    if (req.method !== "POST") return show(res, FORMS[pathname]);
    const form = await read(req);
    const answer = pathname === "/login" ? loggedIn : consented;
    const { redirect_to: location } = await answer(administer, searchParams, form);
    res.writeHead(303, { location }).end();
  };
}

const loggedIn = (administer, parameters, form) =>
  administer("PUT", `/oauth2/auth/requests/login/accept?login_challenge=${parameters.get("login_challenge")}`,
    { subject: form.get("seller"), remember: false });

async function consented(administer, parameters, form) {
  const challenge = `consent_challenge=${parameters.get("consent_challenge")}`;
  if (form.get("answer") !== "allow") {
    return administer("PUT", `/oauth2/auth/requests/consent/reject?${challenge}`, { error: "access_denied" });
  }
  const { requested_scope: scope } = await administer("GET", `/oauth2/auth/requests/consent?${challenge}`);
  return administer("PUT", `/oauth2/auth/requests/consent/accept?${challenge}`, { grant_scope: scope, remember: false });
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
