//! What a token endpoint gave is stored, spilled or waited for: the process does not end before, and a seller's code is worth
//! as much as a refresh token.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use marketgate::{
    grant::Ended,
    names::{AccountId, AccountRef},
    sim::{AutoConsent, Connect, Fault},
    store::{Grant, Store, Stored},
};
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Time, World, gate_keeping, settle},
    moody::Moody,
    wire::soon,
};

const SECOND: Duration = Duration::from_secs(1);

const SELLERS: &str = r#"
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

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<World>, Arc<Moody>) -> F) {
    let store = Arc::new(Moody::default());
    gate_keeping(Time::Held, SELLERS, store.clone(), async |w| {
        w.sim.answer_consents(AutoConsent::Allow, Some("seller-1"));
        test(w, store).await;
    });
}

fn id(text: &str) -> AccountId {
    let AccountRef { app, account } = text.parse().unwrap();
    AccountId { app, account: account.unwrap() }
}

async fn told(w: &World, method: &str, path: &str, body: &Value) -> Answer {
    let request = w.to_admin(method, path).header("content-type", "application/json").body(body.to_string());
    w.send(request).await
}

async fn import(w: &World, account: &str) {
    let grant = w.sim.connect(Connect::new("generic", "any-1", "seller-1"));
    let path = format!("/api/accounts/{}", account.replace('@', "/"));
    let answer = told(w, "PUT", &path, &json!({ "refresh_token": grant.refresh_token })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// A consent that the seller has given: its id, and the address his browser is sent to.
async fn consent(w: &World, account: &str) -> (String, String) {
    let begun = told(w, "POST", "/api/consents", &json!({ "account": account })).await.json();
    let answer = w.send(w.http.get(begun["authorize_url"].as_str().unwrap())).await;
    let callback = answer.headers["location"].to_str().unwrap().to_owned();
    (begun["id"].as_str().unwrap().to_owned(), callback)
}

/// The refresh token in the store is the one that the server would accept.
async fn is_whole(w: &World, store: &Moody, account: &str) -> bool {
    let Some(Stored::Whole(record)) = store.account(&id(account)).await.unwrap() else { return false };
    let Some(Grant::Refresh { token, .. }) = record.grant else { return false };
    w.sim.families().iter().any(|f| f.refresh_token == marketgate::sim::fingerprint(token.expose()))
}

/// Lets time pass until it is so.
async fn until(what: &str, met: impl Fn() -> bool) {
    for _ in 0..3000 {
        if met() {
            return;
        }
        tokio::time::advance(SECOND / 10).await;
        settle().await;
    }
    panic!("{what} did not come");
}

#[test]
fn the_process_does_not_leave_while_it_holds_what_is_nowhere_else() {
    run(async |w, store| {
        import(&w, "any@shop-1").await;
        store.refuses.store(true, SeqCst);
        store.spills_nothing.store(true, SeqCst);
        assert_eq!(w.get("/any@shop-1/x").await.status, 200, "there is no other token");
        let live = w.accounts.clone();
        let ending = tokio::task::spawn_local(async move { live.drain().await });
        until("the tenth try", || store.spills.load(SeqCst) >= 10).await;
        assert!(!ending.is_finished(), "it left with a grant in its hands");
        store.spills_nothing.store(false, SeqCst);
        until("the end", || ending.is_finished()).await;
        assert_eq!(ending.await.unwrap(), Ended { spilled: vec![id("any@shop-1")] });
        assert!(is_whole(&w, &store, "any@shop-1").await);
    });
}

#[test]
fn the_process_leaves_without_a_word_when_the_store_takes_it_in_the_end() {
    run(async |w, store| {
        import(&w, "any@shop-1").await;
        store.refuses.store(true, SeqCst);
        store.spills_nothing.store(true, SeqCst);
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        let live = w.accounts.clone();
        let ending = tokio::task::spawn_local(async move { live.drain().await });
        until("a try", || store.spills.load(SeqCst) >= 2).await;
        store.refuses.store(false, SeqCst);
        until("the end", || ending.is_finished()).await;
        assert_eq!(ending.await.unwrap(), Ended::default());
        assert!(is_whole(&w, &store, "any@shop-1").await);
    });
}

#[test]
fn what_a_code_brought_is_stored_as_soon_as_the_disk_takes_it_and_the_seller_is_told_the_truth() {
    run(async |w, store| {
        let (consent, callback) = consent(&w, "any@new").await;
        store.refuses.store(true, SeqCst);
        let asked = {
            let w = w.clone();
            tokio::task::spawn_local(async move {
                told(&w, "POST", "/api/consents/complete", &json!({ "url": callback })).await
            })
        };
        until("an answer", || asked.is_finished()).await;
        let answer = asked.await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "not_stored_yet"), "{}", answer.body);
        assert!(answer.body.contains("any@new is connected"), "{}", answer.body);
        assert_eq!(w.sim.token_calls("generic"), 1);
        assert_eq!(w.get("/any@new/x").await.json()["account"], "seller-1", "its token is of use meanwhile");
        store.refuses.store(false, SeqCst);
        let path = format!("/api/consents/{consent}?wait=20");
        let shown = {
            let w = w.clone();
            async move {
                loop {
                    let shown = w.admin(&path).await.json();
                    if shown["state"] == "connected" {
                        return shown;
                    }
                    tokio::time::advance(SECOND / 5).await;
                }
            }
        };
        let shown = soon("the outcome", shown).await;
        assert_eq!(shown["connected"]["account"], "any@new", "{shown}");
        assert!(is_whole(&w, &store, "any@new").await);
        assert_eq!(w.get("/any@new/x").await.json()["account"], "seller-1");
    });
}

#[test]
fn what_a_code_brought_survives_the_end_of_a_process_whose_disk_fails() {
    run(async |w, store| {
        let (_, callback) = consent(&w, "any@new").await;
        store.refuses.store(true, SeqCst);
        let service = w.service.clone();
        let asked = tokio::task::spawn_local(async move { service.complete_consent(&callback).await });
        soon("the code", w.sim.until(|sim| sim.token_calls("generic") == 1)).await;
        let live = w.accounts.clone();
        let ending = tokio::task::spawn_local(async move { live.drain().await });
        until("the end", || ending.is_finished()).await;
        assert_eq!(ending.await.unwrap(), Ended { spilled: vec![id("any@new")] });
        assert!(is_whole(&w, &store, "any@new").await);
        assert_eq!(soon("the outcome", asked).await.unwrap().unwrap_err().code, "not_stored_yet");
    });
}

#[test]
fn the_end_waits_for_a_code_that_is_being_exchanged_and_exchanges_none_that_comes_later() {
    run(async |w, store| {
        let (_, early) = consent(&w, "any@early").await;
        let (_, late) = consent(&w, "any@late").await;
        w.sim.add_fault(Fault::Stall { before_ms: 15_000, after_ms: 30_000 }.at("generic").on_token());
        let service = w.service.clone();
        let asked = tokio::task::spawn_local(async move { service.complete_consent(&early).await });
        soon("the call", w.sim.until(|sim| sim.token_calls("generic") == 1)).await;
        w.stop_gateway.cancel();
        let begun = || w.accounts.closing().is_cancelled();
        until("the end's beginning", begun).await;
        let refused = w.service.complete_consent(&late).await.unwrap_err();
        assert_eq!(refused.code, "draining", "{refused}");
        until("the exchange's end", || asked.is_finished()).await;
        assert_eq!(asked.await.unwrap().unwrap().account, "any@early");
        assert!(is_whole(&w, &store, "any@early").await);
        assert_eq!(w.sim.token_calls("generic"), 1, "a code was spent that nobody waits for");
    });
}
