//! Access tokens that the marketplace takes back before their time: at a refresh, with the grant, or because they are too
//! young.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use marketgate::{
    accounts::import::{ImportOptions, NewGrant},
    names::{AccountId, AccountRef},
    sim::{Connect, Fault, Policy, Refusal},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Time, World, gate};

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

async fn connect(w: &World, account: &str, seller: &str, lifetime: u64) {
    let connect = Connect { lifetime: Some(lifetime), ..Connect::new("generic", "any-1", seller) };
    let refresh_token = w.sim.connect(connect).refresh_token;
    let AccountRef { app, account } = account.parse().unwrap();
    let id = AccountId { app, account: account.unwrap() };
    let members = json!({ "refresh_token": refresh_token });
    let new = NewGrant::read(&w.settings.apps[&id.app], members.as_object().unwrap()).unwrap();
    w.service.import(&id, new, ImportOptions::default()).await.unwrap();
}

/// Requests one after another until `end`: each must succeed and be the seller's. How many there were.
async fn call(w: Rc<World>, shop: usize, body: usize, end: Instant) -> usize {
    let mut count = 0;
    while Instant::now() < end {
        let url = w.url(&format!("/any@shop-{shop}/x"));
        let answer = w.send(w.http.post(url).body("x".repeat(body))).await;
        assert_eq!(
            answer.status, 200,
            "request {count} of shop {shop}: {} {:?}",
            answer.body, answer.headers
        );
        assert_eq!(answer.json()["account"], format!("seller-{shop}"));
        count += 1;
    }
    count
}

/// Four shops with callers of their own, at a server that ends the old token when it rotates and then takes its time to
/// say so, over two refreshes and more.
async fn load(w: &Rc<World>, body: usize) {
    w.sim.change_policy("generic", |policy: &mut Policy| policy.refresh_ends_access_token = true);
    w.sim.add_fault(Fault::Slow { bytes_per_second: 3000 }.at("generic").on_token().for_ever());
    for shop in 0..4 {
        connect(w, &format!("any@shop-{shop}"), &format!("seller-{shop}"), 4).await;
    }
    let mut callers = JoinSet::new();
    let end = Instant::now() + 9 * SECOND;
    for caller in 0..12 {
        callers.spawn_local(call(w.clone(), caller % 4, body, end));
    }
    while let Some(count) = callers.join_next().await {
        assert!(count.unwrap() > 20);
    }
    let refreshes = w.sim.families().iter().map(|family| family.rotations).min().unwrap();
    assert!(refreshes >= 2, "{refreshes} refreshes prove nothing");
}

#[test]
fn a_server_that_ends_the_old_token_at_a_refresh_costs_no_request_under_load() {
    gate(Time::Runs, SELLERS, |w| async move {
        load(&w, 100).await;
        let calls = w.sim.token_calls("generic");
        assert!(calls <= 4 * 4, "refusals at a refresh caused further ones: {calls}");
    });
}

#[test]
fn uploads_that_cannot_be_repeated_are_not_started_on_a_token_that_a_refresh_is_about_to_end() {
    let configuration = SELLERS.replace("[apps.any]", "[apps.any]\nrefresh_kills_token = true");
    gate(Time::Runs, &configuration, |w| async move { load(&w, 300_000).await });
}

#[test]
fn a_refresh_that_hangs_does_not_keep_requests_from_a_token_that_is_still_good() {
    let configuration = SELLERS.replace("[apps.any]", "[apps.any]\nrefresh_kills_token = true");
    gate(Time::Held, &configuration, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        w.sim.add_fault(Fault::Hang {}.at("generic").on_token().for_ever());
        tokio::time::advance(290 * SECOND).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        let mut calls = w.sim.on_request();
        calls.wait_for(|_| w.sim.token_calls("generic") == 2).await.unwrap();
        let waiting = {
            let w = w.clone();
            tokio::task::spawn_local(async move { w.get("/any@shop-1/x").await })
        };
        while !waiting.is_finished() {
            w.pass(SECOND / 10, SECOND / 10).await;
        }
        assert_eq!(waiting.await.unwrap().status, 200);
    });
}

#[test]
fn the_token_of_a_grant_that_is_over_is_not_sent_again_once_the_marketplace_has_refused_it() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 3600).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        assert_eq!(w.sim.end_sessions("generic", "seller-1"), 1);
        w.sim.revoke("generic", "seller-1");
        let before = w.sim.api_calls("generic");
        for request in ["small", &"large".repeat(100_000)] {
            for _ in 0..3 {
                let answer = w.send(w.http.post(w.url("/any@shop-1/x")).body(request.to_owned())).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (503, "login_required"),
                    "{}",
                    answer.body
                );
                assert!(answer.body.contains("marketgate login any@shop-1"), "{}", answer.body);
            }
        }
        assert_eq!(w.sim.api_calls("generic") - before, 1, "a dead token was sent on");
    });
}

#[test]
fn a_token_that_outlives_its_grant_is_used_until_the_marketplace_refuses_it() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        w.sim.change_policy("generic", |policy: &mut Policy| {
            policy.refuses_everybody = true;
        });
        tokio::time::advance(250 * SECOND).await;
        for _ in 0..3 {
            assert_eq!(w.get("/any@shop-1/x").await.status, 200, "the grant is over, its token is not");
        }
        w.sim.revoke("generic", "seller-1");
        let before = w.sim.api_calls("generic");
        for _ in 0..3 {
            assert_eq!(w.get("/any@shop-1/x").await.code(), "login_required");
        }
        assert_eq!(w.sim.api_calls("generic") - before, 1);
    });
}

#[test]
fn a_token_that_is_too_young_for_the_marketplace_gives_way_to_the_one_before_it() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        w.sim.change_policy("generic", |policy: &mut Policy| policy.access_token_young_ms = 3000);
        tokio::time::advance(240 * SECOND).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        let mut calls = w.sim.on_answer();
        calls.wait_for(|_| w.sim.token_calls("generic") == 2).await.unwrap();
        for _ in 0..8 {
            let answer = w.send(w.http.post(w.url("/any@shop-1/x")).body("x")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            w.pass(SECOND / 2, SECOND / 10).await;
        }
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn a_grant_that_ends_just_after_a_refresh_is_told_at_once() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        tokio::time::advance(240 * SECOND).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        let mut calls = w.sim.on_answer();
        calls.wait_for(|_| w.sim.token_calls("generic") == 2).await.unwrap();
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        w.sim.end_sessions("generic", "seller-1");
        w.sim.revoke("generic", "seller-1");
        let answer = w.get("/any@shop-1/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "login_required"), "{}", answer.body);
        let sent = w.sim.api_calls("generic");
        assert_eq!(w.get("/any@shop-1/x").await.status, 503);
        assert_eq!(w.sim.api_calls("generic"), sent, "dead tokens are not sent again");
    });
}

#[test]
fn a_young_token_that_a_lost_rotation_ended_is_replaced_and_not_passed_on() {
    gate(Time::Held, SELLERS, |w| async move {
        w.sim.change_policy("generic", |policy: &mut Policy| {
            policy.refresh_ends_access_token = true;
            policy.grace_seconds = 120;
        });
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        let lose = Fault::CutAfterRotating {};
        w.sim.add_fault(lose.at("generic").on_token().times(2));
        let ordered = w.to_admin("POST", "/api/accounts/any/shop-1/refresh?wait=60");
        assert_eq!(w.send(ordered).await.json()["state"], "degraded");
        let asked = {
            let w = w.clone();
            tokio::task::spawn_local(async move { w.get("/any@shop-1/x").await })
        };
        while !asked.is_finished() {
            w.pass(SECOND / 10, SECOND / 10).await;
        }
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(w.sim.token_calls("generic"), 4);
    });
}

#[test]
fn a_token_that_is_called_invalid_is_as_good_as_none_while_the_token_endpoint_fails() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.revoke("generic", "seller-1");
        let challenge = Some("Bearer error=\"invalid_token\"".to_owned());
        let refusal = Refusal { challenge, ..Refusal::empty(401) };
        w.sim.change_policy("generic", |policy: &mut Policy| policy.api_refused_as = Some(refusal.clone()));
        let fails = Fault::Status { status: 500, retry_after: None, body: None };
        w.sim.add_fault(fails.at("generic").on_token().times(3));
        let asked: Vec<_> = (0..2)
            .map(|_| {
                let w = w.clone();
                tokio::task::spawn_local(async move { w.get("/any@shop-1/x").await.status })
            })
            .collect();
        while w.sim.token_calls("generic") < 2 {
            w.pass(SECOND / 20, SECOND / 20).await;
        }
        // Another one that comes between two attempts.
        let late = w.clone();
        let late = tokio::task::spawn_local(async move { late.get("/any@shop-1/x").await.status });
        for request in asked.into_iter().chain([late]) {
            while !request.is_finished() {
                w.pass(SECOND / 20, SECOND / 20).await;
            }
            assert_eq!(request.await.unwrap(), 200);
        }
        assert_eq!(w.sim.token_calls("generic"), 5);
    });
}

#[test]
fn a_challenge_that_names_an_invalid_token_has_it_replaced_whatever_the_status() {
    for status in [400, 403, 500] {
        gate(Time::Held, SELLERS, move |w| async move {
            connect(&w, "any@shop-1", "seller-1", 300).await;
            assert_eq!(w.get("/any@shop-1/x").await.status, 200);
            tokio::time::advance(60 * SECOND).await;
            w.sim.revoke("generic", "seller-1");
            let challenge = Some("Bearer realm=\"x\", error=\"invalid_token\"".to_owned());
            let refusal = Refusal { challenge, ..Refusal::empty(status) };
            let refuse = |policy: &mut Policy| policy.api_refused_as = Some(refusal.clone());
            w.sim.change_policy("generic", refuse);
            assert_eq!(w.get("/any@shop-1/x").await.status, 200);
            assert_eq!(w.sim.token_calls("generic"), 2);
        });
    }
}

#[test]
fn nothing_goes_out_in_the_last_second_of_a_token() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 60).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        w.sim.add_fault(
            Fault::Status { status: 503, retry_after: None, body: None }.at("generic").on_token().for_ever(),
        );
        tokio::time::advance(Duration::from_millis(58_900)).await;
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        let before = w.sim.api_calls("generic");
        tokio::time::advance(Duration::from_millis(200)).await;
        let waiting = {
            let w = w.clone();
            tokio::task::spawn_local(async move { w.get("/any@shop-1/x").await })
        };
        while !waiting.is_finished() {
            w.pass(SECOND, SECOND / 10).await;
        }
        assert_eq!(waiting.await.unwrap().code(), "token_unavailable");
        assert_eq!(w.sim.api_calls("generic"), before);
    });
}
