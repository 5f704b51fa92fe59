//! A logout ends the grant at the server: the refresh token is kept and shown to the revocation endpoint until that confirms.

use std::{rc::Rc, sync::Arc, time::Duration};

use marketgate::{
    sim::{AutoConsent, Fault},
    store::MemoryStore,
};
use serde_json::{Value, json};

use crate::{
    harness::{Time, World, gate_keeping, settle},
    program::PATIENCE,
    sellers::Desk,
};

const APPS: &str = r#"
[apps.any]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
revoke_url = "SIM/generic/oauth/revoke"
client_id = "any-1"
client_secret = "any-1-secret"
redirect_uri = "https://yourapp.test/any"
[apps.mute]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
client_id = "mute-1"
client_secret = "mute-1-secret"
redirect_uri = "https://yourapp.test/mute"
"#;

async fn connect(w: &World, account: &str, seller: &str) {
    w.sim.answer_consents(AutoConsent::Allow, Some(seller));
    let (_, callback) = w.consented(account).await;
    let connected = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
    assert_eq!(connected.status, 200, "{}", connected.body);
}

async fn asked(w: &World, method: &str, path: &str) -> Value {
    let answer = w.send(w.to_admin(method, path)).await;
    if answer.body.is_empty() { json!(answer.status) } else { answer.json() }
}

/// Whether the marketplace has ended the grant of that seller.
fn is_ended(w: &World, seller: &str) -> bool {
    let family = w.sim.families().into_iter().find(|family| family.seller == seller).unwrap();
    family.ended.is_some()
}

async fn until(w: &World, what: &str, met: impl Fn(&World) -> bool) {
    for _ in 0..600 {
        if met(w) {
            return;
        }
        w.pass(Duration::from_secs(1), Duration::from_millis(500)).await;
        settle().await;
    }
    panic!("{what} did not come");
}

fn outage(w: &World) {
    let down = Fault::Status { status: 503, retry_after: None, body: None };
    w.sim.add_fault(down.at("generic").on_revocation().for_ever());
}

#[test]
fn a_generic_servers_grant_is_revoked_where_its_address_is_known() {
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), async |w| {
        connect(&w, "any@shop", "seller-1").await;
        let out = asked(&w, "POST", "/api/accounts/any/shop/logout").await;
        assert_eq!(out, json!({ "revoked": true, "why_not": null }));
        assert!(is_ended(&w, "seller-1"));
        connect(&w, "mute@shop", "seller-2").await;
        let out = asked(&w, "POST", "/api/accounts/mute/shop/logout").await;
        assert_eq!(out["revoked"], false);
        assert!(out["why_not"].as_str().unwrap().contains("write revoke_url in [apps.mute]"), "{out}");
        assert!(!is_ended(&w, "seller-2"));
    });
}

#[test]
fn a_revocation_that_fails_is_kept_shown_and_repeated_until_the_server_confirms_it() {
    gate_keeping(Time::Held, APPS, Arc::new(MemoryStore::new()), async |w: Rc<World>| {
        connect(&w, "any@shop", "seller-1").await;
        outage(&w);
        let out = asked(&w, "POST", "/api/accounts/any/shop/logout").await;
        assert_eq!((&out["revoked"], &out["pending"]), (&json!(false), &json!(true)), "{out}");
        let shown = asked(&w, "GET", "/api/accounts/any/shop").await;
        assert_eq!((&shown["state"], &shown["reason"]), (&json!("login_required"), &json!("logged_out")));
        assert!(shown["notices"][0].as_str().unwrap().contains("not revoked"), "{shown}");
        let refused = asked(&w, "DELETE", "/api/accounts/any/shop").await;
        assert_eq!(refused["code"], "revocation_pending", "{refused}");

        w.pass(Duration::from_secs(30), Duration::from_millis(500)).await;
        let tries = w.sim.requests().iter().filter(|r| r.kind == "revocation").count();
        assert!((3..=8).contains(&tries), "with pauses that grow: {tries}");
        assert!(!is_ended(&w, "seller-1"));
        w.sim.clear_faults();
        until(&w, "the revocation", |w| is_ended(w, "seller-1")).await;
        let shown = asked(&w, "GET", "/api/accounts/any/shop").await;
        assert!(shown.get("notices").is_none(), "{shown}");
        let tries = w.sim.requests().iter().filter(|r| r.kind == "revocation").count();
        w.pass(Duration::from_secs(600), Duration::from_secs(5)).await;
        assert_eq!(
            w.sim.requests().iter().filter(|r| r.kind == "revocation").count(),
            tries,
            "once is enough"
        );
        assert_eq!(asked(&w, "DELETE", "/api/accounts/any/shop").await, json!(204));
    });
}

#[test]
fn a_server_that_says_by_an_error_that_the_token_is_over_has_confirmed_it() {
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), async |w| {
        for (number, description, is_over) in
            [(1, "Token expired or revoked", true), (2, "issued to another client", false)]
        {
            let account = format!("any@shop-{number}");
            connect(&w, &account, &format!("seller-{number}")).await;
            let body = json!({ "error": "invalid_token", "error_description": description }).to_string();
            let refused =
                Fault::TokenAnswer { status: 400, content_type: "application/json".to_owned(), body };
            w.sim.add_fault(refused.at("generic").on_revocation());
            let out = asked(&w, "POST", &format!("/api/accounts/any/shop-{number}/logout")).await;
            assert_eq!(out["revoked"], is_over, "{out}");
        }
    });
}

#[test]
fn a_revocation_that_failed_is_taken_up_by_the_next_process() {
    let store = Arc::new(MemoryStore::new());
    let kept = store.clone();
    let mut token = None;
    gate_keeping(Time::Runs, APPS, store, async |w| {
        connect(&w, "any@shop", "seller-1").await;
        outage(&w);
        let out = asked(&w, "POST", "/api/accounts/any/shop/logout").await;
        assert_eq!(out["pending"], true, "{out}");
        token = w.sim.requests().into_iter().rfind(|r| r.kind == "revocation").and_then(|r| r.body_text);
    });
    gate_keeping(Time::Runs, APPS, kept, async |w| {
        let mut arrivals = w.sim.on_request();
        while w.sim.requests().iter().all(|r| r.kind != "revocation") {
            crate::wire::soon("a revocation", arrivals.changed()).await.unwrap();
        }
        let asked = w.sim.requests().into_iter().find(|r| r.kind == "revocation").unwrap();
        assert_eq!(asked.body_text, token, "the same refresh token");
    });
}

#[test]
fn a_new_login_of_the_same_seller_takes_the_place_of_a_revocation_that_could_end_it() {
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), async |w| {
        connect(&w, "any@shop", "seller-1").await;
        outage(&w);
        assert_eq!(asked(&w, "POST", "/api/accounts/any/shop/logout").await["pending"], true);
        connect(&w, "any@shop", "seller-1").await;
        let shown = asked(&w, "GET", "/api/accounts/any/shop").await;
        assert!(shown.get("notices").is_none() && shown["state"] == "ready", "{shown}");
    });
}

#[test]
fn a_person_is_told_what_a_logout_has_not_done_yet_and_sees_it_done() {
    let desk = Desk::open();
    desk.connect("wallapop@shop-7", "shop-7");
    let down = Fault::Status { status: 503, retry_after: None, body: None };
    desk.market.sim.add_fault(down.at("wallapop").on_revocation().for_ever());
    let out = desk.say(&["logout", "wallapop@shop-7"]);
    assert_eq!(out.code, Some(0), "{}", out.err);
    assert!(
        out.out.contains("has not revoked its grant yet") && out.out.contains("is kept, sealed"),
        "{}",
        out.out
    );
    for command in [&["accounts"][..], &["accounts", "show", "wallapop@shop-7"], &["status"]] {
        let shown = desk.say(command);
        assert!(shown.out.contains("a former grant is not revoked"), "{command:?}: {}", shown.out);
    }
    let kept = desk.say(&["accounts", "remove", "wallapop@shop-7", "--yes"]);
    assert_eq!(kept.code, Some(1), "{}", kept.err);
    assert!(kept.err.contains("not revoked") && kept.err.contains("--anyway"), "{}", kept.err);
    desk.market.sim.clear_faults();
    let began = std::time::Instant::now();
    while desk.market.sim.families().iter().all(|family| family.ended.is_none()) {
        assert!(began.elapsed() < PATIENCE, "the server was not asked again");
        std::thread::yield_now();
    }
    let gone = desk.say(&["accounts", "remove", "wallapop@shop-7", "--yes", "--anyway"]);
    assert_eq!(gone.code, Some(0), "{}", gone.err);
}
