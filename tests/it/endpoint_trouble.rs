//! A token endpoint that fails for everybody is asked with one call at a time; an account that fails alone is asked about ever
//! more rarely, and holds up nobody.

use std::time::Duration;

use marketgate::{
    grant::AccountState,
    oauth::{Class, TokenError},
    store::LoginReason,
};
use tokio::time::Instant;

use crate::stage::{MINUTE, SECOND, Stage, app, failure, granted, pass};

/// What an outage looks like.
fn outages() -> Vec<TokenError> {
    vec![
        failure(Class::ServerTrouble, 500, "defect"),
        failure(Class::ServerTrouble, 502, "<html>"),
        failure(Class::ServerTrouble, 503, "down"),
        failure(Class::Throttled, 429, "slow down"),
        failure(Class::NotSent, 0, "connection refused"),
        failure(Class::Ambiguous, 0, "the connection broke"),
        failure(Class::Ambiguous, 200, "an error in an answer of success"),
        failure(Class::Misconfigured, 404, "not found"),
    ]
}

#[tokio::test(start_paused = true)]
async fn twenty_busy_sellers_ask_a_failing_endpoint_thirty_times_a_minute_and_are_served_when_it_returns() {
    for outage in outages().into_iter().take(7) {
        let stage = Stage::with_sellers(&app(""), 20).await;
        let name = outage.to_string();
        stage.play_failing(outage);
        let served: Vec<_> = (0..20).map(|seller| stage.busy(seller)).collect();
        pass(10 * SECOND).await;
        stage.shown();
        for minute in 0..3 {
            pass(MINUTE).await;
            let calls = stage.shown().len();
            assert!((10..=30).contains(&calls), "{name}: {calls} calls in minute {minute}");
        }
        let returned = Instant::now();
        stage.play_granting(5 * MINUTE);
        pass(2 * SECOND + SECOND / 10).await;
        for (seller, served) in served.iter().enumerate() {
            let at = served.lock().unwrap();
            assert!(at.is_some_and(|at| at >= returned), "{name}: seller {seller} is not served yet");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_refused_for_everybody_is_not_put_again_by_each() {
    let stage = Stage::with_sellers(&app(""), 20).await;
    stage.play_failing(failure(Class::Misconfigured, 404, "not found"));
    let _served: Vec<_> = (0..20).map(|seller| stage.busy(seller)).collect();
    pass(10 * SECOND).await;
    stage.shown();
    pass(MINUTE).await;
    let calls = stage.shown().len();
    assert!(calls <= 30, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_which_every_call_hangs_is_asked_no_oftener() {
    let stage = Stage::with_sellers(&app(""), 20).await;
    stage.play_failing(failure(Class::ServerTrouble, 504, "gateway timeout"));
    let _served: Vec<_> = (0..20).map(|seller| stage.busy(seller)).collect();
    pass(10 * SECOND).await;
    stage.shown();
    pass(5 * MINUTE).await;
    assert!(stage.shown().len() <= 150);
}

#[tokio::test(start_paused = true)]
async fn a_seller_whose_refresh_always_fails_is_asked_about_ever_more_rarely_and_holds_up_nobody() {
    for failing in [failure(Class::ServerTrouble, 500, "no such user"), failure(Class::Ambiguous, 200, "odd")]
    {
        let stage = Stage::with_sellers(&app(""), 4).await;
        let error = failing.clone();
        stage.play(
            move |shown| if shown.seller == 0 { Err(error.clone()) } else { Ok(granted(shown, MINUTE)) },
        );
        let _asking = stage.busy(0);
        let healthy: Vec<_> = (1..4).map(|seller| stage.busy(seller)).collect();
        pass(2 * MINUTE).await;
        stage.shown();
        for _ in 0..28 {
            pass(MINUTE).await;
            for served in &healthy {
                let at = served.lock().unwrap().unwrap();
                assert!(at.elapsed() < SECOND, "{failing}: a healthy seller waited");
            }
        }
        let calls = stage.shown().iter().filter(|shown| shown.seller == 0).count();
        assert!((5..=20).contains(&calls), "{failing}: {calls} calls in 28 minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_seller_of_an_endpoint_is_asked_about_ever_more_rarely_if_its_answer_is_odd() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    stage.play_failing(failure(Class::Ambiguous, 200, "an error in an answer of success"));
    let _asking = stage.busy(0);
    pass(MINUTE).await;
    let first = stage.shown().len();
    assert!(first <= 33, "{first} calls in the first minute");
    pass(10 * MINUTE).await;
    let more = stage.shown().len();
    assert!((2..=12).contains(&more), "{more} calls in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn the_time_a_server_asks_for_is_kept_before_a_repetition_too() {
    let patient = |seconds| TokenError {
        retry_after: Some(SECOND * seconds),
        ..failure(Class::ServerTrouble, 503, "come back later")
    };
    let stage = Stage::with_sellers(&app(""), 10).await;
    stage.play_failing(patient(12));
    let _asking: Vec<_> = (0..10).map(|seller| stage.busy(seller)).collect();
    pass(11 * SECOND).await;
    let calls = stage.shown().len();
    assert!(calls <= 10, "{calls} calls in spite of Retry-After: at most one for each before anybody knew");
    // Within a long window it is waited for, and the token is then shown once more.
    let stage = Stage::with_sellers(&app("reuse_window = \"10m\""), 1).await;
    stage.play_failing(patient(30));
    let asking = stage.busy(0);
    pass(29 * SECOND).await;
    assert_eq!(stage.calls(), 1);
    stage.play_granting(MINUTE);
    pass(2 * SECOND).await;
    assert!(asking.lock().unwrap().is_some());
    assert_eq!(stage.shown().iter().map(|shown| shown.at.as_secs()).collect::<Vec<_>>(), [0, 30]);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_that_nobody_can_change_are_left_alone() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    stage.play_failing(failure(Class::InvalidClient, 401, "invalid_client"));
    assert_eq!(stage.ask(0).await, Err(AccountState::Misconfigured));
    let _asking = stage.busy(0);
    pass(30 * MINUTE).await;
    assert_eq!(stage.shown().len(), 1, "asked again though nothing has changed");
    stage.play_granting(MINUTE);
    stage.accounts.refresh(&stage.id(0), 5 * SECOND).await.unwrap();
    assert!(stage.ask(0).await.is_ok(), "a person's word has it tried again");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_everybody_is_held_and_all_go_on_when_it_accepts_one() {
    let stage = Stage::with_sellers(&app(""), 0).await;
    for seller in 0..10 {
        stage.put(stage.record_with_token(seller, 10 * MINUTE)).await;
    }
    let served: Vec<_> = (0..10).map(|seller| stage.busy(seller)).collect();
    pass(6 * MINUTE).await;
    stage.play_failing(failure(Class::InvalidGrant, 400, "invalid_grant: Invalid token issuer"));
    pass(3 * MINUTE).await;
    for served in &served {
        assert!(served.lock().unwrap().unwrap().elapsed() < SECOND, "a valid token was not used to its end");
    }
    let mut ended = 0;
    for seller in 0..10 {
        let shown = stage.show(seller).await;
        ended += usize::from(shown.state == "login_required");
        if shown.state != "login_required" {
            assert_eq!(shown.state, "degraded");
            assert!(shown.trouble.unwrap().detail.contains("the token endpoint refuses everybody"));
        }
    }
    assert!(ended < 3, "{ended} accounts were ended");
    pass(10 * MINUTE).await;
    stage.shown();
    pass(10 * MINUTE).await;
    let calls = stage.shown().len();
    assert!(calls <= 30, "{calls} calls in ten minutes");
    stage.play_granting(5 * MINUTE);
    pass(2 * MINUTE).await;
    for (seller, served) in served.iter().enumerate().take(10) {
        assert_eq!(stage.show(seller).await.state, "ready", "seller {seller}");
        assert!(served.lock().unwrap().unwrap().elapsed() < SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn sellers_who_are_revoked_one_by_one_are_ended_while_others_go_on_and_after_a_hold_too() {
    let stage = Stage::with_sellers(&app(""), 8).await;
    let refusal = failure(Class::InvalidGrant, 400, "invalid_grant");
    let error = refusal.clone();
    stage.play(move |shown| if shown.seller < 5 { Err(error.clone()) } else { Ok(granted(shown, MINUTE)) });
    let _busy: Vec<_> = (0..8).map(|seller| stage.busy(seller)).collect();
    pass(3 * MINUTE).await;
    for seller in 0..5 {
        let shown = stage.show(seller).await;
        assert_eq!((shown.state.as_str(), shown.reason.as_deref()), ("login_required", Some("revoked")));
    }
    for seller in 5..8 {
        assert!(stage.ask(seller).await.is_ok());
    }
    // All are refused; then those that are revoked indeed are told so, and the others go on.
    let stage = Stage::with_sellers(&app(""), 8).await;
    stage.play_failing(refusal.clone());
    let _busy: Vec<_> = (0..8).map(|seller| stage.busy(seller)).collect();
    pass(MINUTE).await;
    stage.play(move |shown| if shown.seller < 5 { Err(refusal.clone()) } else { Ok(granted(shown, MINUTE)) });
    pass(10 * MINUTE).await;
    for seller in 0..5 {
        assert_eq!(
            stage.ask(seller).await,
            Err(AccountState::LoginRequired(LoginReason::Revoked)),
            "{seller}"
        );
    }
    for seller in 5..8 {
        assert!(stage.ask(seller).await.is_ok(), "{seller}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_has_to_wait_for_a_failing_endpoint_hears_why() {
    let stage = Stage::with_sellers(&app(""), 3).await;
    let patient = TokenError {
        retry_after: Some(MINUTE),
        ..failure(Class::ServerTrouble, 503, "the database is away")
    };
    stage.play_failing(patient);
    let _busy: Vec<_> = (0..2).map(|seller| stage.busy(seller)).collect();
    pass(SECOND).await;
    let live = stage.live(2).await;
    let unavailable = live.token(Duration::from_secs(2)).await.unwrap_err();
    assert!(unavailable.detail.contains("the database is away"), "{}", unavailable.detail);
    let retry_after = unavailable.retry_after.unwrap();
    assert!((40 * SECOND..=MINUTE).contains(&retry_after), "{retry_after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_server_asked_for_is_kept_though_the_account_is_let_go_or_changed_in_it() {
    for is_changed in [false, true] {
        let stage = Stage::with_sellers(&app(""), 1).await;
        let throttled = failure(Class::Throttled, 429, "slow down");
        stage.play_failing(TokenError { retry_after: Some(MINUTE), ..throttled });
        assert_eq!(stage.ask(0).await, Err(AccountState::Degraded));
        if is_changed {
            drop(stage.live.change(&stage.id(0), None, std::time::Duration::MAX).await);
        } else {
            stage.live.evict(&stage.id(0));
        }
        stage.shown();
        stage.play_granting(5 * MINUTE);
        let _busy = stage.busy(0);
        pass(50 * SECOND).await;
        assert_eq!(stage.calls(), 0, "changed: {is_changed}");
        let unavailable = stage.live(0).await.token(SECOND).await.unwrap_err();
        assert!(unavailable.detail.contains("slow down"), "{}", unavailable.detail);
        assert!(unavailable.retry_after.is_some_and(|left| left <= 10 * SECOND), "{unavailable:?}");
        pass(11 * SECOND).await;
        assert_eq!(stage.calls(), 1, "changed: {is_changed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_endpoint_is_asked_with_every_grant_in_turn_though_one_has_callers_that_wait() {
    let stage = Stage::with_sellers(&app(""), 3).await;
    let refusal = failure(Class::InvalidGrant, 400, "invalid_grant");
    stage.play_failing(refusal.clone());
    for seller in 1..3 {
        assert_eq!(stage.ask(seller).await, Err(AccountState::LoginRequired(LoginReason::Revoked)));
    }
    let _busy = stage.busy(0);
    pass(SECOND).await;
    assert_eq!(stage.show(0).await.state, "degraded");
    // The other two were refused by mistake; they are tried again though nobody waits for them.
    stage
        .play(move |shown| if shown.seller == 0 { Err(refusal.clone()) } else { Ok(granted(shown, MINUTE)) });
    pass(5 * MINUTE).await;
    assert_eq!(stage.show(1).await.state, "ready");
    assert_eq!(stage.show(2).await.state, "ready");
    assert_eq!(stage.show(0).await.state, "login_required");
}
