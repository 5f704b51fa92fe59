//! Token endpoints that are down, slow or wrong.

use std::time::Duration;

use crate::harness::{ALL_APPS, Time, app_with_lifetime, gate};
use marketgate::sim::Fault;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_outage_is_not_noticed_before_the_token_expires_and_is_over_within_two_seconds() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        let step = SECOND / 2;
        let mut elapsed = Duration::ZERO;
        let mut down = false;
        while elapsed < 298 * SECOND {
            tokio::time::advance(step).await;
            elapsed += step;
            if !down && elapsed >= 180 * SECOND {
                w.sim.add_fault(
                    Fault::Status { status: 503, retry_after: None, body: None }
                        .at("generic")
                        .on_token()
                        .for_ever(),
                );
                down = true;
            }
            assert_eq!(w.get("/any/x").await.status, 200, "failed before expiry, at {elapsed:?}");
        }
        assert!(w.sim.token_calls("generic") > 2, "the refresh was not tried meanwhile");
        tokio::time::advance(3 * SECOND).await;
        for _ in 0..20 {
            tokio::time::advance(step).await;
            let refused = w.get("/any/x").await;
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (503, "token_unavailable"),
                "{}",
                refused.body
            );
            let retry_after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=2).contains(&retry_after), "{retry_after}");
        }
        w.sim.clear_faults();
        let mut recovered = Duration::ZERO;
        loop {
            tokio::time::advance(step / 5).await;
            recovered += step / 5;
            if w.get("/any/x").await.status == 200 {
                break;
            }
            assert!(recovered < 2 * SECOND, "still refused {recovered:?} after the endpoint came back");
        }
    });
}

#[test]
fn a_cold_start_during_a_short_outage_makes_the_caller_wait_and_then_answers_him() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let down = Fault::Status { status: 503, retry_after: None, body: None };
        w.sim.add_fault(down.at("generic").on_token().times(2));
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 3);
    });
}

#[test]
fn a_token_endpoint_that_asks_for_patience_gets_it() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        let throttled = Fault::Status { status: 429, retry_after: Some("30".to_owned()), body: None };
        w.sim.add_fault(throttled.at("generic").on_token());
        // The first caller waits, then hears how long it takes; the endpoint is left alone.
        let first = w.get("/any/x");
        let moved = async {
            w.sim.until(|sim| sim.token_calls("generic") == 1).await;
            for _ in 0..20 {
                tokio::time::advance(SECOND).await;
                crate::harness::settle().await;
            }
        };
        let (first, ()) = tokio::join!(first, moved);
        assert_eq!(first.status, 503, "{}", first.body);
        let asked: u64 = first.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((10..=30).contains(&asked), "{asked}");
        assert_eq!(w.sim.token_calls("generic"), 1);
        tokio::time::advance(31 * SECOND).await;
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn an_account_whose_turn_is_not_near_hears_when_to_ask_again() {
    let mut configuration = String::from(
        "[upstream]\ntimeouts = { token_wait = \"300ms\" }\n[apps.many]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\n\
         token_url = \"SIM/generic/oauth/token\"\ncredentials = \"per-account\"\ntoken_budget = \"2/1m\"\n",
    );
    for name in ["a", "b", "c"] {
        configuration.push_str(&format!(
            "[apps.many.accounts.{name}]\nclient_id = \"{name}\"\nclient_secret = \"{name}-secret\"\n"
        ));
    }
    gate(Time::Runs, &configuration, |w| async move {
        assert_eq!((w.get("/many@a/x").await.status, w.get("/many@b/x").await.status), (200, 200));
        let refused = w.get("/many@c/x").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "token_unavailable"), "{}", refused.body);
        let retry_after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((50..=61).contains(&retry_after), "{retry_after}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("budget"), "{}", refused.body);
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn token_calls_that_hang_hold_up_no_other_account() {
    let hanging = 64;
    let mut configuration = String::from(
        "[apps.many]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
         credentials = \"per-account\"\n",
    );
    for number in 0..=hanging {
        configuration.push_str(&format!(
            "[apps.many.accounts.s{number}]\nclient_id = \"s{number}\"\nclient_secret = \"s{number}-secret\"\n"
        ));
    }
    gate(Time::Runs, &configuration, |w| async move {
        w.sim.add_fault(Fault::Hang {}.at("generic").on_token().times(hanging));
        let mut calls = w.sim.on_request();
        let ask = |number: u64| {
            let w = w.clone();
            tokio::task::spawn_local(async move { w.get(&format!("/many@s{number}/x")).await })
        };
        let waiting: Vec<_> = (0..hanging).map(ask).collect();
        calls.wait_for(|_| w.sim.token_calls("generic") == hanging as usize).await.unwrap();
        let healthy = w.get(&format!("/many@s{hanging}/x")).await;
        assert_eq!(healthy.status, 200, "{}", healthy.body);
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "it waited as long as they do");
    });
}

#[test]
fn a_hung_token_endpoint_costs_a_waiting_caller_no_more_than_token_wait() {
    let configuration = format!("[upstream]\ntimeouts = {{ token_wait = \"300ms\" }}\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        w.sim.add_fault(Fault::Hang {}.at("generic").on_token().for_ever());
        let refused = w.get("/any/x").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "token_unavailable"), "{}", refused.body);
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(w.sim.api_calls("generic"), 0, "a request went out without a token");
    });
}

#[test]
fn unusable_answers_of_a_token_endpoint_never_reach_a_request() {
    let configuration = format!("[upstream]\ntimeouts = {{ token_wait = \"300ms\" }}\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        for fault in [Fault::Garbage {}, Fault::Cut { after_bytes: 20 }, Fault::Reset {}] {
            w.sim.clear_faults();
            w.sim.add_fault(fault.at("generic").on_token().for_ever());
            assert_eq!(w.get("/any/x").await.status, 503);
        }
        assert_eq!(w.sim.api_calls("generic"), 0);
    });
}

#[test]
fn a_token_that_expires_while_a_request_waits_for_a_connection_is_not_sent() {
    let configuration = format!("[upstream]\nlimits = {{ connections = 1 }}\n{}", app_with_lifetime(40));
    gate(Time::Held, &configuration, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        w.sim.add_fault(Fault::Delay { ms: 50_000 }.at("generic").below("/api"));
        let get = |path: &'static str| {
            tokio::task::spawn_local({
                let w = w.clone();
                async move { w.get(path).await.status }
            })
        };
        let slow = get("/any/slow");
        w.sim.until(|sim| sim.api_calls("generic") == 2).await;
        tokio::time::advance(25 * SECOND).await;
        let waiting = get("/any/waiting");
        crate::harness::settle().await;
        w.pass(30 * SECOND, SECOND).await;
        assert_eq!((slow.await.unwrap(), waiting.await.unwrap()), (200, 200));
        let late = w.sim.requests().into_iter().filter(|request| request.target.ends_with("/waiting"));
        let answers: Vec<_> = late.map(|request| request.status).collect();
        assert_eq!(answers, [Some(200)], "an expired token went out");
    });
}
