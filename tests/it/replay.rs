//! A marketplace that refuses a token before its time.

use std::time::Duration;

use crate::harness::{ALL_APPS, Time, app_with_lifetime, gate};
use marketgate::sim::{Fault, Policy};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_revoked_token_is_replaced_once_and_the_request_repeated_whatever_its_method() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.revoke("generic", "any-1");
        let answer = w.send(w.http.post(w.url("/any/x")).body("precious")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            (answer.json()["method"].as_str(), answer.json()["body_length"].as_u64()),
            (Some("POST"), Some(8))
        );
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn an_answer_explains_itself_to_whoever_asks_and_to_nobody_else() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.headers.get("marketgate-explain"), None);
        tokio::time::advance(60 * SECOND).await;
        let ask =
            |value: &'static str| w.send(w.http.get(w.url("/any/x")).header("Marketgate-Explain", value));
        let answer = ask("1").await;
        let told = answer.headers["marketgate-explain"].to_str().unwrap();
        // Its connection had rested too long meanwhile.
        let upstream = w.sim_address;
        assert_eq!(
            told,
            format!(
                "account=\"any@default\", token-age=60, token-generation=1, replayed=?0, \
                 upstream=\"{upstream}\", protocol=\"http/1.1\", reused=?0"
            )
        );
        let timing = answer.headers["server-timing"].to_str().unwrap();
        assert!(timing.starts_with("token;dur=0.") && timing.contains(", upstream;dur="), "{timing}");
        assert!(!answer.body.contains("marketgate-explain"), "it was sent on: {}", answer.body);
        w.sim.revoke("generic", "any-1");
        let told = ask("1").await.headers["marketgate-explain"].to_str().unwrap().to_owned();
        assert!(
            told.contains("token-age=0, token-generation=2, replayed=?1") && told.ends_with("reused=?1"),
            "{told}"
        );
        assert_eq!(ask("0").await.headers.get("marketgate-explain"), None);
    });
}

#[test]
fn a_storm_of_refusals_makes_one_token_call_and_repeats_each_request_once() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.revoke("generic", "any-1");
        let before = w.sim.api_calls("generic");
        let mut storm = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let w = w.clone();
            storm.spawn_local(async move { w.get("/any/x").await.status });
        }
        assert!(storm.join_all().await.into_iter().all(|status| status == 200));
        assert_eq!(w.sim.token_calls("generic"), 2);
        assert!(w.sim.api_calls("generic") - before <= 400);
    });
}

#[test]
fn a_token_minted_moments_ago_that_is_refused_is_unwelcome_and_the_refusal_passed_on_with_what_we_know() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        w.sim.add_fault(
            Fault::Status { status: 401, retry_after: None, body: None }
                .at("generic")
                .below("/api")
                .for_ever(),
        );
        let refused = w.get_in_passing("/any/x").await;
        assert_eq!(refused.status, 401);
        let status = refused.headers["proxy-status"].to_str().unwrap();
        assert!(status.contains("received-status=401") && status.contains("any@default"), "{status}");
        assert_eq!(w.sim.token_calls("generic"), 1);
        // A permanent 401 costs at most one forced refresh in thirty seconds.
        for _ in 0..120 {
            tokio::time::advance(SECOND).await;
            assert_eq!(w.get_in_passing("/any/x").await.status, 401);
        }
        assert!((2..=6).contains(&w.sim.token_calls("generic")), "{}", w.sim.token_calls("generic"));
    });
}

#[test]
fn a_token_that_the_api_knows_a_moment_late_costs_the_first_request_that_moment() {
    gate(Time::Runs, &app_with_lifetime(300), |w| async move {
        w.sim.change_policy("generic", |policy: &mut Policy| policy.access_token_young_ms = 250);
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 1);
    });
}

#[test]
fn a_403_never_refreshes() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        assert_eq!(w.get("/any/status/403").await.status, 403);
        assert_eq!(w.sim.token_calls("generic"), 1);
    });
}

#[test]
fn a_body_too_long_to_keep_is_not_repeated_and_its_refusal_passed_on() {
    let configuration =
        format!("[upstream]\nlimits = {{ replay_body = \"1KiB\" }}\n{}", app_with_lifetime(300));
    gate(Time::Held, &configuration, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.revoke("generic", "any-1");
        let answer = w.send(w.http.post(w.url("/any/x")).body("x".repeat(2000))).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        // The token was replaced all the same, for the next request.
        assert_eq!(w.get("/any/x").await.status, 200);
    });
}

#[test]
fn an_app_may_say_what_is_repeated() {
    let configuration = format!("{}replay = \"idempotent\"\n", app_with_lifetime(300));
    gate(Time::Held, &configuration, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.revoke("generic", "any-1");
        assert_eq!(w.send(w.http.post(w.url("/any/x")).body("x")).await.status, 401);
        assert_eq!(w.send(w.http.put(w.url("/any/x")).body("x")).await.status, 200);
    });
}

#[test]
fn walmarts_expiry_told_by_a_400_with_a_code_is_understood() {
    gate(Time::Held, ALL_APPS, |w| async move {
        assert_eq!(w.get("/walmart/v3/items").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.add_fault(Fault::ExpiredAs400 {}.at("walmart-marketplace"));
        assert_eq!(w.get("/walmart/v3/items").await.status, 200);
        assert_eq!(w.sim.token_calls("walmart-marketplace"), 2);
        // Any other 400 is passed on as it is.
        let other = w.send(w.http.post(w.url("/walmart/v3/feeds?feedType=item")).body("x")).await;
        assert!((400..500).contains(&other.status));
        assert_eq!(w.sim.token_calls("walmart-marketplace"), 2);
    });
}

#[test]
fn a_refusal_that_breaks_off_is_a_refusal_all_the_same() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        tokio::time::advance(60 * SECOND).await;
        w.sim.revoke("generic", "any-1");
        w.sim.add_fault(Fault::CutBody { after_bytes: 3 }.at("generic").below("/api"));
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.sim.token_calls("generic"), 2);
    });
}

#[test]
fn a_refresh_that_failed_before_does_not_keep_a_refused_token_in_use() {
    gate(Time::Held, &app_with_lifetime(300), |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        let down = Fault::Status { status: 503, retry_after: None, body: None };
        w.sim.add_fault(down.at("generic").on_token());
        tokio::time::advance(240 * SECOND).await;
        assert_eq!(w.get("/any/x").await.status, 200);
        w.sim.until(|sim| sim.token_calls("generic") == 2).await;
        w.sim.revoke("generic", "any-1");
        let mut storm = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let w = w.clone();
            storm.spawn_local(async move { w.get("/any/x").await.status });
        }
        let moved = async {
            while w.sim.token_calls("generic") < 3 {
                tokio::time::advance(SECOND / 10).await;
                crate::harness::settle().await;
            }
        };
        let (answers, ()) = tokio::join!(storm.join_all(), moved);
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
        assert_eq!(w.sim.token_calls("generic"), 3);
    });
}

#[test]
fn a_marketplace_that_refuses_every_token_is_asked_for_ever_fewer() {
    gate(Time::Held, &app_with_lifetime(3600), |w| async move {
        let refuses = Fault::Status { status: 401, retry_after: None, body: None };
        w.sim.add_fault(refuses.at("generic").below("/api").for_ever());
        for _ in 0..600 {
            tokio::time::advance(SECOND).await;
            assert_eq!(w.get_in_passing("/any/x").await.status, 401);
        }
        // 30 s, 60 s, 120 s, 240 s: doubled each time the new token is refused as well.
        assert!((4..=7).contains(&w.sim.token_calls("generic")), "{}", w.sim.token_calls("generic"));
    });
}
