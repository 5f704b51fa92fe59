//! How a grant ends, by which words, and what is tried before anybody has to log in again.

use marketgate::{
    grant::AccountState,
    oauth::{Class, EndReason, TokenError},
    secret::Secret,
    store::{LoginReason, Standing},
};

use crate::stage::{MINUTE, SECOND, Stage, app, failure, granted, pass};

#[tokio::test(start_paused = true)]
async fn a_refused_grant_is_tried_again_after_a_minute_ten_an_hour_and_then_daily_and_heals_by_itself() {
    let mut stage = Stage::with_sellers(&app(""), 1).await;
    stage.play_failing(failure(Class::InvalidGrant, 400, "invalid_grant: User disabled"));
    assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Revoked)));
    let shown = stage.show(0).await;
    let trouble = shown.trouble.unwrap();
    let (refresh, login) =
        (trouble.action.find("marketgate accounts refresh shop@s0"), trouble.action.find("marketgate login"));
    assert!(refresh.unwrap() < login.unwrap(), "{}", trouble.action);
    assert!(trouble.detail.contains("User disabled"), "{}", trouble.detail);
    pass(10 * SECOND).await;
    // It is known after a restart too.
    stage = stage.killed();
    stage.shown();
    pass(75 * 60 * SECOND).await;
    let at: Vec<u64> = stage.shown().iter().map(|shown| shown.at.as_secs() / 60).collect();
    assert_eq!(at.len(), 3, "{at:?}");
    assert!(stage.show(0).await.trouble.unwrap().detail.contains("User disabled"));
    pass(4 * 24 * 60 * MINUTE).await;
    let days = stage.shown().len();
    assert!((3..=5).contains(&days), "{days} tries in four days");
    stage.play_granting(5 * MINUTE);
    pass(24 * 60 * MINUTE).await;
    assert_eq!(stage.show(0).await.state, "ready", "nobody asked for it");
    assert_eq!(stage.stored(0).await.standing, Standing::Active);
    assert_eq!(stage.stored(0).await.notes.refusal, None);
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_have_a_refused_grant_asked_about() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    stage.play_failing(failure(Class::InvalidGrant, 400, "invalid_grant"));
    let _busy = stage.busy(0);
    pass(9 * MINUTE).await;
    assert_eq!(stage.shown().len(), 2, "at once, and after a minute");
    // Another failure at such a try is not the start of a hundred others.
    stage.play_failing(failure(Class::ServerTrouble, 500, "defect"));
    pass(10 * MINUTE).await;
    let shown = stage.shown().len();
    assert!(shown <= 20, "{shown} calls in ten minutes");
    assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Revoked)));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_unknown_words_is_shown_in_full_and_asked_about_rarely() {
    let stage = Stage::with_sellers(&app(""), 0).await;
    stage.put(stage.record_with_token(0, 5 * MINUTE)).await;
    let words = "bad_refresh_token: this shop has moved to another plan";
    stage.play_failing(failure(Class::Refused, 200, words));
    let served = stage.busy(0);
    pass(4 * MINUTE + 50 * SECOND).await;
    assert!(served.lock().unwrap().unwrap().elapsed() < SECOND, "the valid token is used to its end");
    pass(MINUTE).await;
    assert_eq!(stage.ask(0).await, Err(AccountState::Refused));
    let shown = stage.show(0).await;
    assert_eq!(shown.state, "refused");
    assert!(shown.trouble.as_ref().unwrap().detail.contains(words), "{shown:?}");
    assert!(shown.trouble.unwrap().action.contains("marketgate accounts refresh shop@s0"));
    let before = stage.shown().len();
    assert!(before <= 3, "{before} calls");
    pass(45 * MINUTE).await;
    assert!(stage.shown().len() <= 2);
    let stage = stage.killed();
    let shown = stage.show(0).await;
    assert_eq!(shown.state, "refused", "after a restart too");
    assert!(shown.trouble.unwrap().detail.contains(words));
    stage.play_granting(5 * MINUTE);
    stage.accounts.refresh(&stage.id(0), 5 * SECOND).await.unwrap();
    assert!(stage.ask(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_somebody_else_used_is_told_with_what_to_stop() {
    for (class, reason, words) in [
        (Class::InvalidGrant, None, "invalid_grant: Maximum allowed refresh token reuse exceeded"),
        (Class::Misconfigured, None, "invalid_request: the token has already been claimed by another client"),
        (Class::Refused, Some(EndReason::Reused), "token_reused: refresh token reuse detected"),
    ] {
        let stage = Stage::with_sellers(&app(""), 1).await;
        stage.play_failing(TokenError { reason, ..failure(class, 400, words) });
        assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Revoked)), "{words}");
        for stage in [stage.show(0).await, stage.killed().show(0).await] {
            let action = stage.trouble.unwrap().action;
            assert!(action.starts_with("stop the other program"), "{action}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_reached_its_end_is_expired_by_the_clock_or_by_the_servers_words() {
    for words in ["invalid_grant: Refresh token expired.", "invalid_grant: Token is not active"] {
        let stage = Stage::with_sellers(&app(""), 1).await;
        let reason = Some(EndReason::Expired);
        stage.play_failing(TokenError { reason, ..failure(Class::InvalidGrant, 400, words) });
        assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Expired)), "{words}");
        pass(30 * MINUTE).await;
        assert_eq!(stage.shown().len(), 1, "nothing brings it back");
    }
    let stage = Stage::with_sellers(&app("refresh_token_lifetime = \"1h\""), 1).await;
    stage.play(move |shown| {
        let answer = granted(shown, 5 * MINUTE);
        if shown.token == 0 { Ok(answer) } else { Err(failure(Class::InvalidGrant, 400, "invalid_grant")) }
    });
    assert!(stage.ask(0).await.is_ok());
    let mut record = stage.stored(0).await;
    record.notes.end_is_fixed = Some(true);
    record.generation += 1;
    stage.put(record).await;
    let stage = stage.killed();
    let by = stage.show(0).await.login_required_by;
    assert!(by.is_some(), "an end that no refresh moves asks for a login in advance");
    pass(60 * MINUTE + 3 * SECOND).await;
    let shown = stage.show(0).await;
    assert_eq!((shown.state.as_str(), shown.reason.as_deref()), ("login_required", Some("expired")));
    assert_eq!(
        (shown.login_required_by, shown.refresh_token_expires_at),
        (None, None),
        "no deadline on a dead account"
    );
    assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Expired)));
}

#[tokio::test(start_paused = true)]
async fn a_narrower_scope_is_kept_and_shown() {
    let stage = Stage::with_sellers(
        &app("scopes = [\"read\", \"write\"]\nredirect_uri = \"http://localhost:1/cb\""),
        1,
    )
    .await;
    stage.play(|shown| {
        let mut granted = granted(shown, 5 * MINUTE);
        granted.scope = Some("read".to_owned());
        Ok(granted)
    });
    assert!(stage.ask(0).await.is_ok());
    assert_eq!(stage.show(0).await.granted_scope.as_deref(), Some("read"));
    assert_eq!(stage.live(0).await.narrower_scope().as_deref(), Some("read"));
    let stage = stage.killed();
    assert_eq!(stage.show(0).await.granted_scope.as_deref(), Some("read"));
    stage.play_granting(5 * MINUTE);
    stage.accounts.refresh(&stage.id(0), 5 * SECOND).await.unwrap();
    assert_eq!(
        stage.show(0).await.granted_scope.as_deref(),
        Some("read"),
        "an answer without a scope changes none"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_grant_is_accepted_again_with_the_refresh_token_of_an_answer_that_cannot_be_used() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    stage.play_failing(failure(Class::InvalidGrant, 400, "invalid_grant"));
    assert_eq!(stage.ask(0).await, Err(AccountState::LoginRequired(LoginReason::Revoked)));
    stage.play(|shown| match shown.token {
        0 => {
            let successor = Some(Secret::new("rt-0-1"));
            Err(TokenError { successor, ..failure(Class::Ambiguous, 200, "no access token") })
        }
        _ => Ok(granted(shown, MINUTE)),
    });
    pass(2 * MINUTE).await;
    let record = stage.stored(0).await;
    assert_eq!((record.standing, record.notes.refusal), (Standing::Active, None));
    assert!(stage.ask(0).await.is_ok());
}
