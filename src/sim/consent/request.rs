//! An authorization request, read as strictly as the strictest server would. The one rule: what is wrong with the client
//! or its address is told to the person at the browser, what is wrong with anything else to the client.

use super::redirect::Callback;
use crate::sim::arrival::Arrival;
use crate::sim::clients::is_client_id;
use crate::sim::form::Form;
use crate::sim::grants::is_challenge;
use crate::sim::marketplace::Marketplace;
use crate::sim::world::World;

/// What a client asks a seller for.
pub(super) struct Request {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) state: String,
    /// Names with spaces between.
    pub(super) scope: String,
    pub(super) challenge: Option<String>,
    /// The seller whom the client expects (`login_hint`).
    pub(super) seller: Option<String>,
}

/// Why there is nothing to ask the seller.
pub(super) enum Refusal {
    Page(String),
    Redirect(Callback),
}

/// The names of parameters: RFC 6749's, or Walmart's own.
struct Names {
    response_type: &'static str,
    client_id: &'static str,
    redirect_uri: &'static str,
}

const STANDARD: Names =
    Names { response_type: "response_type", client_id: "client_id", redirect_uri: "redirect_uri" };
const WALMART: Names =
    Names { response_type: "responseType", client_id: "clientId", redirect_uri: "redirectUri" };

const DEPOP_SCOPES: [&str; 7] = [
    "products_read",
    "products_write",
    "orders_read",
    "orders_write",
    "offers_read",
    "offers_write",
    "shop_read",
];
const WALLAPOP_SCOPES: [&str; 12] = [
    "openid",
    "web-origins",
    "roles",
    "microprofile-jwt",
    "profile",
    "address",
    "service_account",
    "email",
    "phone",
    "offline_access",
    "basic",
    "acr",
];

impl Request {
    pub(super) fn of(world: &World, arrival: &Arrival) -> Result<Self, Refusal> {
        let marketplace = arrival.marketplace;
        let names = if marketplace == Marketplace::WalmartSellers { WALMART } else { STANDARD };
        let page = |words: String| Refusal::Page(words);
        let form = Form::parse(arrival.query.as_bytes()).map_err(page)?;
        let asked = |name: &str| form.value(name).ok_or_else(|| page(format!("{name} is missing")));
        let (client, redirect_uri) = (asked(names.client_id)?, asked(names.redirect_uri)?);
        if !is_client_id(client) {
            return Err(page("The client is not known here.".to_owned()));
        }
        if !world.redirects.has(marketplace, client, redirect_uri) {
            return Err(page(format!(
                "{} is not an address that the client registered.",
                names.redirect_uri
            )));
        }
        let asks = Asks { form: &form, marketplace, names };
        asks.examine().map_err(|(error, description)| {
            let callback = Callback::error(arrival, redirect_uri, error, &description);
            Refusal::Redirect(match form.value("state") {
                Some(state) => callback.with("state", state),
                None => callback,
            })
        })?;
        let owned = |name: &str| form.value(name).map(str::to_owned);
        Ok(Self {
            client: client.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            state: owned("state").unwrap_or_default(),
            scope: asks.granted_scope(),
            challenge: owned("code_challenge"),
            seller: owned("login_hint").filter(|seller| is_client_id(seller)),
        })
    }
}

/// What has to be right before a client may be told that it is wrong.
struct Asks<'a> {
    form: &'a Form,
    marketplace: Marketplace,
    names: Names,
}

type Mistake = (&'static str, String);

impl Asks<'_> {
    fn examine(&self) -> Result<(), Mistake> {
        match self.form.value(self.names.response_type) {
            Some("code") => {}
            None => return Err(missing(self.names.response_type)),
            Some(other) => return Err(("unsupported_response_type", format!("not served: {other}"))),
        }
        if self.form.value("response_mode").is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode is \"query\" here"));
        }
        if self.form.value("state").is_none() {
            return Err(missing("state"));
        }
        if self.marketplace == Marketplace::WalmartSellers {
            return self.examine_walmarts();
        }
        self.examine_proof_key()?;
        self.examine_scope()
    }

    /// Walmart's own parameters; there is no proof key, and scopes belong to the registration.
    fn examine_walmarts(&self) -> Result<(), Mistake> {
        if self.form.value("nonce").is_none() {
            return Err(missing("nonce"));
        }
        match self.form.value("clientType") {
            Some("seller" | "seller-ca" | "seller-mx") => {}
            None => return Err(missing("clientType")),
            Some(_) => return Err(invalid("clientType is none of seller, seller-ca, seller-mx")),
        }
        match ["code_challenge", "scope"].iter().find(|name| self.form.value(name).is_some()) {
            Some(stranger) => Err(invalid(&format!("{stranger} is not known here"))),
            None => Ok(()),
        }
    }

    /// RFC 7636 §4.3; a method left out would be `plain`.
    fn examine_proof_key(&self) -> Result<(), Mistake> {
        let challenge = self.form.value("code_challenge").ok_or_else(|| missing("code_challenge"))?;
        if self.form.value("code_challenge_method") != Some("S256") {
            return Err(invalid("code_challenge_method must be S256"));
        }
        if !is_challenge(challenge) {
            return Err(invalid("code_challenge is not what S256 makes"));
        }
        Ok(())
    }

    fn examine_scope(&self) -> Result<(), Mistake> {
        let known: &[&str] = match self.marketplace {
            Marketplace::Depop => &DEPOP_SCOPES,
            Marketplace::Wallapop => &WALLAPOP_SCOPES,
            _ => return Ok(()),
        };
        if let Some(mistake) = misjoined(self.marketplace, self.form) {
            return Err(("invalid_scope", mistake));
        }
        let names = self.scopes();
        if self.marketplace == Marketplace::Depop && names.is_empty() {
            return Err(("invalid_scope", "no scope is asked for".to_owned()));
        }
        match names.iter().find(|name| !known.contains(name)) {
            Some(unknown) => Err(("invalid_scope", format!("unknown scope: {unknown}"))),
            None => Ok(()),
        }
    }

    fn scopes(&self) -> Vec<&str> {
        let separator = if self.marketplace == Marketplace::Depop { '+' } else { ' ' };
        self.form.value("scope").map(|scope| scope.split(separator).collect()).unwrap_or_default()
    }

    fn granted_scope(&self) -> String {
        granted_scope(self.marketplace, self.scopes())
    }
}

/// Every token of Wallapop's is an offline one, asked for or not.
pub(in crate::sim) fn granted_scope(marketplace: Marketplace, mut asked: Vec<&str>) -> String {
    if marketplace == Marketplace::Wallapop && !asked.contains(&"offline_access") {
        asked.push("offline_access");
    }
    asked.join(" ")
}

fn missing(name: &str) -> Mistake {
    ("invalid_request", format!("Missing parameter: {name}"))
}

fn invalid(description: &str) -> Mistake {
    ("invalid_request", description.to_owned())
}

/// What is wrong with how the scopes are joined.
fn misjoined(marketplace: Marketplace, form: &Form) -> Option<String> {
    // A form's `+` and `%20` both are a space; only `%2B` is a plus.
    let spaced = marketplace == Marketplace::Depop && form.value("scope")?.contains(' ');
    spaced.then(|| "scope: Depop joins scopes with %2B, not with a space, %20 or a bare plus".to_owned())
}

/// Who asks, whether or not anybody of that name is known.
pub(in crate::sim) fn client(arrival: &Arrival) -> Option<String> {
    let name = if arrival.marketplace == Marketplace::WalmartSellers { WALMART } else { STANDARD }.client_id;
    Form::parse(arrival.query.as_bytes()).ok()?.value(name).map(str::to_owned)
}

/// What must never arrive at an authorization endpoint.
pub(in crate::sim) fn violations(arrival: &Arrival) -> Vec<String> {
    let Ok(form) = Form::parse(arrival.query.as_bytes()) else { return Vec::new() };
    let secrets = ["client_secret", "code_verifier", "refresh_token"];
    let leaked = secrets.iter().filter(|name| form.value(name).is_some());
    let leaked = leaked.map(|name| format!("{name}: a secret in an address"));
    leaked.chain(misjoined(arrival.marketplace, &form)).collect()
}
