//! Tokens that are there before they are needed.

use std::{rc::Rc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::harness::{ALL_APPS, Time, World, app_with_lifetime, gate, gate_with};
use marketgate::sim::Fault;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_stampede_on_a_cold_token_makes_one_token_call() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        w.sim.add_fault(Fault::Delay { ms: 200 }.at("generic").on_token());
        let answered = stampede(&w, "/any/x", 1000).await;
        assert_eq!((answered, w.sim.token_calls("generic")), (1000, 1));
    });
}

#[test]
fn a_stampede_on_an_expired_token_makes_one_more() {
    gate(Time::Held, &app_with_lifetime(100), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(101 * SECOND).await;
        let answered = stampede(&w, "/any/x", 1000).await;
        assert_eq!((answered, w.sim.token_calls("generic")), (1000, 2));
    });
}

async fn stampede(w: &Rc<World>, path: &str, count: usize) -> usize {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let (w, path) = (w.clone(), path.to_owned());
        requests.spawn_local(async move { w.get(&path).await.status == 200 });
    }
    requests.join_all().await.into_iter().filter(|ok| *ok).count()
}

#[test]
fn two_accounts_in_a_stampede_never_get_each_others_token() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        w.sim.add_fault(Fault::Delay { ms: 50 }.at("generic").on_token().for_ever());
        let mut requests = JoinSet::new();
        for number in 0..400 {
            let w = w.clone();
            requests.spawn_local(async move {
                let name = if number % 2 == 0 { "a" } else { "b" };
                let answer = w.get(&format!("/many@{name}/x")).await;
                assert_eq!(answer.json()["account"], format!("many-{name}"));
            });
        }
        requests.join_all().await;
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn callers_that_hang_up_at_every_moment_of_the_token_call_change_nothing() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        w.sim.add_fault(Fault::Delay { ms: 200 }.at("generic").on_token());
        for moment in 0..20 {
            let mut caller = TcpStream::connect(w.proxy).await.unwrap();
            caller.write_all(b"GET /any/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            // Not a wait for anything: the moment of hanging up is what is varied.
            tokio::time::sleep(Duration::from_millis(moment)).await;
            if moment % 2 == 0 {
                caller.set_zero_linger().unwrap();
            }
        }
        let answer = w.get("/any/x").await;
        assert_eq!((answer.status, w.sim.token_calls("generic")), (200, 1), "{}", answer.body);
    });
}

#[test]
fn an_account_evicted_and_asked_again_during_its_refresh_makes_one_call() {
    gate_with(Time::Runs, ALL_APPS, None, 100, |w| async move {
        w.sim.add_fault(Fault::Delay { ms: 300 }.at("generic").on_token());
        let mut arrivals = w.sim.on_request();
        let first = tokio::task::spawn_local({
            let w = w.clone();
            async move { w.get("/any/x").await.status }
        });
        arrivals.wait_for(|n| *n >= 1).await.unwrap();
        let id = w.settings.apps["any"].implicit_account().unwrap().id.clone();
        let live = w.accounts.peek(&id).unwrap();
        w.accounts.evict(&id);
        let again =
            w.accounts.find(&w.settings.apps["any"], w.settings.apps["any"].implicit_account().unwrap());
        assert!(std::sync::Arc::ptr_eq(&live, &again), "a second keeper was made");
        drop((live, again));
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(first.await.unwrap(), 200);
        assert_eq!(w.sim.token_calls("generic"), 1);
    });
}

#[test]
fn an_account_let_go_ends_its_keeper_and_wakes_again_when_asked() {
    gate_with(Time::Runs, ALL_APPS, None, 100, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        let id = w.settings.apps["any"].implicit_account().unwrap().id.clone();
        w.accounts.evict(&id);
        w.accounts.let_go_idle();
        assert!(w.accounts.peek(&id).is_none());
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn an_hour_of_steady_traffic_on_five_minute_tokens_makes_as_many_calls_as_lifetimes_used_and_nobody_waits() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        let id = w.settings.apps["any"].implicit_account().unwrap().id.clone();
        let live = w.accounts.peek(&id).unwrap();
        for _ in 0..1800 {
            tokio::time::advance(2 * SECOND).await;
            assert!(live.borrow_token().is_some(), "a request would have had to wait");
            assert_eq!(w.get("/any/x").await.status, 200);
        }
        // The first, and one for every 70 % of 300 s: 1 + 3600 / 210, give or take one.
        let calls = w.sim.token_calls("generic");
        assert!((17..=19).contains(&calls), "{calls} token calls");
    });
}

#[test]
fn an_idle_account_makes_no_token_calls() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        w.pass(3600 * SECOND, 10 * SECOND).await;
        // The first token was used, so it is renewed once; after that nobody asks.
        assert!(w.sim.token_calls("generic") <= 2, "{}", w.sim.token_calls("generic"));
        assert_eq!(w.get("/any/x").await.status, 200);
    });
}

/// So many sellers `s0`, `s1`, … at one token endpoint with a budget.
fn metered_sellers(count: usize, budget: &str) -> String {
    let app = format!(
        "[apps.many]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
         credentials = \"per-account\"\ntoken_budget = \"{budget}\"\n"
    );
    (0..count).fold(app, |text, number| {
        text + &format!(
            "[apps.many.accounts.s{number}]\nclient_id = \"s{number}\"\nclient_secret = \"s{number}-secret\"\n"
        )
    })
}

#[test]
fn ten_thousand_accounts_never_break_the_budget_of_their_token_endpoint() {
    let configuration = metered_sellers(10_000, "174/5m");
    gate(Time::Held, &configuration, |w| async move {
        let app = &w.settings.apps["many"];
        let mut asking = JoinSet::new();
        for account in app.accounts.values() {
            let live = w.accounts.find(app, account);
            asking.spawn_local(async move { live.token(1200 * SECOND).await.is_ok() });
        }
        let mut calls = Vec::new();
        for _ in 0..1100 {
            tokio::time::advance(SECOND).await;
            w.sim.until(|_| true).await;
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
            calls.push(w.sim.token_calls("generic"));
        }
        // Calls in any 300 s, second by second: what the endpoint would count.
        let most = (300..calls.len()).map(|end| calls[end] - calls[end - 300]).max().unwrap();
        assert!(most <= 174, "{most} calls in a window");
        assert!(*calls.last().unwrap() >= 3 * 174, "the budget was not used: {}", calls.last().unwrap());
        asking.abort_all();
    });
}

#[test]
fn a_client_secret_that_is_being_rotated_may_be_either_of_two() {
    let configuration = "[apps.any]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\n\
        token_url = \"SIM/generic/oauth/token\"\nclient_id = \"any-1\"\nclient_secret = [\"new\", \"any-1-secret\"]\n";
    gate(Time::Runs, configuration, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn a_secret_file_that_changes_is_used_at_the_next_token_call() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "wrong\n").unwrap();
    let configuration = format!(
        "[apps.any]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
         client_id = \"any-1\"\nclient_secret = {{ file = \"{}\" }}\n",
        file.path().display()
    );
    gate(Time::Runs, &configuration, |w| async move {
        let refused = w.get("/any/x").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "token_unavailable"));
        assert!(refused.json()["action"].as_str().unwrap().contains("client_secret"), "{}", refused.body);
        std::fs::write(file.path(), "any-1-secret\n").unwrap();
        assert_eq!(w.get("/any/x").await.status, 200);
    });
}

#[test]
fn a_static_key_from_a_file_is_replaced_within_seconds() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "pak_one").unwrap();
    let configuration = format!(
        "[apps.depop]\nprovider = \"depop\"\nenvironment = \"simulator\"\nsimulator = \"SIM\"\napi_key = {{ file = \"{}\" }}\n",
        file.path().display()
    );
    gate(Time::Held, &configuration, |w| async move {
        let shown = |w: Rc<World>| async move {
            assert_eq!(w.get("/depop/api/v1/shop/").await.status, 200);
            w.sim.requests().last().unwrap().account.clone()
        };
        let before = shown(w.clone()).await;
        std::fs::write(file.path(), "pak_two").unwrap();
        w.pass(5 * SECOND, SECOND).await;
        shown(w.clone()).await;
        w.pass(SECOND, SECOND).await;
        let after = shown(w.clone()).await;
        assert_ne!(before, after);
        std::fs::remove_file(file.path()).unwrap();
        w.pass(5 * SECOND, SECOND).await;
        assert_eq!(shown(w.clone()).await, after, "a key that was good is kept when its file is gone");
    });
}

#[test]
fn an_unreadable_secret_file_does_not_keep_the_other_secret_from_being_tried() {
    let configuration = |file: &std::path::Path| {
        format!(
            "[apps.any]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
             client_id = \"any-1\"\nclient_secret = [{{ file = \"{}\" }}, \"any-1-secret\"]\n",
            file.display()
        )
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "soon-gone").unwrap();
    let path = file.path().to_owned();
    gate(Time::Runs, &configuration(&path), |w| async move {
        drop(file);
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 1);
    });
}

#[test]
fn a_caller_who_left_makes_room_for_one_who_waits() {
    let configuration = metered_sellers(20, "1/1m");
    gate(Time::Held, &configuration, |w| async move {
        let app = &w.settings.apps["many"];
        let live = |name: &str| w.accounts.find(app, &app.accounts[name]);
        let mut left = JoinSet::new();
        for number in 0..19 {
            let account = live(&format!("s{number}"));
            left.spawn_local(async move { account.token(600 * SECOND).await.is_ok() });
        }
        w.sim.until(|sim| sim.token_calls("generic") == 1).await;
        left.abort_all();
        while left.join_next().await.is_some() {}
        let last = live("s19");
        let waiting = tokio::task::spawn_local(async move { last.token(600 * SECOND).await.is_ok() });
        w.pass(62 * SECOND, SECOND).await;
        w.sim.until(|sim| sim.token_calls("generic") == 2).await;
        assert!(waiting.await.unwrap(), "the one who waits was served last");
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}
