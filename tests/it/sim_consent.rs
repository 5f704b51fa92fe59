//! Consents at the simulated marketplaces over real sockets: what an authorization endpoint asks and refuses, what codes
//! and refresh tokens bring, how families end, and what may befall a token call in its middle.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use marketgate::sim::{AutoConsent, Connect, Ended, Family, Fault, Simulator, Successor, fingerprint};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::harness::client;
use crate::program::Program;

const CALLBACK: &str = "http://127.0.0.1:7777/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const DEPOP: Place = Place {
    name: "depop",
    authorize: "/depop/settings/oauth/apps/",
    token: "/depop/api/v1/oauth2/access-token/",
    scope: "products_read%2Bshop_read",
};
const WALLAPOP: Place = Place {
    name: "wallapop",
    authorize: "/wallapop/realms/wallapop-connect/protocol/openid-connect/auth",
    token: "/wallapop/realms/wallapop-connect/protocol/openid-connect/token",
    scope: "openid",
};
const GENERIC: Place = Place {
    name: "generic",
    authorize: "/generic/oauth/authorize",
    token: "/generic/oauth/token",
    scope: "a+b",
};
const STANDARD_ONES: [Place; 3] = [DEPOP, WALLAPOP, GENERIC];
const WALMART: Place = Place {
    name: "walmart-marketplace",
    authorize: "/walmart-marketplace/authorize",
    token: "/walmart-marketplace/v3/token",
    scope: "",
};

#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    authorize: &'static str,
    token: &'static str,
    scope: &'static str,
}

impl Place {
    /// A request that is right in everything.
    fn request(&self) -> Vec<(&'static str, String)> {
        if self.name == WALMART.name {
            let pairs = [
                ("responseType", "code"),
                ("clientId", "app"),
                ("redirectUri", CALLBACK),
                ("clientType", "seller"),
                ("nonce", "n-1"),
                ("state", "s+1/="),
            ];
            return pairs.map(|(name, value)| (name, encoded(value))).to_vec();
        }
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        vec![
            ("response_type", "code".to_owned()),
            ("client_id", "app".to_owned()),
            ("redirect_uri", encoded(CALLBACK)),
            ("scope", self.scope.to_owned()),
            ("state", encoded("s+1/=")),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ]
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn joined(pairs: &[(&str, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The request with one parameter said otherwise, or, with `None`, not at all.
fn but(pairs: &[(&'static str, String)], name: &str, value: Option<&str>) -> Vec<(&'static str, String)> {
    let mut pairs = pairs.to_vec();
    let Some(value) = value else {
        pairs.retain(|pair| pair.0 != name);
        return pairs;
    };
    for pair in pairs.iter_mut().filter(|pair| pair.0 == name) {
        value.clone_into(&mut pair.1);
    }
    pairs
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }

    fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.body)).to_owned()
    }

    fn location(&self) -> Url {
        let location =
            self.headers.get("location").unwrap_or_else(|| panic!("{} {}", self.status, self.body));
        Url::parse(location.to_str().unwrap()).unwrap()
    }

    /// A parameter of the address that the answer leads to.
    fn callback(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

struct Sim {
    simulator: Simulator,
    origin: String,
    http: reqwest::Client,
}

async fn start() -> Sim {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let simulator = Simulator::new(7);
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    Sim { simulator, origin, http: client() }
}

/// A simulator whose sellers consent at once.
async fn start_consenting() -> Sim {
    let sim = start().await;
    sim.simulator.answer_consents(AutoConsent::Allow, Some("shop-7"));
    sim
}

impl Sim {
    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, body: response.text().await? })
    }

    async fn get(&self, target: &str) -> Reply {
        self.send(self.http.get(format!("{}{target}", self.origin))).await.unwrap()
    }

    async fn get_with(&self, target: &str, token: &str) -> Reply {
        let request = self.http.get(format!("{}{target}", self.origin)).bearer_auth(token);
        self.send(request).await.unwrap()
    }

    async fn control(&self, target: &str, body: Value) -> Reply {
        self.send(self.http.post(format!("{}{target}", self.origin)).body(body.to_string())).await.unwrap()
    }

    async fn visit(&self, place: Place, pairs: &[(&str, String)]) -> Reply {
        self.get(&format!("{}?{}", place.authorize, joined(pairs))).await
    }

    async fn try_form(&self, place: Place, form: &str) -> reqwest::Result<Reply> {
        let request = self
            .http
            .post(format!("{}{}", self.origin, place.token))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("user-agent", "consent-test/1");
        self.send(request.body(format!("{form}&client_id=app&client_secret=app-secret"))).await
    }

    async fn form(&self, place: Place, form: &str) -> Reply {
        self.try_form(place, form).await.unwrap()
    }

    async fn walmart(&self, partner: &str, form: &str) -> Reply {
        let request = self
            .http
            .post(format!("{}{}", self.origin, WALMART.token))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", format!("Basic {}", STANDARD.encode("app:app-secret")))
            .header("accept", "application/json")
            .header("wm_qos.correlation_id", "c-1")
            .header("wm_svc.name", "Test")
            .header("wm_partner.id", partner);
        self.send(request.body(form.to_owned())).await.unwrap()
    }

    /// A code, consented to at once.
    async fn code(&self, place: Place) -> String {
        self.visit(place, &place.request()).await.callback("code").unwrap()
    }

    async fn redeem(&self, place: Place, code: &str) -> Reply {
        self.form(place, &redemption(code)).await
    }

    async fn refresh(&self, place: Place, token: &str) -> Reply {
        self.form(place, &refresh(token)).await
    }

    /// A refresh token of a new family.
    fn connected(&self, place: Place) -> String {
        self.simulator.connect(Connect::new(place.name, "app", "shop-7")).refresh_token
    }

    fn family(&self) -> Family {
        self.simulator.families().pop().unwrap()
    }
}

fn refresh(token: &str) -> String {
    format!("grant_type=refresh_token&refresh_token={token}")
}

fn redemption(code: &str) -> String {
    let callback = encoded(CALLBACK);
    format!("grant_type=authorization_code&code={code}&redirect_uri={callback}&code_verifier={VERIFIER}")
}

#[tokio::test]
async fn the_page_asks_the_seller_and_leads_back_with_a_code_for_the_one_who_was_picked() {
    let sim = start().await;
    for place in STANDARD_ONES {
        let page = sim.visit(place, &place.request()).await;
        assert_eq!(page.status, 200);
        assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        for part in
            ["<html lang=\"en\">", "<label for=\"seller\">", "<option>shop-1</option>", ">Deny<", "app"]
        {
            assert!(page.body.contains(part), "{part} in {}", page.body);
        }
        assert!(
            !page.body.contains("http-equiv")
                && !page.body.contains("<script")
                && !page.body.contains("src=")
        );
        let target = format!("{}{}?{}", sim.origin, place.authorize, joined(&place.request()));
        let decide = |body: &'static str| {
            let form = sim.http.post(&target).header("content-type", "application/x-www-form-urlencoded");
            sim.send(form.body(body))
        };
        let yes = decide("seller=shop-3&decision=allow").await.unwrap();
        assert_eq!(yes.status, 303);
        assert!(yes.location().as_str().starts_with(CALLBACK));
        assert_eq!(yes.callback("state").as_deref(), Some("s+1/="));
        let granted = sim.redeem(place, &yes.callback("code").unwrap()).await;
        assert_eq!(granted.status, 200, "{}", granted.body);
        assert_eq!(sim.family().seller, "shop-3");

        let no = decide("seller=shop-3&decision=deny").await.unwrap();
        assert_eq!((no.status, no.callback("error").as_deref()), (303, Some("access_denied")));
        assert_eq!((no.callback("state").as_deref(), no.callback("code")), (Some("s+1/="), None));
        for undecided in
            ["seller=shop-3", "seller=&decision=allow", "seller=a%20b&decision=allow", "decision=x"]
        {
            assert_eq!(decide(undecided).await.unwrap().status, 400);
        }
    }
    assert!(sim.simulator.requests().iter().all(|request| request.violations.is_empty()));
    assert_eq!(sim.simulator.api_calls("*"), 0, "visits of a browser are no calls of an API");
}

#[tokio::test]
async fn wallapop_names_itself_in_every_callback_and_in_its_discovery_document() {
    let sim = start().await;
    let known = sim.get("/wallapop/realms/wallapop-connect/.well-known/openid-configuration").await.json();
    assert_eq!(known["authorization_response_iss_parameter_supported"], true);
    assert_eq!(known["authorization_endpoint"], format!("{}{}", sim.origin, WALLAPOP.authorize));
    assert_eq!(known["token_endpoint"], format!("{}{}", sim.origin, WALLAPOP.token));
    let issuer = known["issuer"].as_str();
    for auto in [AutoConsent::Allow, AutoConsent::Deny] {
        sim.simulator.answer_consents(auto, None);
        let callback = sim.visit(WALLAPOP, &WALLAPOP.request()).await;
        assert_eq!((callback.status, callback.callback("iss").as_deref()), (302, issuer));
        assert_eq!(callback.callback("session_state").is_some(), auto == AutoConsent::Allow);
    }
}

#[tokio::test]
async fn walmarts_way_has_names_of_its_own_and_tells_the_seller() {
    let sim = start_consenting().await;
    let callback = sim.visit(WALMART, &WALMART.request()).await;
    let told = ["type", "clientId", "sellerId", "state"].map(|name| callback.callback(name).unwrap());
    assert_eq!(told, ["auth", "app", "shop-7", "s+1/="]);
    for name in ["responseType", "clientType", "nonce", "state"] {
        let refused = sim.visit(WALMART, &but(&WALMART.request(), name, None)).await;
        assert_eq!(refused.callback("error").as_deref(), Some("invalid_request"), "{name}");
        assert_eq!(refused.callback("state").is_some(), name != "state");
    }
    for (name, value) in [("clientType", "buyer"), ("responseType", "token")] {
        let refused = sim.visit(WALMART, &but(&WALMART.request(), name, Some(value))).await;
        assert_eq!((refused.callback("error").is_some(), refused.callback("code")), (true, None), "{name}");
    }
    let standard = sim.visit(WALMART, &GENERIC.request()).await;
    assert_eq!(standard.status, 400, "RFC 6749's names mean nothing here");

    let callback_uri = encoded(CALLBACK);
    let redeem =
        |code: &str| format!("grant_type=authorization_code&code={code}&redirect_uri={callback_uri}");
    let stranger = sim.walmart("shop-8", &redeem(&callback.callback("code").unwrap())).await;
    assert_eq!(stranger.status, 400);
    assert!(stranger.body.contains("WM_PARTNER.ID"), "{}", stranger.body);
    let code = sim.code(WALMART).await;
    let granted = sim.walmart("shop-7", &redeem(&code)).await;
    assert_eq!((granted.status, &granted.json()["expires_in"]), (200, &json!(900)), "{}", granted.body);
    let token = granted.text("refresh_token");
    for _ in 0..3 {
        let refreshed = sim.walmart("shop-7", &refresh(&token)).await;
        assert_eq!((refreshed.status, refreshed.json().get("refresh_token")), (200, None));
        let detail = sim
            .http
            .get(format!("{}/walmart-marketplace/v3/token/detail", sim.origin))
            .header("wm_sec.access_token", refreshed.text("access_token"))
            .header("wm_qos.correlation_id", "c-2")
            .header("wm_svc.name", "Test");
        assert_eq!(sim.send(detail).await.unwrap().json()["is_valid"], true);
    }
    assert_eq!(sim.walmart("shop-8", &refresh(&token)).await.status, 400);
    assert_eq!(sim.walmart("", &refresh(&token)).await.status, 400);
    let family = sim.family();
    assert_eq!((family.rotations, family.reuse_attempts, family.ended), (0, 0, None));
    assert_eq!(sim.simulator.requests().last().unwrap().seller.as_deref(), Some("shop-7"));
}

#[tokio::test]
async fn nobody_is_sent_anywhere_before_client_and_address_are_known_to_belong_together() {
    let sim = start_consenting().await;
    for place in [DEPOP, WALLAPOP, GENERIC, WALMART] {
        let request = place.request();
        let (client, address) = if place.name == WALMART.name {
            ("clientId", "redirectUri")
        } else {
            ("client_id", "redirect_uri")
        };
        for (name, value) in [
            (client, None),
            (client, Some("")),
            (client, Some("nobody%20here")),
            (client, Some("%3Cscript%3E")),
            (address, None),
            (address, Some("")),
            (address, Some("%2Fcallback")),
            (address, Some("http%3A%2F%2Fexample.com%2Fcb")),
            (address, Some("http%3A%2F%2Flocalhost.example.com%2Fcb")),
            (address, Some("https%3A%2F%2Fexample.com%2Fcb%23fragment")),
            (address, Some("javascript%3Aalert(1)")),
            (address, Some("https%3A%2F%2Fgood.example%40evil.example%2Fcb")),
        ] {
            let refused = sim.visit(place, &but(&request, name, value)).await;
            assert_eq!(refused.status, 400, "{} {name}={value:?}", place.name);
            assert!(!refused.headers.contains_key("location") && !refused.body.contains("<script>"));
        }
        let twice = format!("{}?{}&{address}={}", place.authorize, joined(&request), encoded(CALLBACK));
        assert_eq!(sim.get(&twice).await.status, 400);
        let slash = format!("{}/?{}", place.authorize.trim_end_matches('/'), joined(&request));
        let right = place.authorize.ends_with('/');
        assert_eq!(sim.get(&slash).await.status, if right { 302 } else { 404 });
    }
}

#[tokio::test]
async fn what_else_is_wrong_is_told_to_the_client_with_its_state() {
    let sim = start_consenting().await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    for place in STANDARD_ONES {
        for (name, value, error) in [
            ("response_type", None, "invalid_request"),
            ("response_type", Some("token"), "unsupported_response_type"),
            ("response_type", Some("code+id_token"), "unsupported_response_type"),
            ("state", None, "invalid_request"),
            ("state", Some(""), "invalid_request"),
            ("code_challenge", None, "invalid_request"),
            ("code_challenge", Some(VERIFIER), ""),
            ("code_challenge", Some(&challenge[1..]), "invalid_request"),
            ("code_challenge", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM%3D"), "invalid_request"),
            ("code_challenge", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw%2BcM"), "invalid_request"),
            ("code_challenge_method", None, "invalid_request"),
            ("code_challenge_method", Some("plain"), "invalid_request"),
            ("code_challenge_method", Some("s256"), "invalid_request"),
        ] {
            let answered = sim.visit(place, &but(&place.request(), name, value)).await;
            assert_eq!(answered.status, 302, "{} {name}={value:?} {}", place.name, answered.body);
            assert_eq!(
                answered.callback("error").unwrap_or_default(),
                error,
                "{} {name}={value:?}",
                place.name
            );
            let state = answered.callback("state");
            assert_eq!(state.as_deref(), if name == "state" { None } else { Some("s+1/=") });
        }
    }
}

#[tokio::test]
async fn depops_scopes_are_joined_by_an_encoded_plus_and_by_nothing_else() {
    let sim = start_consenting().await;
    for (scope, joined_wrongly) in [
        (Some("products_read+shop_read"), true),
        (Some("products_read%20shop_read"), true),
        (Some("products_read%2B+shop_read"), true),
        (Some("products_read,shop_read"), false),
        (Some("products_read%2Bshop_write"), false),
        (Some("products_read%2B%2Bshop_read"), false),
        (Some("products_read%2B"), false),
        (Some("PRODUCTS_READ"), false),
        (None, false),
    ] {
        let refused = sim.visit(DEPOP, &but(&DEPOP.request(), "scope", scope)).await;
        assert_eq!(refused.callback("error").as_deref(), Some("invalid_scope"), "{scope:?}");
        let recorded = sim.simulator.requests().pop().unwrap();
        let noted = recorded.violations.iter().any(|violation| violation.contains("%2B"));
        assert_eq!((noted, recorded.kind), (joined_wrongly, "consent"), "{scope:?}");
    }
    assert!(sim.visit(DEPOP, &DEPOP.request()).await.callback("code").is_some());
    let unknown = sim.visit(WALLAPOP, &but(&WALLAPOP.request(), "scope", Some("openid+items"))).await;
    assert_eq!(unknown.callback("error").as_deref(), Some("invalid_scope"));
    let unsaid = sim.visit(WALLAPOP, &but(&WALLAPOP.request(), "scope", None)).await;
    assert!(unsaid.callback("code").is_some(), "Wallapop wants no scope to be asked for");
    let leaky = [WALLAPOP.request(), vec![("client_secret", "x".to_owned())]].concat();
    sim.visit(WALLAPOP, &leaky).await;
    assert_eq!(sim.simulator.requests().pop().unwrap().violations.len(), 1, "a secret in an address");
}

/// Twenty addresses that are nearly `CALLBACK`.
const NEAR_MISSES: [&str; 20] = [
    "http://127.0.0.1:7777/callback/",
    "http://127.0.0.1:7777/Callback",
    "http://127.0.0.1:7777/callback?",
    "http://127.0.0.1:7777/callback?x=1",
    "http://127.0.0.1:7777/callback#",
    "http://127.0.0.1:7777//callback",
    "http://127.0.0.1:7777/./callback",
    "http://127.0.0.1:7777/x/../callback",
    "http://127.0.0.1:7777/call%62ack",
    "http://127.0.0.1:7777%2Fcallback",
    "http://127.0.0.1:7778/callback",
    "http://127.0.0.1/callback",
    "http://127.0.0.1:07777/callback",
    "https://127.0.0.1:7777/callback",
    "HTTP://127.0.0.1:7777/callback",
    "http://localhost:7777/callback",
    "http://[::1]:7777/callback",
    "http://app@127.0.0.1:7777/callback",
    "http://127.0.0.1.:7777/callback",
    " http://127.0.0.1:7777/callback",
];

#[tokio::test]
async fn an_address_that_is_nearly_the_registered_one_is_another() {
    let sim = start_consenting().await;
    for place in [DEPOP, WALLAPOP, GENERIC, WALMART] {
        sim.simulator.pin_redirects(place.name, "app", &[CALLBACK, "https://app.example/cb"]);
        assert_eq!(sim.visit(place, &place.request()).await.status, 302);
        let name = if place.name == WALMART.name { "redirectUri" } else { "redirect_uri" };
        for near in NEAR_MISSES {
            let refused = sim.visit(place, &but(&place.request(), name, Some(&encoded(near)))).await;
            assert_eq!(refused.status, 400, "{} {near}", place.name);
        }
    }
}

#[tokio::test]
async fn an_address_that_is_nearly_the_one_asked_with_redeems_no_code() {
    let sim = start_consenting().await;
    for place in STANDARD_ONES {
        for near in NEAR_MISSES {
            let code = sim.code(place).await;
            let form = redemption(&code).replace(&encoded(CALLBACK), &encoded(near));
            let refused = sim.form(place, &form).await;
            assert_eq!((refused.status, refused.text("error").as_str()), (400, "invalid_grant"), "{near}");
            assert_eq!(sim.redeem(place, &code).await.status, 400, "the failed attempt used the code up");
        }
        let code = sim.code(place).await;
        let form = redemption(&code).replace(&format!("&redirect_uri={}", encoded(CALLBACK)), "");
        assert_eq!(sim.form(place, &form).await.status, 400, "an address left out");
    }
    assert_eq!(sim.simulator.families().len(), 0);
}

#[tokio::test]
async fn a_verifier_that_is_nearly_the_right_one_redeems_no_code() {
    let sim = start_consenting().await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let near = [
        VERIFIER[1..].to_owned(),
        format!("{VERIFIER}x"),
        VERIFIER.to_lowercase(),
        VERIFIER.replace('_', "-"),
        format!("{VERIFIER}%3D"),
        format!("%20{VERIFIER}"),
        challenge,
        "x".repeat(42),
        "x".repeat(129),
        String::new(),
    ];
    for (place, error) in
        [(DEPOP, "invalid_request"), (WALLAPOP, "invalid_grant"), (GENERIC, "invalid_grant")]
    {
        for verifier in &near {
            let code = sim.code(place).await;
            let form = redemption(&code).replace(VERIFIER, verifier);
            let refused = sim.form(place, &form).await;
            let expected =
                if verifier.is_empty() && place.name == "generic" { "invalid_request" } else { error };
            assert_eq!((refused.status, refused.text("error").as_str()), (400, expected), "{verifier}");
        }
    }
    let code = sim.code(WALLAPOP).await;
    let refused = sim.form(WALLAPOP, &redemption(&code).replace(VERIFIER, &near[0])).await;
    assert_eq!(refused.text("error_description"), "PKCE verification failed: Code mismatch");
}

#[tokio::test]
async fn a_verifier_of_the_least_and_of_the_greatest_length_is_taken() {
    let sim = start_consenting().await;
    for length in [43, 128] {
        let verifier = "~".repeat(length);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let asked = sim.visit(GENERIC, &but(&GENERIC.request(), "code_challenge", Some(&challenge))).await;
        let form = redemption(&asked.callback("code").unwrap()).replace(VERIFIER, &verifier);
        assert_eq!(sim.form(GENERIC, &form).await.status, 200);
    }
}

#[tokio::test]
async fn a_code_works_once_and_shown_again_ends_what_it_brought() {
    let sim = start_consenting().await;
    for (place, api) in
        [(DEPOP, "/depop/api/v1/shop/"), (WALLAPOP, "/wallapop/items"), (GENERIC, "/generic/api/x")]
    {
        let code = sim.code(place).await;
        let granted = sim.redeem(place, &code).await;
        assert_eq!(sim.get_with(api, &granted.text("access_token")).await.status, 200);
        let replayed = sim.redeem(place, &code).await;
        assert_eq!((replayed.status, replayed.text("error").as_str()), (400, "invalid_grant"));
        assert_eq!(sim.get_with(api, &granted.text("access_token")).await.status, 401);
        assert_eq!(sim.refresh(place, &granted.text("refresh_token")).await.status, 400);
        assert_eq!(sim.family().ended, Some(Ended::CodeReplayed));
    }
}

#[tokio::test]
async fn a_code_belongs_to_a_client_and_to_a_moment() {
    let sim = start_consenting().await;
    for (place, seconds) in [(DEPOP, 600), (WALLAPOP, 60), (GENERIC, 60)] {
        let late = sim.code(place).await;
        sim.simulator.advance(Duration::from_secs(seconds));
        assert_eq!(sim.redeem(place, &late).await.text("error"), "invalid_grant");
        let foreign = sim.code(place).await;
        let form = format!("{}&client_id=other&client_secret=other-secret", redemption(&foreign));
        let request = sim
            .http
            .post(format!("{}{}", sim.origin, place.token))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("user-agent", "x");
        assert_eq!(sim.send(request.body(form)).await.unwrap().text("error"), "invalid_grant");
        assert_eq!(sim.redeem(place, &foreign).await.status, 400);
    }
    let expired = sim.code(WALLAPOP).await;
    sim.simulator.change_policy("wallapop", |policy| policy.code_seconds = 1);
    sim.simulator.advance(Duration::from_secs(59));
    assert_eq!(sim.redeem(WALLAPOP, &expired).await.status, 200, "a code keeps the end it was given");
}

#[tokio::test]
async fn a_client_that_gets_its_secret_wrong_uses_nothing_up() {
    let sim = start_consenting().await;
    for place in STANDARD_ONES {
        let code = sim.code(place).await;
        let wrong = |form: String| {
            let request = sim
                .http
                .post(format!("{}{}", sim.origin, place.token))
                .header("content-type", "application/x-www-form-urlencoded")
                .header("user-agent", "x");
            sim.send(request.body(format!("{form}&client_id=app&client_secret=app-sekret")))
        };
        assert_eq!(wrong(redemption(&code)).await.unwrap().status, 401);
        let granted = sim.redeem(place, &code).await;
        assert_eq!(granted.status, 200);
        assert_eq!(wrong(refresh(&granted.text("refresh_token"))).await.unwrap().status, 401);
        assert_eq!(sim.refresh(place, &granted.text("refresh_token")).await.status, 200);
        assert_eq!(sim.family().shown_again, 1, "shown twice all the same");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_shown_again_ends_its_whole_family() {
    let sim = start().await;
    for (place, api) in
        [(DEPOP, "/depop/api/v1/shop/"), (WALLAPOP, "/wallapop/items"), (GENERIC, "/generic/api/x")]
    {
        let (first, bystander) = (sim.connected(place), sim.connected(place));
        let second = sim.refresh(place, &first).await;
        assert_ne!(second.text("refresh_token"), first);
        let third = sim.refresh(place, &second.text("refresh_token")).await;
        assert_eq!(sim.get_with(api, &third.text("access_token")).await.status, 200);
        let reused = sim.refresh(place, &first).await;
        assert_eq!((reused.status, reused.text("error").as_str()), (400, "invalid_grant"));
        assert_eq!(sim.refresh(place, &third.text("refresh_token")).await.text("error"), "invalid_grant");
        for token in [second.text("access_token"), third.text("access_token")] {
            assert_eq!(sim.get_with(api, &token).await.status, 401);
        }
        assert_eq!(sim.refresh(place, &bystander).await.status, 200, "another consent of the same seller");
        let families = sim.simulator.families();
        let dead = &families[families.len() - 2];
        assert_eq!(dead.ended, Some(Ended::RefreshTokenReused));
        assert_eq!((dead.rotations, dead.reuse_attempts, dead.shown_again), (2, 1, 1));
        assert_eq!(dead.refresh_token, fingerprint(&third.text("refresh_token")));
    }
}

#[tokio::test]
async fn wallapop_says_in_keycloaks_words_what_is_wrong_with_a_refresh_token() {
    let sim = start().await;
    let words = async |token: &str| sim.refresh(WALLAPOP, token).await.text("error_description");
    assert_eq!(words("x").await, "Invalid refresh token");
    let first = sim.connected(WALLAPOP);
    let second = sim.refresh(WALLAPOP, &first).await.text("refresh_token");
    assert_eq!(words(&first).await, "Maximum allowed refresh token reuse exceeded");
    assert_eq!(words(&second).await, "Session doesn't have required client");
    let disconnected = sim.connected(WALLAPOP);
    assert_eq!(sim.simulator.disconnect("wallapop", "shop-7"), 1);
    assert_eq!(words(&disconnected).await, "Session not active");
    let old = sim.connected(WALLAPOP);
    sim.simulator.advance(Duration::from_secs(180 * 86_400));
    assert_eq!(words(&old).await, "Token is not active");
    let foreign = sim.simulator.connect(Connect::new("wallapop", "other", "shop-7")).refresh_token;
    assert!(words(&foreign).await.ends_with("don't match"));
    assert_eq!(words(&sim.connected(DEPOP)).await, "Invalid refresh token", "another marketplace's");
}

#[tokio::test]
async fn tokens_look_as_the_vendors_do_and_say_what_the_vendors_say() {
    let sim = start_consenting().await;
    let depop = sim.redeem(DEPOP, &sim.code(DEPOP).await).await;
    assert!(
        depop.text("access_token").starts_with("pat_") && depop.text("refresh_token").starts_with("prt_")
    );
    assert_eq!((depop.json().get("scope"), &depop.json()["expires_in"]), (None, &json!(3600)));
    let wallapop = sim.redeem(WALLAPOP, &sim.code(WALLAPOP).await).await;
    assert_eq!(wallapop.text("scope"), "openid offline_access");
    assert_eq!(
        (&wallapop.json()["expires_in"], &wallapop.json()["refresh_expires_in"]),
        (&json!(300), &json!(0))
    );
    let token = wallapop.text("access_token");
    let parts: Vec<&str> = token.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!((parts.len(), &claims["sub"], &claims["azp"]), (3, &json!("shop-7"), &json!("app")));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    sim.simulator.change_policy("wallapop", |policy| policy.refresh_expires_in = None);
    let told = sim.refresh(WALLAPOP, &wallapop.text("refresh_token")).await.json();
    let left = told["refresh_expires_in"].as_u64().unwrap();
    assert!((180 * 86_400 - 60..=180 * 86_400).contains(&left), "{left}");
}

#[tokio::test]
async fn an_access_token_tells_whose_it_is_at_each_marketplace_and_in_the_record() {
    let sim = start().await;
    let mut ids = Vec::new();
    for seller in ["shop-7", "shop-8"] {
        sim.simulator.answer_consents(AutoConsent::Allow, Some(seller));
        let token = sim.redeem(DEPOP, &sim.code(DEPOP).await).await.text("access_token");
        assert_eq!(sim.simulator.requests().last().unwrap().seller.as_deref(), Some(seller), "by its code");
        let shop = sim.get_with("/depop/api/v1/shop/", &token).await.json();
        assert_eq!(shop["username"], seller);
        ids.push(shop["id"].clone());
        let token = sim.redeem(WALLAPOP, &sim.code(WALLAPOP).await).await.text("access_token");
        let userinfo = "/wallapop/realms/wallapop-connect/protocol/openid-connect/userinfo";
        assert_eq!(sim.get_with(userinfo, &token).await.text("sub"), seller);
        let token = sim.redeem(GENERIC, &sim.code(GENERIC).await).await.text("access_token");
        assert_eq!(sim.get_with("/generic/api/x", &token).await.text("seller"), seller);
        let recorded = sim.simulator.requests().pop().unwrap();
        assert_eq!((recorded.seller.as_deref(), recorded.account.as_deref()), (Some(seller), Some(seller)));
    }
    assert_ne!(ids[0], ids[1]);
    let unasked = sim.simulator.connect(Connect::new("wallapop", "app", "shop-7")).access_token;
    let userinfo = "/wallapop/realms/wallapop-connect/protocol/openid-connect/userinfo";
    assert_eq!(sim.get_with(userinfo, &unasked).await.status, 403, "openid was not asked for");
}

#[tokio::test]
async fn clients_have_nothing_to_sell_at_depop_and_wallapop() {
    let sim = start().await;
    let depop = sim.form(DEPOP, "grant_type=client_credentials").await;
    assert_eq!((depop.status, depop.text("error").as_str()), (400, "unsupported_grant_type"));
    let wallapop = sim.form(WALLAPOP, "grant_type=client_credentials").await;
    assert_eq!((wallapop.status, wallapop.text("error").as_str()), (401, "unauthorized_client"));
    assert_eq!(sim.form(GENERIC, "grant_type=client_credentials").await.status, 200);
}

#[tokio::test]
async fn within_the_grace_period_a_retry_heals_and_after_it_it_kills() {
    let sim = start().await;
    for brings in [Successor::Fresh, Successor::Same] {
        sim.simulator.change_policy("*", |policy| (policy.grace_seconds, policy.grace_brings) = (10, brings));
        for place in STANDARD_ONES {
            let first = sim.connected(place);
            let lost = sim.refresh(place, &first).await.text("refresh_token");
            sim.simulator.advance(Duration::from_secs(9));
            let retried = sim.refresh(place, &first).await;
            assert_eq!(retried.status, 200);
            assert_eq!(retried.text("refresh_token") == lost, brings == Successor::Same);
            let family = sim.family();
            assert_eq!((family.forgiven, family.reuse_attempts, family.ended), (1, 1, None));
            sim.simulator.advance(Duration::from_secs(1));
            assert_eq!(sim.refresh(place, &first).await.status, 400);
            assert_eq!(sim.refresh(place, &retried.text("refresh_token")).await.status, 400);
            assert_eq!(sim.family().ended, Some(Ended::RefreshTokenReused));
        }
    }
}

#[tokio::test]
async fn a_consent_ends_when_it_must_however_often_its_token_rotates() {
    let sim = start().await;
    for (place, days) in [(DEPOP, 365), (WALLAPOP, 180)] {
        let mut token = sim.connected(place);
        for _ in 0..days - 1 {
            sim.simulator.advance(Duration::from_secs(86_400));
            token = sim.refresh(place, &token).await.text("refresh_token");
        }
        sim.simulator.advance(Duration::from_secs(86_400));
        assert_eq!(sim.refresh(place, &token).await.text("error"), "invalid_grant");
        assert_eq!(sim.family().ended, None, "it is over, nobody ended it");
    }
    let short = Connect { consent_lifetime: Some(5), lifetime: Some(1), ..Connect::new("depop", "app", "x") };
    let grant = sim.simulator.connect(short);
    let granted = sim.refresh(DEPOP, &grant.refresh_token).await;
    assert_eq!((grant.expires_in, &granted.json()["expires_in"]), (1, &json!(1)));
    sim.simulator.advance(Duration::from_secs(5));
    assert_eq!(sim.refresh(DEPOP, &granted.text("refresh_token")).await.status, 400);
}

#[tokio::test]
async fn revocation_ends_a_family_and_only_for_its_own_client() {
    let sim = start().await;
    for (place, path, api) in [
        (WALLAPOP, "/wallapop/realms/wallapop-connect/protocol/openid-connect/revoke", "/wallapop/items"),
        (GENERIC, "/generic/oauth/revoke", "/generic/api/x"),
    ] {
        let revoke = |client: &str, secret: &str, form: &str| {
            let request = sim.http.post(format!("{}{path}", sim.origin)).header("user-agent", "x");
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            sim.send(request.body(format!("{form}&client_id={client}&client_secret={secret}")))
        };
        let grant = sim.simulator.connect(Connect::new(place.name, "app", "shop-7"));
        let form = format!("token={}&token_type_hint=refresh_token", grant.refresh_token);
        assert_eq!(revoke("app", "wrong", &form).await.unwrap().text("error"), "invalid_client");
        assert_eq!(revoke("other", "other-secret", &form).await.unwrap().status, 400);
        assert_eq!(revoke("app", "app-secret", "token=").await.unwrap().status, 400);
        assert_eq!(sim.get(path).await.status, 405);
        assert_eq!(sim.get_with(api, &grant.access_token).await.status, 200);
        assert_eq!(revoke("app", "app-secret", "token=never-seen").await.unwrap().status, 200);
        assert_eq!(revoke("app", "app-secret", &form).await.unwrap().status, 200);
        assert_eq!(sim.get_with(api, &grant.access_token).await.status, 401);
        assert_eq!(sim.refresh(place, &grant.refresh_token).await.status, 400);
        assert_eq!(sim.family().ended, Some(Ended::Revoked));

        let kept = sim.simulator.connect(Connect::new(place.name, "app", "shop-7"));
        let one = format!("token={}", kept.access_token);
        assert_eq!(revoke("other", "other-secret", &one).await.unwrap().status, 400);
        assert_eq!(revoke("app", "app-secret", &one).await.unwrap().status, 200);
        assert_eq!(sim.get_with(api, &kept.access_token).await.status, 401);
        assert_eq!(sim.refresh(place, &kept.refresh_token).await.status, 200, "only the access token ended");
    }
    let recorded = sim.simulator.requests();
    let calls: Vec<_> = recorded.iter().filter(|request| request.kind == "revocation").collect();
    assert!(calls.iter().all(|call| call.body_text.as_deref().is_none_or(|text| !text.contains("eyJ"))));
    let unnamed = sim
        .http
        .post(format!("{}/wallapop/realms/wallapop-connect/protocol/openid-connect/revoke", sim.origin))
        .header("content-type", "application/x-www-form-urlencoded");
    let form = "token=x&client_id=app&client_secret=app-secret";
    assert_eq!(sim.send(unnamed.body(form)).await.unwrap().status, 403, "no User-Agent");
}

#[tokio::test]
async fn faults_after_the_rotation_spend_the_token_and_faults_before_it_do_not() {
    let sim = start().await;
    let status = |status| Fault::Status { status, retry_after: None, body: None };
    for (fault, rotated) in [
        (status(500), false),
        (Fault::Reset {}, false),
        (Fault::Garbage {}, false),
        (Fault::CutAfterRotating {}, true),
        (Fault::StatusAfterRotating { status: 504 }, true),
        (Fault::Cut { after_bytes: 0 }, true),
        (Fault::CutBody { after_bytes: 20 }, true),
    ] {
        let token = sim.connected(DEPOP);
        sim.simulator.add_fault(fault.clone().at("depop").on_token());
        let lost = sim.try_form(DEPOP, &refresh(&token)).await;
        assert!(lost.is_err() || lost.is_ok_and(|reply| !reply.body.contains("prt_")), "{fault:?}");
        assert_eq!(sim.family().rotations, u64::from(rotated), "{fault:?}");
        let retried = sim.refresh(DEPOP, &token).await;
        assert_eq!(retried.status == 400, rotated, "{fault:?}");
        assert_eq!((sim.family().shown_again, sim.family().ended.is_some()), (1, rotated), "{fault:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_after_rotating_is_reset_before_any_byte() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = start().await;
    let token = sim.connected(GENERIC);
    sim.simulator.add_fault(Fault::CutAfterRotating {}.at("generic"));
    let address = sim.origin.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let form = format!("{}&client_id=app&client_secret=app-secret", refresh(&token));
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        GENERIC.token,
        form.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let error = socket.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(sim.family().rotations, 1);
}

#[tokio::test]
async fn a_stalled_marketplace_rotates_though_its_client_has_left() {
    let sim = start().await;
    let token = sim.connected(DEPOP);
    sim.simulator.add_fault(Fault::Stall { before_ms: 50, after_ms: 3_600_000 }.at("depop"));
    let seen = |sim: &Simulator| sim.requests().last().is_some_and(|last| last.body_length.is_some());
    tokio::select! {
        reply = sim.refresh(DEPOP, &token) => panic!("answered {}", reply.status),
        () = sim.simulator.until(seen) => {}
    }
    assert_eq!(sim.family().rotations, 0, "not yet");
    sim.simulator.until(|sim| sim.families()[0].rotations == 1).await;

    sim.simulator.add_fault(Fault::Stall { before_ms: 0, after_ms: 30 }.at("depop"));
    let before = tokio::time::Instant::now();
    let patient = sim.refresh(DEPOP, &sim.connected(DEPOP)).await;
    assert!(patient.status == 200 && before.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn an_early_refresh_may_bring_the_same_access_token() {
    let sim = start().await;
    let grant = sim.simulator.connect(Connect::new("generic", "app", "shop-7"));
    sim.simulator.add_fault(Fault::SameToken {}.at("generic").for_ever());
    sim.simulator.advance(Duration::from_secs(3000));
    let early = sim.refresh(GENERIC, &grant.refresh_token).await;
    assert_eq!(early.text("access_token"), grant.access_token);
    assert!((599..=600).contains(&early.json()["expires_in"].as_u64().unwrap()));
    assert_ne!(early.text("refresh_token"), grant.refresh_token);
    sim.simulator.advance(Duration::from_secs(600));
    let late = sim.refresh(GENERIC, &early.text("refresh_token")).await;
    assert_ne!(late.text("access_token"), grant.access_token);
    assert_eq!(late.json()["expires_in"], 3600);
}

#[tokio::test]
async fn an_answer_of_odd_shape_can_carry_the_tokens_of_a_real_rotation() {
    let sim = start().await;
    let token = sim.connected(GENERIC);
    let body = r#"{"accessToken":"{token}","refreshToken":"{refresh_token}","expires_in":"60"}"#.to_owned();
    sim.simulator.add_fault(Fault::TokenAnswer {
        status: 200,
        content_type: "application/json".into(),
        body,
    });
    let odd = sim.refresh(GENERIC, &token).await;
    assert_eq!(sim.get_with("/generic/api/x", &odd.text("accessToken")).await.text("seller"), "shop-7");
    assert_eq!(sim.refresh(GENERIC, &odd.text("refreshToken")).await.status, 200);
}

#[tokio::test]
async fn the_controls_of_consents_connect_pin_change_and_explain_mistakes() {
    let sim = start().await;
    let consent = sim.control("/sim/consent", json!({"auto": true, "seller": "shop-9"})).await;
    assert_eq!(consent.json(), json!({"auto": true, "seller": "shop-9"}));
    assert_eq!(sim.redeem(GENERIC, &sim.code(GENERIC).await).await.status, 200);
    assert_eq!(sim.family().seller, "shop-9");
    sim.control("/sim/consent", json!({"auto": "deny"})).await;
    let denied = sim.visit(GENERIC, &GENERIC.request()).await;
    assert_eq!((denied.status, denied.callback("error").as_deref()), (302, Some("access_denied")));
    sim.control("/sim/consent", json!({"auto": false})).await;
    let page = sim.visit(GENERIC, &GENERIC.request()).await;
    assert!(page.body.contains("<option>shop-9</option><option>shop-1</option>"), "{}", page.body);

    let pinned =
        json!({"marketplace": "depop", "client_id": "app", "redirect_uris": ["https://app.example/cb"]});
    assert_eq!(sim.control("/sim/clients", pinned).await.json()["clients"][0]["client_id"], "app");
    assert_eq!(sim.visit(DEPOP, &DEPOP.request()).await.status, 400);

    let policy = json!({"marketplace": "wallapop", "access_token_seconds": 1, "grace_seconds": 10});
    let policies = sim.control("/sim/policy", policy).await.json();
    assert_eq!(policies["policies"]["wallapop"]["grace_seconds"], 10);
    assert_eq!(policies["policies"]["depop"]["grace_seconds"], 0);
    let wanted = json!({"marketplace": "wallapop", "client_id": "app", "seller": "shop-7"});
    let grant = sim.control("/sim/grants", wanted).await;
    assert_eq!((grant.text("seller").as_str(), &grant.json()["expires_in"]), ("shop-7", &json!(1)));
    let refreshed = sim.refresh(WALLAPOP, &grant.text("refresh_token")).await;
    assert_eq!(refreshed.json()["expires_in"], 1);
    let families = sim.get("/sim/families?marketplace=wallapop").await;
    assert_eq!((&families.json()["total"], &families.json()["rotations"]), (&json!(1), &json!(1)));
    assert!(!families.body.contains(&refreshed.text("refresh_token")));
    let gone = sim.control("/sim/disconnect", json!({"marketplace": "*", "seller": "shop-7"})).await;
    assert_eq!(gone.json()["disconnected"], 1);
    assert_eq!(sim.get("/sim/families?seller=shop-7").await.json()["families"][0]["ended"], "disconnected");

    for (target, body, mend) in [
        ("/sim/consent", json!({"auto": "maybe"}), "\"deny\""),
        ("/sim/consent", json!({"seller": "a b"}), "a b"),
        ("/sim/policy", json!({"marketplace": "depop", "grace": 3}), "grace_seconds"),
        ("/sim/policy", json!({"grace_seconds": 3}), "marketplace"),
        ("/sim/grants", json!({"marketplace": "walmart-golocal", "client_id": "a"}), "walmart-golocal"),
        ("/sim/grants", json!({"marketplace": "*", "client_id": "a"}), "one marketplace"),
        (
            "/sim/clients",
            json!({"marketplace": "depop", "client_id": "a", "redirect_uris": ["/cb"]}),
            "https",
        ),
        ("/sim/disconnect", json!({"marketplace": "depop"}), "seller"),
    ] {
        let reply = sim.control(target, body).await;
        assert_eq!(reply.status, 400, "{target}");
        assert!(reply.text("error").contains(mend), "{}", reply.body);
    }
    sim.control("/sim/reset", json!(null)).await;
    assert_eq!(sim.get("/sim/families").await.json()["total"], 0);
    assert_eq!(sim.simulator.policy("wallapop").unwrap().access_token_seconds, 300);
    assert_eq!(sim.visit(DEPOP, &DEPOP.request()).await.status, 200);
}

#[tokio::test]
async fn ten_thousand_grants_are_handed_out_at_once() {
    let sim = start().await;
    let wanted = json!({"marketplace": "depop", "client_id": "app", "seller": "s", "count": 10_000});
    let grants = sim.control("/sim/grants", wanted).await.json();
    let grants = grants["grants"].as_array().unwrap();
    assert_eq!((grants.len(), &grants[9_999]["seller"]), (10_000, &json!("s-10000")));
    let last = grants[9_999]["refresh_token"].as_str().unwrap();
    assert_eq!(sim.refresh(DEPOP, last).await.status, 200);
}

#[tokio::test]
async fn a_code_shown_by_many_at_once_founds_one_family_and_ends_it() {
    let sim = start_consenting().await;
    let code = sim.code(GENERIC).await;
    let replies = futures_util::future::join_all((0..8).map(|_| sim.redeem(GENERIC, &code))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(sim.simulator.families().len(), 1);
    assert_eq!(sim.family().ended, Some(Ended::CodeReplayed));
}

#[tokio::test]
async fn depop_lets_a_token_do_what_was_consented_to_and_nothing_else() {
    let sim = start().await;
    let token = |scope: &str| {
        let connect = Connect { scope: scope.to_owned(), ..Connect::new("depop", "app", "shop-7") };
        sim.simulator.connect(connect).access_token
    };
    let (reads, all) = (token("products_read"), token(""));
    assert_eq!(sim.get_with("/depop/api/v1/products/", &reads).await.status, 200);
    let refused = sim.get_with("/depop/api/v1/shop/", &reads).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (403, &json!("insufficient_scope")));
    assert_eq!(sim.get_with("/depop/api/v1/shop/", &all).await.status, 200);
    let put = sim.http.put(format!("{}/depop/api/v1/products/by-sku/a/", sim.origin)).bearer_auth(&reads);
    assert!(sim.send(put.body("{}")).await.unwrap().body.contains("products_write"));
}

#[tokio::test]
async fn an_authorization_endpoint_that_fails_shows_a_page() {
    let sim = start_consenting().await;
    let fault = Fault::Status { status: 503, retry_after: None, body: None };
    sim.simulator.add_fault(fault.at("depop").on_consent());
    let down = sim.visit(DEPOP, &DEPOP.request()).await;
    assert_eq!(
        (down.status, &down.headers["content-type"]),
        (503, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert_eq!(sim.visit(DEPOP, &DEPOP.request()).await.status, 302);
}

#[tokio::test]
async fn the_program_can_be_started_consenting_and_forgiving_and_stays_so_after_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["sim", "--listen", "127.0.0.1:0", "--auto-consent", "--grace", "10"];
    let program = Program::start(folder.path(), &arguments);
    let origin = program.says("\n").trim().to_owned();
    let sim = Sim { simulator: Simulator::new(0), origin, http: client() };
    for _ in 0..2 {
        let first = sim.redeem(GENERIC, &sim.code(GENERIC).await).await.text("refresh_token");
        for _ in 0..2 {
            assert_eq!(sim.refresh(GENERIC, &first).await.status, 200);
        }
        let family = &sim.get("/sim/families").await.json()["families"][0];
        assert_eq!((&family["seller"], &family["forgiven"]), (&json!("shop-1"), &json!(1)));
        sim.control("/sim/reset", json!(null)).await;
    }
    program.end("TERM");
}
