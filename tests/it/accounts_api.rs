//! The accounts API over real sockets. The rule: every document is held against the description, every refusal against its
//! code, and what must not have been spent is counted at the marketplace.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use marketgate::{
    admin::{access::Needs, router::ROUTES},
    sim::{AutoConsent, Connect},
    store::MemoryStore,
};
use serde_json::{Value, json};

use crate::{
    api_shapes::assert_is,
    harness::{Answer, Time, World, gate_keeping, settle},
    moody::Moody,
    wire::Wire,
};

pub(crate) const APPS: &str = r#"
[apps.wallapop]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "app"
client_secret = "app-secret"
redirect_uri = "https://yourapp.test/callback"
[apps.sellers]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
credentials = "per-account"
[apps.any]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
client_id = "any-1"
client_secret = "any-1-secret"
"#;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<World>) -> F) {
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), test);
}

impl World {
    async fn asked(&self, method: &str, path: &str) -> Answer {
        self.send(self.to_admin(method, path)).await
    }

    pub(crate) async fn told(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(typed(self.to_admin(method, path), "application/json", body.to_string())).await
    }

    async fn imported(&self, parameters: &str, lines: &str) -> Answer {
        let request = self.to_admin("POST", &format!("/api/imports?app=wallapop{parameters}"));
        self.send(typed(request, "application/x-ndjson", lines.to_owned())).await
    }

    /// Begins a consent and has the seller answer; the address at which the browser ends up.
    pub(crate) async fn consented(&self, account: &str) -> (Value, String) {
        let begun = self.told("POST", "/api/consents", &json!({ "account": account })).await;
        assert_eq!(begun.status, 201, "{}", begun.body);
        let begun = begun.json();
        let callback = self.visited(begun["authorize_url"].as_str().unwrap()).await;
        (begun, callback)
    }

    /// Where the marketplace's page sends the browser.
    pub(crate) async fn visited(&self, authorize_url: &str) -> String {
        let page = self.send(self.http.get(authorize_url)).await;
        assert_eq!(page.status, 302, "{}", page.body);
        page.headers["location"].to_str().unwrap().to_owned()
    }

    fn refresh_token(&self, seller: &str) -> String {
        self.sim.connect(Connect::new("wallapop", "app", seller)).refresh_token
    }
}

fn typed(request: reqwest::RequestBuilder, content_type: &str, body: String) -> reqwest::RequestBuilder {
    request.header("content-type", content_type).body(body)
}

fn line(account: &str, refresh_token: &str) -> String {
    json!({ "account": account, "refresh_token": refresh_token }).to_string() + "\n"
}

fn refusal(answer: &Answer) -> (u16, String) {
    assert_is("Problem", &answer.json());
    (answer.status, answer.code())
}

fn outcomes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let report = answer.json();
    assert_is("ImportReport", &report);
    let results = report["results"].as_array().unwrap();
    results
        .iter()
        .map(|line| line["outcome"].as_str().or(line["code"].as_str()).unwrap().to_owned())
        .collect()
}

#[test]
fn a_keeper_that_breaks_costs_one_refresh_and_the_next_request_starts_another() {
    let store = Arc::new(Moody::default());
    let moody = store.clone();
    gate_keeping(Time::Runs, APPS, store, async |w| {
        w.sim.answer_consents(AutoConsent::Allow, Some("shop-1"));
        let (_, callback) = w.consented("wallapop@shop-1").await;
        let connected = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
        assert_eq!(connected.status, 200, "{}", connected.body);
        assert_eq!(w.get("/wallapop@shop-1/items").await.status, 200);
        let path = "/api/accounts/wallapop/shop-1";
        let generation = w.asked("GET", path).await.json()["token"]["generation"].as_u64().unwrap();
        moody.breaks.store(true, SeqCst);
        let broken = w.asked("POST", &format!("{path}/refresh")).await;
        assert_ne!(broken.json()["state"], "ready", "{}", broken.body);
        assert!(!moody.breaks.load(SeqCst));
        let mended = w.asked("POST", &format!("{path}/refresh")).await;
        assert_eq!(mended.json()["token"]["generation"].as_u64(), Some(generation + 1), "{}", mended.body);
        assert_eq!(w.get("/wallapop@shop-1/items").await.status, 200);
    });
}

#[test]
fn an_account_lives_from_its_consent_to_its_removal_by_the_api_alone() {
    run(async |w| {
        let path = "/api/accounts/wallapop/shop-1";
        assert_eq!(refusal(&w.asked("GET", path).await), (400, "no_such_account".into()));
        w.sim.answer_consents(AutoConsent::Allow, Some("shop-1"));
        let (begun, callback) = w.consented("wallapop@shop-1").await;
        assert_is("ConsentBegun", &begun);
        let consent = format!("/api/consents/{}", begun["id"].as_str().unwrap());
        let pending = w.asked("GET", &consent).await.json();
        assert_is("Consent", &pending);
        assert_eq!(pending["state"], "pending");

        let connected = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
        assert_eq!(connected.status, 200, "{}", connected.body);
        assert_is("Connected", &connected.json());
        let stands = w.asked("GET", &format!("{consent}?wait=5")).await.json();
        assert_is("Consent", &stands);
        assert_eq!(
            (&stands["state"], &stands["connected"]["identity"]),
            (&json!("connected"), &json!("shop-1"))
        );

        assert_eq!(w.get("/wallapop@shop-1/items").await.status, 200);
        let shown = w.asked("GET", &format!("{path}?wait=5")).await.json();
        assert_is("Account", &shown);
        assert_eq!((&shown["state"], &shown["identity"]), (&json!("ready"), &json!("shop-1")));
        let refreshed = w.asked("POST", &format!("{path}/refresh")).await.json();
        assert_is("Account", &refreshed);
        assert!(refreshed["token"]["generation"].as_u64() > shown["token"]["generation"].as_u64());
        assert_eq!(refusal(&w.asked("POST", &format!("{path}/resume")).await), (409, "not_parked".into()));

        let token = w.send(w.to_control("POST", &format!("{path}/token"))).await;
        assert_is("AccessToken", &token.json());
        assert_eq!(token.json()["prefix"], "Bearer ");
        assert_eq!(token.headers["cache-control"], "no-store");
        let exported = w.send(w.to_control("POST", &format!("{path}/export"))).await;
        assert_is("Exported", &exported.json());
        assert_eq!(exported.headers["cache-control"], "no-store");
        let after = w.asked("GET", path).await.json();
        assert_eq!((&after["state"], &after["reason"]), (&json!("login_required"), &json!("exported")));

        let out = w.asked("POST", &format!("{path}/logout")).await.json();
        assert_is("LoggedOut", &out);
        assert_eq!(out, json!({ "revoked": true, "why_not": null }));
        assert_eq!(w.asked("DELETE", path).await.status, 204);
        assert_eq!(refusal(&w.asked("DELETE", path).await), (400, "no_such_account".into()));
        assert!(w.sim.requests().iter().all(|request| request.violations.is_empty()));
    });
}

#[test]
fn a_grant_is_put_once_and_then_unchanged() {
    run(async |w| {
        let (path, grant) =
            ("/api/accounts/wallapop/shop-1", json!({ "refresh_token": w.refresh_token("shop-1") }));
        let rehearsed = w.told("PUT", &format!("{path}?dry_run=true"), &grant).await;
        assert_is("PutReport", &rehearsed.json());
        assert_eq!(
            (rehearsed.status, rehearsed.json()),
            (200, json!({ "outcome": "created", "account": null }))
        );
        for (status, outcome) in [(201, "created"), (200, "unchanged")] {
            let put = w.told("PUT", path, &grant).await;
            assert_is("PutReport", &put.json());
            assert_eq!((put.status, put.json()["outcome"].as_str()), (status, Some(outcome)));
        }
        let other = w.told("PUT", "/api/accounts/wallapop/shop-2", &grant).await;
        assert_eq!(refusal(&other), (409, "seen_before".into()));
        assert_eq!(other.json()["account"], "shop-2");
        let named =
            json!({ "app": "wallapop", "account": "shop-1", "refresh_token": w.refresh_token("shop-1") });
        assert_eq!(w.told("PUT", path, &named).await.json()["outcome"], "replaced");
        let wrong = json!({ "account": "shop-3", "refresh_token": "x" });
        assert_eq!(refusal(&w.told("PUT", path, &wrong).await), (400, "invalid".into()));
        let written = w.told("PUT", "/api/accounts/any/default", &json!({ "client_id": "x" })).await;
        assert_eq!(refusal(&written).0, 400);
        let key_pair = json!({ "client_id": "seller-9", "client_secret": "seller-9-secret" });
        assert_eq!(w.told("PUT", "/api/accounts/sellers/shop-9", &key_pair).await.status, 201);
        assert_eq!(w.get("/sellers@shop-9/echo").await.status, 200);
        assert_eq!(
            refusal(&w.told("PUT", "/api/accounts/none/x", &grant).await),
            (400, "no_such_app".into())
        );
        assert_eq!(
            refusal(&w.asked("DELETE", "/api/accounts/any/default").await),
            (409, "written_in_configuration".into())
        );
    });
}

#[test]
fn a_thousand_lines_are_taken_in_once_and_then_unchanged() {
    run(async |w| {
        let mut lines = String::new();
        for number in 0..1000 {
            let shop = format!("shop-{number}");
            lines += &line(&shop, &w.refresh_token(&shop));
        }
        let first = outcomes(&w.imported("", &lines).await);
        assert!(first.len() == 1000 && first.iter().all(|outcome| outcome == "created"));
        let again = outcomes(&w.imported("", &lines).await);
        assert!(again.len() == 1000 && again.iter().all(|outcome| outcome == "unchanged"));
        let unknown = w.asked("GET", "/api/accounts?state=login-required").await;
        assert_eq!(unknown.status, 400, "{}", unknown.body);
        assert!(unknown.body.contains("logged_out, login_required"), "{}", unknown.body);
        assert_eq!(
            w.asked("GET", "/api/accounts?app=wallapop&limit=10000").await.json()["accounts"]
                .as_array()
                .unwrap()
                .len(),
            1000
        );
        let renamed = lines.lines().next().unwrap().replace("shop-0", "other");
        assert_eq!(outcomes(&w.imported("", &renamed).await), ["seen_before"]);
        let one_more = format!("{lines}{}", line("shop-1000", "x"));
        assert_eq!(refusal(&w.imported("", &one_more).await), (413, "body_too_large".into()));
        assert_eq!(w.sim.token_calls("*"), 0, "an import spends nothing");
    });
}

#[test]
fn a_bad_line_stops_no_other_and_its_secret_is_not_shown() {
    run(async |w| {
        let (good, shared) = (w.refresh_token("shop-1"), w.refresh_token("shop-2"));
        let lines = [
            line("shop-1", &good),
            "\n".into(),
            "{\"account\":\"shop-x\",\"refresh_token\":\"hidden-secret\n".into(),
            "{\"refresh_token\":\"hidden-secret\"}\n".into(),
            "{\"account\":\"a b\",\"refresh_token\":\"hidden-secret\"}\n".into(),
            "{\"account\":\"shop-y\",\"refresh_tokn\":\"hidden-secret\"}\n".into(),
            "{\"account\":\"shop-z\",\"refresh_token\":\"hidden-secret\",\"colour\":\"hidden-secret\"}\n"
                .into(),
            line("shop-1", &w.refresh_token("shop-1")),
            line("shop-2", &shared),
            line("shop-3", &shared),
            "[]".into(),
        ]
        .concat();
        let answer = w.imported("", &lines).await;
        let expected = [
            "created",
            "invalid",
            "invalid",
            "invalid",
            "invalid",
            "invalid",
            "twice",
            "created",
            "seen_before",
            "invalid",
        ];
        assert_eq!(outcomes(&answer), expected, "{}", answer.body);
        assert!(!answer.body.contains("hidden-secret"), "{}", answer.body);
        let report = answer.json();
        assert_eq!(
            (&report["results"][1]["line"], &report["results"][1]["account"]),
            (&json!(3), &json!(null))
        );
        assert_eq!(report["results"][6]["account"], "shop-1");
    });
}

#[test]
fn an_import_that_is_to_be_validated_tells_the_state_of_each_account() {
    run(async |w| {
        let lines = line("shop-1", &w.refresh_token("shop-1")) + &line("shop-2", "never-issued");
        let rehearsed = outcomes(&w.imported("&dry_run=true", &lines).await);
        assert_eq!((rehearsed, w.sim.token_calls("*")), (vec!["created".into(), "created".into()], 0));
        let answer = w.imported("&validate=now", &lines).await;
        assert_eq!(outcomes(&answer), ["created", "created"]);
        let results = answer.json()["results"].clone();
        assert_eq!((&results[0]["state"], results[0].get("trouble")), (&json!("ready"), None));
        assert_eq!(results[1]["state"], "login_required");
        assert!(
            results[1]["trouble"]["action"].as_str().unwrap().contains("marketgate login wallapop@shop-2")
        );
        for wrong in ["&validate=later", "&validate=now&dry_run=true", "&app=wallapop", "&colour=red"] {
            assert_eq!(refusal(&w.imported(wrong, &lines).await), (400, "bad_request".into()), "{wrong}");
        }
        let nowhere = typed(w.to_admin("POST", "/api/imports"), "application/x-ndjson", lines);
        assert_eq!(refusal(&w.send(nowhere).await), (400, "bad_request".into()));
    });
}

/// A request for every route, with a body where it takes one.
fn every_route(w: &World) -> Vec<(&'static marketgate::admin::router::Route, reqwest::RequestBuilder)> {
    let request = |route: &'static marketgate::admin::router::Route| {
        let path =
            route.path.replace("{app}", "wallapop").replace("{account}", "nobody").replace("{id}", "x");
        let request = w.to_admin(route.method.as_str(), &path);
        let content_type = route.body.types().first();
        (
            route,
            content_type
                .map_or_else(|| w.to_admin(route.method.as_str(), &path), |t| typed(request, t, "{}".into())),
        )
    };
    // One would end the program.
    ROUTES.iter().filter(|route| route.path != "/api/stop").map(request).collect()
}

#[test]
fn without_keys_everything_is_allowed_but_to_take_secrets_out() {
    run(async |w| {
        for (route, request) in every_route(&w) {
            let answer = w.send(request).await;
            let secret = route.path.ends_with("/export")
                || route.path.ends_with("/token")
                || route.path.starts_with("/api/store/");
            let refused = (answer.status, answer.code().as_str()) == (403, "not_allowed");
            assert_eq!(refused, secret, "{} {}: {}", route.method, route.path, answer.body);
        }
    });
}

#[test]
fn each_key_may_what_it_allows_and_nobody_else_anything() {
    use marketgate::config::settings::Permission;
    let keys: Vec<(&str, Vec<Permission>)> = vec![
        ("reader", vec![Permission::AccountsRead]),
        ("writer", vec![Permission::AccountsWrite, Permission::AccountsRead, Permission::ConsentsWrite]),
        ("exporter", vec![Permission::AccountsExport]),
        ("seller-desk", vec![Permission::ConsentsWrite]),
    ];
    let written: String = keys
        .iter()
        .map(|(name, allow)| {
            let key = format!("{name}-key-{}", "k".repeat(32));
            format!("keys.{name} = {{ key = \"{key}\", allow = [\"{}\"] }}\n", allow[0].as_str())
        })
        .collect();
    let configuration = format!("{APPS}[admin]\n{written}");
    gate_keeping(Time::Runs, &configuration, Arc::new(MemoryStore::new()), async |w| {
        for (route, request) in every_route(&w) {
            let wanted = match route.needs {
                Needs::Permission(wanted) => wanted,
                Needs::Control => {
                    let answer = w.send(request).await;
                    assert_eq!(refusal(&answer), (403, "not_allowed".into()), "{}", route.path);
                    continue;
                }
                Needs::Nothing | Needs::Address | Needs::NoPage => {
                    assert_eq!(w.send(request).await.status, 200, "{} is open", route.path);
                    continue;
                }
            };
            let nobody = w.send(request).await;
            assert_eq!(refusal(&nobody), (401, "caller_unknown".into()), "{}", route.path);
            assert!(nobody.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            for (name, allowed) in &keys {
                let key = format!("{name}-key-{}", "k".repeat(32));
                let again =
                    every_route(&w).into_iter().find(|(other, _)| std::ptr::eq(*other, route)).unwrap().1;
                let answer = w.send(again.bearer_auth(key).header("host", "gate.internal:8081")).await;
                let refused = (answer.status, answer.code().as_str()) == (403, "not_allowed");
                assert_eq!(
                    refused,
                    !allowed.contains(&wanted),
                    "{name} {} {}: {}",
                    route.method,
                    route.path,
                    answer.body
                );
            }
            let stranger =
                every_route(&w).into_iter().find(|(other, _)| std::ptr::eq(*other, route)).unwrap().1;
            assert_eq!(refusal(&w.send(stranger.bearer_auth("guessed")).await).0, 401);
        }
        let own_header = w
            .to_admin("GET", "/api/accounts")
            .header("marketgate-key", format!("reader-key-{}", "k".repeat(32)));
        assert_eq!(w.send(own_header).await.status, 200);
    });
}

#[test]
fn no_web_page_gets_in_whatever_it_asks_for_and_none_is_told_that_it_may() {
    run(async |w| {
        for mark in [
            ("origin", "https://evil.test"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            for (route, request) in every_route(&w) {
                let answer = w.send(request.header(mark.0, mark.1)).await;
                let cors = answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
                assert!(!cors, "{} {:?}", route.path, answer.headers);
                if route.path.starts_with("/api/") || route.path == "/" {
                    assert_eq!(
                        (answer.status, answer.code().as_str()),
                        (403, "browser_refused"),
                        "{mark:?} {}",
                        route.path
                    );
                }
            }
        }
        for (route, _) in every_route(&w) {
            let preflight = w.asked("OPTIONS", route.path).await;
            assert_eq!(refusal(&preflight), (405, "wrong_method".into()));
            assert!(preflight.headers.contains_key("allow"));
        }
        let rebound = w.to_admin("POST", "/api/accounts/wallapop/x/logout").header("host", "evil.test");
        assert_eq!(refusal(&w.send(rebound).await), (403, "host_refused".into()));
    });
}

#[test]
fn a_body_must_be_typed_bounded_and_json() {
    run(async |w| {
        let (path, good) = ("/api/accounts/wallapop/shop-1", "{\"refresh_token\":\"x\"}");
        let put = |content_type: &str, body: &str| {
            w.send(typed(w.to_admin("PUT", path), content_type, body.to_owned()))
        };
        for other in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            assert_eq!(refusal(&put(other, good).await), (415, "wrong_type".into()), "{other}");
        }
        assert_eq!(refusal(&w.send(w.to_admin("PUT", path).body(good)).await), (415, "wrong_type".into()));
        for (body, code) in
            [("{", "bad_request"), ("[]", "bad_request"), ("", "bad_request"), ("{}", "invalid")]
        {
            assert_eq!(refusal(&put("application/json", body).await), (400, code.into()), "{body}");
        }
        let twice = "{\"refresh_token\":\"a\",\"refresh_token\":\"b\"}";
        assert_eq!(
            refusal(&put("application/json; charset=utf-8", twice).await),
            (400, "bad_request".into())
        );
        let huge = format!("{{\"refresh_token\":\"{}\"}}", "x".repeat(64 * 1024));
        assert_eq!(refusal(&put("application/json", &huge).await), (413, "body_too_large".into()));
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(huge)]);
        let chunked = w.to_admin("PUT", path).header("content-type", "application/json");
        let chunked = w.send(chunked.body(reqwest::Body::wrap_stream(pieces))).await;
        assert_eq!(refusal(&chunked), (413, "body_too_large".into()));
        let many = "\n".repeat(4 * 1024 * 1024 + 1);
        assert_eq!(refusal(&w.imported("", &many).await), (413, "body_too_large".into()));
        let unwanted = w.told("POST", &format!("{path}/logout"), &json!({})).await;
        assert_eq!(refusal(&unwanted), (400, "bad_request".into()));
        for (body, hint) in [
            (json!({ "acount": "wallapop" }), "account, replace_identity"),
            (json!({ "account": 7 }), "account"),
            (json!({ "account": "a@b@c" }), "APP@ACCOUNT"),
            (json!({ "account": "wallapop", "replace_identity": "yes" }), "true or false"),
        ] {
            let refused = w.told("POST", "/api/consents", &body).await;
            assert_eq!(refusal(&refused), (400, "bad_request".into()));
            assert!(refused.json()["action"].as_str().unwrap().contains(hint), "{}", refused.body);
        }
        let misspelt = w.asked("POST", &format!("{path}/refresh?wiat=1")).await;
        assert_eq!(refusal(&misspelt), (400, "bad_request".into()));
        assert_eq!(misspelt.json()["action"], "known are: wait");
        assert_eq!(refusal(&w.asked("GET", "/api/consents/unheard-of").await), (400, "bad_request".into()));
        assert_eq!(w.sim.token_calls("*"), 0);
    });
}

#[test]
fn a_body_that_dribbles_in_is_given_up() {
    gate_keeping(Time::Held, APPS, Arc::new(MemoryStore::new()), async |w| {
        let mut wire = Wire::to(w.admin).await;
        let head = "PUT /api/accounts/wallapop/x HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                    content-length: 30\r\n\r\n{";
        assert!(wire.write(head.as_bytes()).await);
        for _ in 0..25 {
            settle().await;
            w.pass(Duration::from_secs(1), Duration::from_millis(500)).await;
            // The other side may have given up already.
            let _ = wire.write(b" ").await;
        }
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.code()), (408, "body_too_slow".into()));
    });
}

#[test]
fn the_description_is_served_and_the_index_names_every_route() {
    run(async |w| {
        let served = w.asked("GET", "/api/openapi.json").await;
        assert_eq!(served.json()["openapi"], "3.1.0");
        let index = w.asked("GET", "/").await.body;
        for route in ROUTES {
            assert!(index.contains(route.path), "{}", route.path);
        }
        let listed = w.asked("GET", "/api/accounts?state=ready").await.json();
        assert_is("AccountPage", &listed);
        assert_eq!(listed["accounts"][0]["app"], "any");
    });
}
