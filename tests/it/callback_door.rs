//! Callbacks at the doors' own addresses. The rule: a callback that is not right in everything costs no token call and
//! changes no account, and whatever a page causes by itself is no callback.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use marketgate::{sim::AutoConsent, store::MemoryStore};
use url::Url;

use crate::harness::{Answer, Time, World, gate_keeping};

const APPS: &str = r#"
[apps.wallapop]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "app"
client_secret = "app-secret"
redirect_uri = "http://localhost:PROXY/callback"
[apps.desk]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
client_id = "desk"
client_secret = "desk-secret"
pkce = true
redirect_uri = "http://127.0.0.1:ADMIN/back?tenant=1"
"#;

/// What a browser says of a page that the seller was sent to.
const NAVIGATION: [(&str, &str); 3] =
    [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<World>) -> F) {
    run_in(Time::Runs, APPS, test);
}

fn run_in<F: Future<Output = ()>>(time: Time, apps: &str, test: impl FnOnce(Rc<World>) -> F) {
    gate_keeping(time, apps, Arc::new(MemoryStore::new()), async |w| {
        w.sim.answer_consents(AutoConsent::Allow, Some("shop-1"));
        test(w).await;
    });
}

/// A browser goes to an address; names of this machine lead to the door at that port.
async fn visit(w: &World, address: &str, marks: &[(&str, &str)]) -> Answer {
    let url = Url::parse(address).unwrap();
    let door = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
    let target = &url[url::Position::BeforePath..];
    let request = w
        .http
        .get(format!("http://{door}{target}"))
        .header("host", &url[url::Position::BeforeHost..url::Position::AfterPort]);
    w.send(marks.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

/// A callback, and the page that the browser is sent on to, if it is.
async fn come_back(w: &World, callback: &str) -> Answer {
    let answer = visit(w, callback, &NAVIGATION).await;
    if answer.status != 303 {
        return answer;
    }
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    assert!(!location.contains("code=") && !location.contains("state="), "{location}");
    assert_eq!(
        (&answer.headers["cache-control"], &answer.headers["referrer-policy"]),
        (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
    );
    visit(w, &location, &NAVIGATION).await
}

fn state_of(address: &str) -> String {
    let url = Url::parse(address).unwrap();
    url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

async fn identity(w: &World, account: &str) -> Option<String> {
    let shown = w.admin(&format!("/api/accounts/wallapop/{account}")).await;
    shown.json()["identity"].as_str().map(str::to_owned)
}

fn assert_page(page: &Answer, status: u16, title: &str) {
    assert_eq!(page.status, status, "{}", page.body);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none';"));
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(page.body.contains(&format!("<h1>{title}</h1>")), "{}", page.body);
    assert!(!page.body.contains("<script") && !page.body.contains("src="), "{}", page.body);
}

#[test]
fn a_seller_comes_back_to_the_proxys_own_address_and_code_and_state_leave_the_address_bar() {
    run(async |w| {
        let (begun, callback) = w.consented("wallapop@shop-1").await;
        let page = come_back(&w, &callback).await;
        assert_page(&page, 200, "Connected");
        assert!(page.body.contains("wallapop@shop-1") && !page.body.contains(&state_of(&callback)));
        let consent = w.admin(&format!("/api/consents/{}", begun["id"].as_str().unwrap())).await.json();
        assert_eq!(consent["state"], "connected");
        assert_eq!(
            (w.sim.token_calls("wallapop"), identity(&w, "shop-1").await.as_deref()),
            (1, Some("shop-1"))
        );
        assert_eq!(w.get("/wallapop@shop-1/items").await.status, 200);
        assert!(w.sim.requests().iter().all(|request| request.violations.is_empty()));
    });
}

#[test]
fn an_unknown_a_spent_and_a_doubled_state_cost_no_token_call() {
    run(async |w| {
        let (begun, callback) = w.consented("wallapop@shop-1").await;
        let port = w.proxy.port();
        let never_begun = format!("http://localhost:{port}/callback?code=x&state=mg_{}", "A".repeat(43));
        for bad in [
            never_begun,
            format!("{callback}&state={}", state_of(&callback)),
            format!("{callback}&code=y"),
            format!("{callback}&iss=https://evil.test"),
        ] {
            assert_page(&come_back(&w, &bad).await, 400, "Not connected");
        }
        assert_eq!(w.sim.token_calls("*"), 0);
        let consent = w.admin(&format!("/api/consents/{}", begun["id"].as_str().unwrap())).await.json();
        assert_eq!(consent["state"], "pending", "what could not be read answered nothing");
        assert_page(&come_back(&w, &callback).await, 200, "Connected");
        assert_page(&come_back(&w, &callback).await, 400, "Not connected");
        assert_eq!(w.sim.token_calls("*"), 1);
    });
}

#[test]
fn a_callback_after_the_end_of_its_consent_costs_no_token_call() {
    run_in(Time::Held, APPS, async |w| {
        let (_, callback) = w.consented("wallapop@shop-1").await;
        w.pass(Duration::from_secs(601), Duration::from_secs(1)).await;
        let page = come_back(&w, &callback).await;
        assert_page(&page, 400, "Not connected");
        assert!(page.body.contains("took longer than 10 minutes"), "{}", page.body);
        assert_eq!(w.sim.token_calls("*"), 0);
    });
}

#[test]
fn what_the_marketplace_says_about_a_denial_is_text_on_the_page() {
    run(async |w| {
        let (_, callback) = w.consented("wallapop@shop-1").await;
        let mut denial = Url::parse(&callback).unwrap();
        let issuer = denial.query_pairs().find(|(name, _)| name == "iss").unwrap().1.into_owned();
        let words = "<script> no </script> <img> it said";
        let state = state_of(&callback);
        denial
            .query_pairs_mut()
            .clear()
            .append_pair("error", "access_denied")
            .append_pair("error_description", words)
            .append_pair("state", &state)
            .append_pair("iss", &issuer);
        let page = visit(&w, denial.as_str(), &NAVIGATION).await;
        assert_eq!(page.status, 303);
        let page = visit(&w, page.headers["location"].to_str().unwrap(), &NAVIGATION).await;
        assert_eq!(page.status, 400);
        assert!(
            page.body.contains("did not consent") && page.body.contains("&#60;script&#62; no"),
            "{}",
            page.body
        );
        assert!(!page.body.contains("<script") && !page.body.contains("<img"), "{}", page.body);
        assert_eq!(w.sim.token_calls("*"), 0);
    });
}

#[test]
fn two_logins_at_once_each_connect_their_own_account_whichever_comes_back_first() {
    run(async |w| {
        let (_, one) = w.consented("wallapop@one").await;
        w.sim.answer_consents(AutoConsent::Allow, Some("shop-2"));
        let (_, two) = w.consented("wallapop@two").await;
        let (second, first) = tokio::join!(come_back(&w, &two), come_back(&w, &one));
        assert_page(&first, 200, "Connected");
        assert_page(&second, 200, "Connected");
        assert_eq!(identity(&w, "one").await.as_deref(), Some("shop-1"));
        assert_eq!(identity(&w, "two").await.as_deref(), Some("shop-2"));
    });
}

#[test]
fn a_code_of_another_consent_connects_nobody() {
    run(async |w| {
        let (_, victims) = w.consented("wallapop@victim").await;
        w.sim.answer_consents(AutoConsent::Allow, Some("attacker"));
        let (_, attackers) = w.consented("wallapop@attacker").await;
        let injected = victims.replace(&state_of(&victims), &state_of(&attackers));
        let page = come_back(&w, &injected).await;
        assert_page(&page, 400, "Not connected");
        assert!(page.body.contains("code was not exchanged"), "{}", page.body);
        for account in ["victim", "attacker"] {
            assert_eq!(w.admin(&format!("/api/accounts/wallapop/{account}")).await.status, 400);
        }
    });
}

#[test]
fn what_a_page_fetches_frames_or_posts_is_no_callback_and_spends_no_state() {
    run(async |w| {
        let (_, callback) = w.consented("wallapop@shop-1").await;
        for marks in [
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("origin", "https://evil.test")],
        ] {
            let refused = visit(&w, &callback, &marks).await;
            assert_eq!((refused.status, refused.code().as_str()), (403, "browser_refused"), "{marks:?}");
        }
        let elsewhere = callback.replace("localhost", "127.0.0.1");
        let led_astray = visit(&w, &elsewhere, &NAVIGATION[1..]).await;
        assert_eq!(led_astray.code(), "browser_refused");
        assert!(led_astray.body.contains("must be this very address"), "{}", led_astray.body);
        assert_eq!(visit(&w, &elsewhere, &[]).await.code(), "no_such_app");
        let posted = w
            .http
            .post(callback.replace("localhost", "127.0.0.1"))
            .header("host", format!("localhost:{}", w.proxy.port()));
        assert_eq!(w.send(posted).await.code(), "no_such_app");
        assert_eq!(w.sim.token_calls("*"), 0);
        assert_page(&come_back(&w, &callback).await, 200, "Connected");
        let unknown = format!("http://localhost:{}/callback?done=unheard-of", w.proxy.port());
        assert_page(&come_back(&w, &unknown).await, 400, "Nothing to see");
    });
}

/// What a browser says of a form that the marketplace's page posts.
const POSTED: [(&str, &str); 5] = [
    ("origin", "https://marketplace.test"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("content-type", "application/x-www-form-urlencoded"),
];

/// A form is posted to an address.
async fn post(w: &World, address: &str, form: &str, marks: &[(&str, &str)]) -> Answer {
    let url = Url::parse(address).unwrap();
    let door = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
    let request = w
        .http
        .post(format!("http://{door}{}", &url[url::Position::BeforePath..]))
        .header("host", &url[url::Position::BeforeHost..url::Position::AfterPort])
        .body(form.to_owned());
    w.send(marks.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[test]
fn a_form_that_the_marketplaces_page_posts_is_a_callback_by_the_same_rules() {
    run(async |w| {
        for account in ["wallapop@shop-1", "desk@shop-1"] {
            let (_, callback) = w.consented(account).await;
            let own = if account.starts_with("desk") { "?tenant=1" } else { "" };
            let (address, query) = callback.split_once('?').unwrap();
            let form = query.trim_start_matches("tenant=1&");
            let address = format!("{address}{own}");
            let calls = w.sim.token_calls("*");
            for (at, value) in
                [(2, "no-cors"), (2, "cors"), (3, "iframe"), (4, "text/plain"), (4, "application/json")]
            {
                let mut marks = POSTED;
                marks[at].1 = value;
                let refused = post(&w, &address, form, &marks).await;
                assert!([400, 403, 405].contains(&refused.status), "{value}: {}", refused.body);
                assert!(!refused.body.contains("add the page's origin"), "{value}: {}", refused.body);
            }
            let state = state_of(&callback);
            for bad in [
                format!("{form}&state={state}"),
                format!("{form}&x={}", "x".repeat(9000)),
                "code=x".to_owned(),
            ] {
                assert_page(&post(&w, &address, &bad, &POSTED).await, 400, "Not connected");
            }
            let both = format!("{address}{}state={state}", if own.is_empty() { "?" } else { "&" });
            assert_page(&post(&w, &both, form, &POSTED).await, 400, "Not connected");
            assert_eq!(w.sim.token_calls("*"), calls, "none of it spent the state");

            let answer = post(&w, &address, form, &POSTED).await;
            assert_eq!(answer.status, 303, "{}", answer.body);
            let location = answer.headers["location"].to_str().unwrap().to_owned();
            assert!(!location.contains("code=") && !location.contains("state="), "{location}");
            assert_page(&visit(&w, &location, &NAVIGATION).await, 200, "Connected");
            assert_page(&post(&w, &address, form, &POSTED).await, 400, "Not connected");
        }
    });
}

#[test]
fn a_programs_own_form_to_an_apps_path_is_a_request_like_any_other() {
    let routed = APPS.replace("PROXY/callback", "PROXY/wallapop/callback");
    run_in(Time::Runs, &routed, async |w| {
        let (_, callback) = w.consented("wallapop@default").await;
        let (address, form) = callback.split_once('?').unwrap();
        let theirs = post(&w, address, form, &POSTED[4..]).await;
        assert_eq!(theirs.code(), "no_such_account", "it would be sent on: {}", theirs.body);
        assert_eq!(post(&w, address, form, &POSTED).await.status, 303);
        assert_eq!(w.get("/wallapop/items").await.status, 200);
    });
}

#[test]
fn whoever_comes_back_to_a_wrong_address_is_not_told_to_let_the_marketplace_in() {
    run(async |w| {
        let port = w.proxy.port();
        for path in ["/callback?code=x&state=y", "/oauth2/return?code=x&state=y", "/cb", "/login-callback"] {
            let address = format!("http://localhost:{port}{path}");
            for marks in [&NAVIGATION[..], &POSTED[..4]] {
                let refused = visit(&w, &address, marks).await;
                if refused.code() == "browser_refused" {
                    let action = refused.json()["action"].as_str().unwrap().to_owned();
                    assert!(
                        action.contains("`redirect_uri`") && action.contains("never to be added"),
                        "{path}: {action}"
                    );
                }
            }
            let posted = post(&w, &address, "code=x", &POSTED).await;
            assert!(!posted.body.contains("add the page's origin"), "{path}: {}", posted.body);
        }
    });
}

#[test]
fn a_callback_to_the_admin_door_needs_no_key_and_keeps_the_addresss_own_query() {
    let keys = "[admin]\nkeys.ops = { key = \"ops-key-0123456789abcdef0123456789\", allow = [\"accounts:write\"] }\n\
                [callers.job]\nkey = \"job-key-0123456789abcdef0123456789\"\n";
    run_in(Time::Runs, &format!("{APPS}{keys}"), async |w| {
        let key = "ops-key-0123456789abcdef0123456789";
        for app in ["desk", "wallapop"] {
            let body = serde_json::json!({ "account": app });
            let begun = w
                .send(
                    w.to_admin("POST", "/api/consents")
                        .bearer_auth(key)
                        .header("content-type", "application/json")
                        .body(body.to_string()),
                )
                .await;
            let callback = w.visited(begun.json()["authorize_url"].as_str().unwrap()).await;
            assert_page(&come_back(&w, &callback).await, 200, "Connected");
        }
        let theirs = format!("http://127.0.0.1:{}/back?tenant=1&code=x&state=theirs", w.admin.port());
        assert_eq!(visit(&w, &theirs, &NAVIGATION).await.code(), "bad_request");
    });
}
