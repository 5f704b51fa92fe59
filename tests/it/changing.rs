//! An account that is changed while its refresh is slow: callers are answered in time, with the token that is valid where it
//! is still right, and whoever changes it is answered too.

use std::{rc::Rc, sync::Arc, time::Duration};

use marketgate::{
    sim::{Connect, Fault},
    store::MemoryStore,
};
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Time, World, gate_keeping, settle},
    wire::soon,
};

const SECOND: Duration = Duration::from_secs(1);

const SELLERS: &str = r#"
[upstream]
timeouts = { token_wait = "2s" }
[apps.any]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
client_id = "any-1"
client_secret = "any-1-secret"
redirect_uri = "http://localhost:1/callback"
"#;

/// With a seller who has a valid token, and a refresh of his that takes 40 s.
fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<World>) -> F) {
    gate_keeping(Time::Held, SELLERS, Arc::new(MemoryStore::new()), async |w| {
        let first = told(&w, "PUT", "/api/accounts/any/shop", &grant(&w, "seller-1")).await;
        assert_eq!(first.status, 201, "{}", first.body);
        assert_eq!(w.get("/any@shop/x").await.json()["account"], "seller-1");
        w.sim.add_fault(Fault::Stall { before_ms: 20_000, after_ms: 20_000 }.at("generic").on_token());
        let live = w.accounts.expiries();
        assert_eq!(live.len(), 1);
        w.service.find(&w.settings.apps["any"], None).await.unwrap().order_refresh();
        soon("the slow call", w.sim.until(|sim| sim.token_calls("generic") == 2)).await;
        test(w).await;
    });
}

fn grant(w: &World, seller: &str) -> Value {
    let grant = w.sim.connect(Connect { lifetime: Some(300), ..Connect::new("generic", "any-1", seller) });
    json!({ "refresh_token": grant.refresh_token })
}

async fn told(w: &World, method: &str, path: &str, body: &Value) -> Answer {
    let request = w.to_admin(method, path).header("content-type", "application/json").body(body.to_string());
    w.send(request).await
}

fn begin(
    w: &Rc<World>,
    method: &'static str,
    path: &'static str,
    body: Value,
) -> tokio::task::JoinHandle<Answer> {
    let w = w.clone();
    tokio::task::spawn_local(async move {
        match body {
            Value::Null => w.send(w.to_admin(method, path)).await,
            body => told(&w, method, path, &body).await,
        }
    })
}

/// An answer, for which held time passes if it is waited for.
async fn ask(w: &Rc<World>) -> Answer {
    let asking = {
        let w = w.clone();
        tokio::task::spawn_local(async move { w.get("/any@shop/x").await })
    };
    settle().await;
    while !asking.is_finished() {
        tokio::time::advance(SECOND / 10).await;
        settle().await;
    }
    asking.await.unwrap()
}

/// Asks once a tenth of a second of held time until the change is answered; how often, and for how long that took.
async fn meanwhile(
    w: &Rc<World>,
    change: &tokio::task::JoinHandle<Answer>,
    each: impl Fn(&Answer),
) -> (u32, Duration) {
    let (mut asked, began) = (0, tokio::time::Instant::now());
    settle().await;
    while !change.is_finished() {
        each(&ask(w).await);
        asked += 1;
        tokio::time::advance(SECOND / 10).await;
        settle().await;
        assert!(began.elapsed() < 60 * SECOND, "the change is not answered");
    }
    (asked, began.elapsed())
}

#[test]
fn an_import_beside_a_slow_refresh_is_taken_in_and_the_valid_token_is_served_until_then() {
    run(async |w| {
        let change = begin(&w, "PUT", "/api/accounts/any/shop", grant(&w, "seller-1"));
        let (asked, took) = meanwhile(&w, &change, |answer| {
            assert_eq!(answer.status, 200, "{}", answer.body);
        })
        .await;
        let answer = change.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(asked > 20 && took <= 12 * SECOND, "{asked} requests in {took:?}");
        let calls = w.sim.token_calls("generic");
        assert_eq!(w.get("/any@shop/x").await.json()["account"], "seller-1");
        assert_eq!(w.sim.token_calls("generic"), calls + 1, "the next request finds the new grant");
        // What the slow call brings belongs to the grant that was replaced.
        w.pass(70 * SECOND, SECOND / 10).await;
        assert_eq!(w.get("/any@shop/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), calls + 1);
    });
}

#[test]
fn a_logout_beside_a_slow_refresh_is_answered_and_callers_are_told_at_once() {
    run(async |w| {
        let change = begin(&w, "POST", "/api/accounts/any/shop/logout", Value::Null);
        let (asked, took) = meanwhile(&w, &change, |answer| {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(answer.body.contains("being logged out"), "{}", answer.body);
            assert!(answer.headers.contains_key("retry-after"));
        })
        .await;
        let answer = change.await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "busy"), "{}", answer.body);
        assert!(answer.body.contains("a refresh of any@shop"), "{}", answer.body);
        assert!(asked > 20 && took <= 12 * SECOND, "{asked} requests in {took:?}");
        // Nothing was changed.
        assert_eq!(w.get("/any@shop/x").await.json()["account"], "seller-1");
        w.pass(70 * SECOND, SECOND / 10).await;
        let again = w.send(w.to_admin("POST", "/api/accounts/any/shop/logout")).await;
        assert_eq!(again.status, 200, "{}", again.body);
        assert_eq!(w.get("/any@shop/x").await.code(), "login_required");
        assert_eq!(w.sim.families()[0].shown_again, 0);
    });
}

#[test]
fn a_removal_beside_a_slow_refresh_is_done_and_callers_are_refused_at_once() {
    run(async |w| {
        let change = begin(&w, "DELETE", "/api/accounts/any/shop", Value::Null);
        let (_, took) = meanwhile(&w, &change, |answer| {
            assert!(answer.status == 503 && answer.body.contains("being removed"), "{}", answer.body);
        })
        .await;
        assert_eq!(change.await.unwrap().status, 204);
        assert!(took <= 12 * SECOND, "{took:?}");
        assert_eq!(w.get("/any@shop/x").await.code(), "no_such_account");
    });
}

#[test]
fn a_caller_without_a_token_waits_for_no_longer_than_he_would_otherwise() {
    gate_keeping(Time::Held, SELLERS, Arc::new(MemoryStore::new()), async |w| {
        assert_eq!(told(&w, "PUT", "/api/accounts/any/shop", &grant(&w, "seller-1")).await.status, 201);
        w.sim.add_fault(Fault::Stall { before_ms: 20_000, after_ms: 20_000 }.at("generic").on_token());
        w.service.find(&w.settings.apps["any"], None).await.unwrap().order_refresh();
        soon("the slow call", w.sim.until(|sim| sim.token_calls("generic") == 1)).await;
        let change = begin(&w, "PUT", "/api/accounts/any/shop", grant(&w, "seller-1"));
        settle().await;
        let began = tokio::time::Instant::now();
        let asking = {
            let w = w.clone();
            tokio::task::spawn_local(async move { w.get("/any@shop/x").await })
        };
        while !asking.is_finished() {
            tokio::time::advance(SECOND / 10).await;
            settle().await;
            assert!(began.elapsed() <= 5 * SECOND, "he waits on");
        }
        let refused = asking.await.unwrap();
        assert_eq!((refused.status, refused.code().as_str()), (503, "token_unavailable"), "{}", refused.body);
        assert!(refused.headers.contains_key("retry-after"));
        assert!(!change.is_finished(), "the refresh was not slow");
        meanwhile(&w, &change, |_| {}).await;
        assert_eq!(change.await.unwrap().status, 200);
        assert_eq!(ask(&w).await.json()["account"], "seller-1");
    });
}
