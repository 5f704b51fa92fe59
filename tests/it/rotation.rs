//! Grants whose refresh token changes at every use: never lost, never spent twice but as law 4 allows, whatever happens
//! around the call.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use marketgate::{
    accounts::import::{ImportOptions, Imported, NewGrant},
    names::{AccountId, AccountRef},
    sim::{Connect, Family, Fault},
    store::{Grant, LoginReason, Record, Standing, Stored},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{Answer, Time, World, client, gate, gate_keeping, settle},
    moody::Moody,
    wire::{Wire, soon},
};

const SECOND: Duration = Duration::from_secs(1);

/// Sellers of a generic app and of Wallapop.
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
[apps.wallapop]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "wp-1"
client_secret = "wp-1-secret"
"#;

fn id(text: &str) -> AccountId {
    let AccountRef { app, account } = text.parse().unwrap();
    AccountId { app, account: account.unwrap() }
}

/// Imports a fresh grant of `seller`; tokens live `lifetime` seconds.
async fn connect(w: &World, account: &str, seller: &str, lifetime: u64) {
    let (marketplace, client) =
        if account.starts_with("any") { ("generic", "any-1") } else { ("wallapop", "wp-1") };
    let connect = Connect { lifetime: Some(lifetime), ..Connect::new(marketplace, client, seller) };
    let grant = w.sim.connect(connect);
    assert_eq!(import(w, account, json!({ "refresh_token": grant.refresh_token })).await, Imported::Created);
}

async fn import(w: &World, account: &str, members: Value) -> Imported {
    let id = id(account);
    let new = NewGrant::read(&w.settings.apps[&id.app], members.as_object().unwrap()).unwrap();
    w.service.import(&id, new, ImportOptions::default()).await.unwrap()
}

async fn record(w: &World, account: &str) -> Record {
    match w.service.store().unwrap().account(&id(account)).await.unwrap() {
        Some(Stored::Whole(record)) => *record,
        other => panic!("{other:?}"),
    }
}

fn family(w: &World, seller: &str) -> Family {
    w.sim.families().into_iter().find(|family| family.seller == seller).unwrap()
}

/// Whether the refresh token in the store is the one the server would accept.
async fn is_whole(w: &World, account: &str, seller: &str) -> bool {
    let Some(Grant::Refresh { token, .. }) = record(w, account).await.grant else { return false };
    marketgate::sim::fingerprint(token.expose()) == family(w, seller).refresh_token
}

#[test]
fn an_imported_seller_is_served_at_once_and_his_refresh_token_rotates_with_every_refresh() {
    gate(Time::Held, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        for round in 1..=5 {
            let answer = w.get("/any@shop-1/x").await;
            assert_eq!(
                (answer.status, answer.json()["account"].as_str()),
                (200, Some("seller-1")),
                "{}",
                answer.body
            );
            assert_eq!(family(&w, "seller-1").rotations, round);
            assert!(is_whole(&w, "any@shop-1", "seller-1").await);
            tokio::time::advance(301 * SECOND).await;
        }
        assert_eq!(family(&w, "seller-1").shown_again, 0);
    });
}

#[test]
fn what_a_crash_would_lose_is_measured_from_the_answers_last_byte_to_the_write_that_succeeds() {
    let store = Arc::new(Moody::default());
    let moody = store.clone();
    gate_keeping(Time::Runs, SELLERS, store, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        moody.refuses.store(true, SeqCst);
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        moody.refuses.store(false, SeqCst);
        let figure = |metrics: &str, name: &str| -> f64 {
            let name = format!("marketgate_rotation_store_duration_seconds_{name} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
            line.map_or(0.0, |value| value.parse().unwrap())
        };
        let mut metrics = w.admin("/metrics").await.body;
        assert_eq!(figure(&metrics, "count"), 0.0, "{metrics}");
        while figure(&metrics, "count") < 1.0 {
            metrics = soon("the second write", w.admin("/metrics")).await.body;
        }
        let took = figure(&metrics, "sum");
        assert!((1.0..10.0).contains(&took), "{took} s, though a second lay between the writes");
        assert!(is_whole(&w, "any@shop-1", "seller-1").await);
    });
}

#[test]
fn the_only_account_of_an_app_is_meant_by_its_bare_name_and_one_of_several_must_be_named() {
    gate(Time::Runs, SELLERS, |w| async move {
        assert_eq!(w.get("/any/x").await.code(), "no_such_account");
        connect(&w, "any@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/any/x").await.json()["account"], "seller-1");
        connect(&w, "any@shop-2", "seller-2", 300).await;
        assert_eq!(w.get("/any/x").await.code(), "account_required");
        connect(&w, "any@default", "seller-3", 300).await;
        assert_eq!(w.get("/any/x").await.json()["account"], "seller-3");
        assert_eq!(w.get("/any@shop-2/x").await.json()["account"], "seller-2");
        assert_eq!(w.get("/any@shop-9/x").await.code(), "no_such_account");
    });
}

#[test]
fn a_stampede_over_fifty_sellers_makes_fifty_token_calls_and_nobody_gets_anothers_answer() {
    gate(Time::Held, SELLERS, |w| async move {
        for number in 0..50 {
            connect(&w, &format!("any@shop-{number}"), &format!("seller-{number}"), 300).await;
        }
        let before = w.sim.token_calls("generic");
        let mut requests = JoinSet::new();
        for number in 0..1000 {
            let w = w.clone();
            requests.spawn_local(async move {
                let answer = w.get(&format!("/any@shop-{}/x", number % 50)).await;
                assert_eq!(answer.json()["account"], format!("seller-{}", number % 50));
            });
        }
        requests.join_all().await;
        assert_eq!(w.sim.token_calls("generic") - before, 50);
        assert!(w.sim.families().iter().all(|family| (family.rotations, family.shown_again) == (1, 0)));
    });
}

#[test]
fn callers_that_hang_up_at_any_moment_of_the_token_call_lose_nothing() {
    gate(Time::Runs, SELLERS, |w| async move {
        w.sim.add_fault(Fault::Stall { before_ms: 200, after_ms: 200 }.at("generic").on_token().for_ever());
        let mut callers = JoinSet::new();
        for number in 0..160_u64 {
            connect(&w, &format!("any@shop-{number}"), &format!("seller-{number}"), 300).await;
            let w = w.clone();
            callers.spawn_local(async move {
                let mut wire = Wire::to(w.proxy).await;
                let request = format!("GET /any@shop-{number}/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
                assert!(wire.write(request.as_bytes()).await);
                // Every 5 ms of the call, once with FIN and once with RST.
                tokio::time::sleep(Duration::from_millis(5 * (number / 2))).await;
                if number % 2 == 0 { drop(wire) } else { wire.reset() }
            });
        }
        callers.join_all().await;
        w.sim.clear_faults();
        for number in 0..160 {
            let answer = w.get(&format!("/any@shop-{number}/x")).await;
            assert_eq!(answer.json()["account"], format!("seller-{number}"));
        }
        for family in w.sim.families() {
            assert_eq!(
                (family.rotations, family.shown_again, family.ended),
                (1, 0, None),
                "{}",
                family.seller
            );
        }
    });
}

#[test]
fn stopping_at_any_moment_of_a_token_call_waits_for_its_answer_and_keeps_it() {
    for moment in (0..=200).map(|step| Duration::from_millis(10 * step)) {
        gate(Time::Held, SELLERS, |w| async move {
            connect(&w, "any@shop-1", "seller-1", 300).await;
            w.sim.add_fault(
                Fault::Stall { before_ms: 1000, after_ms: 1000 }.at("generic").on_token().for_ever(),
            );
            let asking = tokio::task::spawn_local(ask(w.clone()));
            soon("the token call", w.sim.until(|sim| sim.requests().iter().any(|r| r.kind == "token"))).await;
            pass(moment).await;
            w.stop_gateway.cancel();
            pass(Duration::from_millis(2100) - moment).await;
            soon("the answer", asking).await.unwrap();
            let told = soon("the record", until_rotated(&w)).await;
            assert!(told, "lost when stopped after {moment:?}");
            assert_eq!((family(&w, "seller-1").rotations, family(&w, "seller-1").shown_again), (1, 0));
        });
    }
}

async fn ask(w: Rc<World>) {
    // A stopping program may close the connection instead of answering.
    drop(w.http.get(w.url("/any@shop-1/x")).send().await);
}

/// Lets simulated and real time pass by turns, so that timers fire in order and sockets keep up.
async fn pass(time: Duration) {
    let step = Duration::from_millis(100);
    let mut left = time;
    while !left.is_zero() {
        let next = step.min(left);
        tokio::time::advance(next).await;
        settle().await;
        left -= next;
    }
}

async fn until_rotated(w: &World) -> bool {
    loop {
        if family(w, "seller-1").rotations == 1 && is_whole(w, "any@shop-1", "seller-1").await {
            return true;
        }
        tokio::time::advance(Duration::from_millis(20)).await;
        settle().await;
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_lost_answer_is_asked_for_once_more_at_once_where_the_server_forgives_that() {
    gate(Time::Runs, SELLERS, |w| async move {
        w.sim.change_policy("generic", |policy| policy.grace_seconds = 10);
        connect(&w, "any@shop-1", "seller-1", 300).await;
        w.sim.add_fault(Fault::CutAfterRotating {}.at("generic").on_token());
        let answer = w.get("/any@shop-1/x").await;
        assert_eq!(
            (answer.status, answer.json()["account"].as_str()),
            (200, Some("seller-1")),
            "{}",
            answer.body
        );
        let family = family(&w, "seller-1");
        assert_eq!((family.shown_again, family.forgiven, family.ended), (1, 1, None));
        assert!(is_whole(&w, "any@shop-1", "seller-1").await);
    });
}

#[test]
fn a_lost_answer_of_a_server_that_counts_uses_is_followed_up_when_the_old_token_has_been_served_to_its_end() {
    gate(Time::Held, SELLERS, |w| async move {
        w.sim.change_policy("wallapop", |policy| policy.max_reuse = Some(0));
        connect(&w, "wallapop@shop-1", "seller-1", 300).await;
        assert_eq!(w.get("/wallapop@shop-1/items").await.status, 200);
        w.sim.add_fault(Fault::CutAfterRotating {}.at("wallapop").on_token());
        tokio::time::advance(240 * SECOND).await;
        w.get("/wallapop@shop-1/items").await;
        let live = w.accounts.peek(&id("wallapop@shop-1")).unwrap();
        while live.published().trouble.is_none() {
            settle().await;
        }
        w.pass(50 * SECOND, SECOND).await;
        assert_eq!(
            get_anew(&w, "/wallapop@shop-1/items").await.status,
            200,
            "the current token was thrown away"
        );
        assert_eq!(
            family(&w, "seller-1").reuse_attempts,
            0,
            "one use too many ends the session and its token"
        );
        tokio::time::advance(11 * SECOND).await;
        get_anew(&w, "/wallapop@shop-1/items").await;
        while !live.published().state.needs_a_person() {
            settle().await;
        }
        let refused = get_anew(&w, "/wallapop@shop-1/items").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "login_required"), "{}", refused.body);
        assert!(!refused.headers.contains_key("retry-after"));
        let action = refused.json()["action"].as_str().unwrap().to_owned();
        assert!(
            action.contains("rotation_response_lost") && action.contains("marketgate login wallapop@shop-1"),
            "{action}"
        );
        let record = record(&w, "wallapop@shop-1").await;
        assert_eq!(record.standing, Standing::LoginRequired(LoginReason::RotationResponseLost));
        assert!(record.grant.is_some(), "the last refresh token is kept");
        assert_eq!(family(&w, "seller-1").reuse_attempts, 1, "one lost answer allows one more showing");
    });
}

#[test]
fn a_server_that_refuses_everybody_for_a_while_ends_nobodys_grant() {
    gate(Time::Held, SELLERS, |w| async move {
        for number in 0..6 {
            connect(&w, &format!("any@shop-{number}"), &format!("seller-{number}"), 300).await;
            assert_eq!(w.get(&format!("/any@shop-{number}/x")).await.status, 200);
        }
        w.sim.change_policy("generic", |policy| policy.refuses_everybody = true);
        tokio::time::advance(301 * SECOND).await;
        let mut asking = JoinSet::new();
        for number in 0..6 {
            let w = w.clone();
            asking.spawn_local(async move { get_anew(&w, &format!("/any@shop-{number}/x")).await.status });
        }
        while let Some(answered) = moving_on(&mut asking).await {
            assert_eq!(answered, 503);
        }
        let mut held = 0;
        for number in 0..6 {
            let shown = w.service.show(&id(&format!("any@shop-{number}"))).await.unwrap();
            held += usize::from(shown.state == "degraded");
        }
        assert!(held >= 3, "{held}");
        w.sim.change_policy("generic", |policy| policy.refuses_everybody = false);
        for _ in 0..120 {
            tokio::time::advance(SECOND).await;
            settle().await;
            w.sim.until(|_| true).await;
        }
        let mut asking = JoinSet::new();
        for number in 0..6 {
            let w = w.clone();
            asking.spawn_local(async move { get_anew(&w, &format!("/any@shop-{number}/x")).await.status });
        }
        while let Some(answered) = moving_on(&mut asking).await {
            assert_eq!(answered, 200);
        }
    });
}

/// The next answer, while time moves on.
async fn moving_on(asking: &mut JoinSet<u16>) -> Option<u16> {
    loop {
        if let Some(answered) = asking.try_join_next() {
            return Some(answered.unwrap());
        }
        if asking.is_empty() {
            return None;
        }
        tokio::time::advance(SECOND / 10).await;
        settle().await;
    }
}

/// Over a connection of its own: kept ones do not outlive the jumps of time.
async fn get_anew(w: &World, path: &str) -> Answer {
    w.send(client().get(w.url(path))).await
}

#[test]
fn a_server_in_trouble_never_ends_a_grant() {
    let troubles = [
        Fault::Status { status: 500, retry_after: None, body: None },
        Fault::Status { status: 503, retry_after: Some("1".to_owned()), body: None },
        Fault::Status { status: 429, retry_after: Some("1".to_owned()), body: None },
        Fault::Status { status: 401, retry_after: None, body: None },
        Fault::Garbage {},
        Fault::Reset {},
        Fault::Early { status: 503 },
    ];
    for fault in troubles {
        gate(Time::Held, SELLERS, |w| async move {
            connect(&w, "any@shop-1", "seller-1", 300).await;
            assert_eq!(get_anew(&w, "/any@shop-1/x").await.status, 200);
            let name = format!("{fault:?}");
            w.sim.add_fault(fault.at("generic").on_token().for_ever());
            for _ in 0..3 {
                tokio::time::advance(80 * SECOND).await;
                assert_eq!(get_anew(&w, "/any@shop-1/x").await.status, 200, "{name}: before the token's end");
            }
            tokio::time::advance(120 * SECOND).await;
            assert_eq!(get_anew(&w, "/any@shop-1/x").await.code(), "token_unavailable", "{name}");
            w.sim.clear_faults();
            if name.contains("401") {
                // Credentials that nobody can change are left alone until a person says so.
                w.service.refresh(&id("any@shop-1"), 5 * SECOND).await.unwrap();
            }
            for _ in 0..60 {
                tokio::time::advance(SECOND).await;
                if get_anew(&w, "/any@shop-1/x").await.status == 200 {
                    assert!(is_whole(&w, "any@shop-1", "seller-1").await, "{name}");
                    return;
                }
            }
            panic!("{name}: not served again within a minute");
        });
    }
}

#[test]
fn only_a_definite_refusal_ends_a_grant_and_a_new_import_mends_it_without_a_restart() {
    gate(Time::Runs, SELLERS, |w| async move {
        connect(&w, "any@shop-1", "seller-1", 300).await;
        w.sim.disconnect("generic", "seller-1");
        let refused = w.get("/any@shop-1/x").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "login_required"), "{}", refused.body);
        assert_eq!(record(&w, "any@shop-1").await.standing, Standing::LoginRequired(LoginReason::Revoked));
        let calls = w.sim.token_calls("generic");
        for _ in 0..20 {
            assert_eq!(w.get("/any@shop-1/x").await.code(), "login_required");
        }
        assert_eq!(w.sim.token_calls("generic"), calls, "a grant that is over is not asked for");
        let grant = w.sim.connect(Connect::new("generic", "any-1", "seller-1"));
        let outcome = import(&w, "any@shop-1", json!({ "refresh_token": grant.refresh_token })).await;
        assert_eq!(outcome, Imported::Replaced);
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
    });
}

#[test]
fn importing_an_old_list_again_changes_nothing_and_a_token_seen_elsewhere_is_refused() {
    gate(Time::Runs, SELLERS, |w| async move {
        let grant = w.sim.connect(Connect::new("generic", "any-1", "seller-1"));
        let members = json!({ "refresh_token": grant.refresh_token });
        assert_eq!(import(&w, "any@shop-1", members.clone()).await, Imported::Created);
        assert_eq!(import(&w, "any@shop-1", members.clone()).await, Imported::Unchanged);
        assert_eq!(w.get("/any@shop-1/x").await.status, 200);
        // It has rotated since: the old list must not bring the spent one back.
        assert_eq!(import(&w, "any@shop-1", members.clone()).await, Imported::Unchanged);
        assert!(is_whole(&w, "any@shop-1", "seller-1").await);
        let new = NewGrant::read(&w.settings.apps["any"], members.as_object().unwrap()).unwrap();
        let refused = w.service.import(&id("any@shop-2"), new, ImportOptions::default()).await.unwrap_err();
        assert_eq!(refused.code, "seen_before");
    });
}

#[test]
fn a_token_answer_that_names_somebody_else_stops_the_account_and_loses_nothing() {
    gate(Time::Runs, SELLERS, |w| async move {
        let grant = w.sim.connect(Connect::new("wallapop", "wp-1", "seller-1"));
        let members = json!({ "refresh_token": grant.refresh_token, "identity": "somebody-else" });
        import(&w, "wallapop@shop-1", members).await;
        let refused = w.get("/wallapop@shop-1/items").await;
        assert_eq!(refused.code(), "login_required", "{}", refused.body);
        assert!(refused.json()["detail"].as_str().unwrap().contains("identity_mismatch"), "{}", refused.body);
        assert!(is_whole(&w, "wallapop@shop-1", "seller-1").await, "what came with the answer is kept");
    });
}

#[test]
fn idle_sellers_cost_no_token_calls() {
    gate(Time::Held, SELLERS, |w| async move {
        for number in 0..200 {
            connect(&w, &format!("any@shop-{number}"), &format!("seller-{number}"), 300).await;
        }
        for _ in 0..24 {
            assert_eq!(w.get("/any@shop-7/x").await.status, 200);
            tokio::time::advance(100 * SECOND).await;
        }
        let used: Vec<_> = w.sim.families().into_iter().filter(|family| family.refreshes > 0).collect();
        assert_eq!(used.iter().map(|family| family.seller.as_str()).collect::<Vec<_>>(), ["seller-7"]);
    });
}
