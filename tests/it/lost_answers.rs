//! An answer that was lost: how often the refresh token is shown again, when, and what a refusal then means.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use marketgate::{
    grant::AccountState,
    oauth::{Class, TokenError},
    store::{Intent, LoginReason, Store},
};

use crate::stage::{MINUTE, SECOND, Stage, app, failure, granted, pass};

const LOST: AccountState = AccountState::LoginRequired(LoginReason::RotationResponseLost);

fn cut() -> TokenError {
    failure(Class::Ambiguous, 0, "the connection broke before an answer came")
}

#[tokio::test(start_paused = true)]
async fn whatever_words_refuse_a_token_shown_again_after_a_lost_answer_the_reason_is_that_answer() {
    for (class, status, words) in [
        (Class::InvalidGrant, 400, "invalid_grant: Maximum allowed refresh token reuse exceeded"),
        (Class::Misconfigured, 400, "invalid_request: the token has already been claimed by another client"),
        (Class::InvalidClient, 400, "a refusal without an error code"),
        (Class::Refused, 409, "gone"),
    ] {
        let stage = Stage::with_sellers(&app(""), 1).await;
        let calls = AtomicUsize::new(0);
        stage.play(move |_| match calls.fetch_add(1, Relaxed) {
            0 => Err(cut()),
            _ => Err(failure(class, status, words)),
        });
        assert_eq!(stage.ask(0).await, Err(LOST), "{words}");
        pass(60 * MINUTE).await;
        assert_eq!(stage.shown().len(), 2, "{words}: one lost answer allows one more showing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_secret_after_a_lost_answer_ends_nothing() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    let calls = AtomicUsize::new(0);
    stage.play(move |_| match calls.fetch_add(1, Relaxed) {
        0 => Err(cut()),
        _ => Err(failure(Class::InvalidClient, 401, "invalid_client")),
    });
    assert_eq!(stage.ask(0).await, Err(AccountState::Misconfigured));
}

#[tokio::test(start_paused = true)]
async fn what_a_repetition_brought_and_is_refused_at_its_first_use_was_lost_too_even_after_a_restart() {
    for restarted in [false, true] {
        let mut stage = Stage::with_sellers(&app(""), 1).await;
        let calls = Arc::new(AtomicUsize::new(0));
        stage.play(move |shown| match calls.fetch_add(1, Relaxed) {
            0 => Err(cut()),
            1 => Ok(granted(shown, MINUTE)),
            _ => Err(failure(Class::InvalidGrant, 400, "invalid_grant")),
        });
        assert!(stage.ask(0).await.is_ok());
        assert!(stage.stored(0).await.notes.after_lost_answer);
        if restarted {
            stage = stage.killed();
        }
        pass(2 * MINUTE).await;
        assert_eq!(stage.ask(0).await, Err(LOST), "restarted: {restarted}");
    }
}

#[tokio::test(start_paused = true)]
async fn once_what_a_repetition_brought_was_accepted_a_later_refusal_is_one_of_its_own() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    let calls = AtomicUsize::new(0);
    stage.play(move |shown| match calls.fetch_add(1, Relaxed) {
        0 => Err(cut()),
        1 | 2 => Ok(granted(shown, MINUTE)),
        _ => Err(failure(Class::InvalidGrant, 400, "invalid_grant")),
    });
    for _ in 0..2 {
        assert!(stage.ask(0).await.is_ok());
        pass(2 * MINUTE).await;
    }
    assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Revoked)));
}

/// A process that was killed while a refresh was under way, `ago` before the next one starts.
async fn killed_midway(keys: &str, token: Option<std::time::Duration>, ago: std::time::Duration) -> Stage {
    let stage = Stage::with_sellers(&app(keys), 0).await;
    // The process has started, and found nothing to take up.
    pass(SECOND / 100).await;
    let record = match token {
        Some(lifetime) => stage.record_with_token(0, lifetime),
        None => stage.record(0),
    };
    let intent = Intent { id: record.id.clone(), generation: 1, at: record.changed_at, counted: None };
    stage.put(record).await;
    stage.store.begin(intent).await.unwrap();
    pass(ago).await;
    stage.killed()
}

#[tokio::test(start_paused = true)]
async fn a_refresh_cut_off_by_a_kill_is_repeated_at_once_only_while_the_servers_window_runs() {
    let stage = killed_midway("reuse_window = \"30s\"", Some(5 * MINUTE), SECOND).await;
    pass(SECOND).await;
    assert_eq!(stage.shown().len(), 1, "a server that forgives for a time is asked in that time");
    for (keys, ago) in [("reuse_window = \"0s\"", SECOND), ("reuse_window = \"3s\"", 5 * SECOND)] {
        let stage = killed_midway(keys, Some(5 * MINUTE), ago).await;
        let served = stage.busy(0);
        pass(4 * MINUTE).await;
        assert_eq!(
            stage.shown(),
            [],
            "{keys}: the orphaned call is left alone while the stored token is valid"
        );
        assert!(served.lock().unwrap().unwrap().elapsed() < SECOND);
        pass(MINUTE + SECOND).await;
        assert_eq!(stage.shown().len(), 1, "{keys}: shown once when the token has ended");
        assert!(served.lock().unwrap().unwrap().elapsed() < SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_account_whose_refresh_was_cut_off_is_settled_when_its_token_has_ended() {
    let stage = killed_midway("reuse_window = \"0s\"", Some(5 * MINUTE), SECOND).await;
    pass(4 * MINUTE).await;
    assert_eq!(stage.shown(), []);
    pass(2 * MINUTE).await;
    assert_eq!(stage.shown().len(), 1);
    assert_eq!(stage.show(0).await.state, "ready");
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_token_the_call_that_was_cut_off_is_given_ten_seconds_to_end() {
    let stage = killed_midway("reuse_window = \"0s\"", None, SECOND).await;
    let live = stage.live(0).await;
    let refused = live.token(SECOND).await.unwrap_err();
    assert!(refused.detail.contains("cut off"), "{}", refused.detail);
    assert!(refused.retry_after.unwrap() <= 9 * SECOND);
    assert_eq!(stage.shown(), []);
    assert!(stage.ask(0).await.is_ok(), "a caller who waits is served then");
    assert_eq!(stage.shown().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_uses_are_counted_nothing_is_repeated_after_a_lost_answer() {
    let stage = Stage::with_sellers(&app("reuse_window = \"0s\""), 0).await;
    stage.put(stage.record_with_token(0, 5 * MINUTE)).await;
    stage.play_failing(cut());
    let served = stage.busy(0);
    pass(4 * MINUTE + 50 * SECOND).await;
    assert_eq!(stage.shown().len(), 1);
    assert!(served.lock().unwrap().unwrap().elapsed() < SECOND);
    pass(20 * SECOND).await;
    assert!(stage.shown().len() > 1, "it is the last resort once the token has ended");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_ended_while_somebody_waited_to_have_it_refreshed_is_not_tried_again() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    let calls = AtomicUsize::new(0);
    stage.play(move |_| match calls.fetch_add(1, Relaxed) {
        0 => Err(cut()),
        _ => Err(failure(Class::InvalidGrant, 400, "invalid_grant")),
    });
    assert_eq!(stage.ask(0).await, Err(LOST));
    stage.shown();
    // It was due, and its keeper was replaced while it refreshed: the order reaches the next keeper.
    drop(stage.live.change(&stage.id(0), None, std::time::Duration::MAX).await);
    stage.live(0).await.keep_up();
    pass(60 * MINUTE).await;
    assert_eq!(stage.shown(), []);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cut_off_is_given_ten_seconds_though_the_stored_token_ends_before() {
    let stage = killed_midway("reuse_window = \"0s\"", Some(5 * SECOND), SECOND).await;
    let served = stage.busy(0);
    pass(8 * SECOND).await;
    assert_eq!(stage.shown(), []);
    pass(2 * SECOND).await;
    assert_eq!(stage.shown().len(), 1);
    assert!(served.lock().unwrap().unwrap().elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lost_call_is_repeated_within_the_window_though_its_callers_gave_up_and_earlier_tries_failed() {
    let stage = Stage::with_sellers(&app("reuse_window = \"5s\""), 1).await;
    stage.play_failing(failure(Class::NotSent, 0, "no connection"));
    let live = stage.live(0).await;
    for _ in 0..4 {
        assert!(live.token(SECOND / 10).await.is_err());
        pass(2 * SECOND).await;
    }
    stage.shown();
    let calls = AtomicUsize::new(0);
    stage.play(move |shown| match calls.fetch_add(1, Relaxed) {
        0 => Err(cut()),
        _ => Ok(granted(shown, MINUTE)),
    });
    assert!(live.first_token(2 * SECOND).await.is_err());
    pass(5 * SECOND).await;
    let at: Vec<_> = stage.shown().iter().map(|shown| shown.at).collect();
    assert_eq!(at.len(), 2);
    assert!(at[1] - at[0] >= SECOND / 10, "in an outage it comes after the usual pause: {at:?}");
    assert!(stage.ask(0).await.is_ok());
}
