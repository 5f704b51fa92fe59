//! Idle grants: refreshed before they would end of disuse, whatever their life, and only where that helps.

use std::time::{Duration, SystemTime};

use marketgate::{
    accounts::import::{ImportOptions, NewGrant},
    clock::{Clock, rfc3339},
    oauth::RefreshLifetime,
    store::{Grant, MemoryStore},
};

use crate::stage::{MINUTE, SECOND, Stage, app, granted, pass};

/// A seller whose refresh token lives so long from now, and the server says so at each refresh.
async fn idle(life: Duration) -> Stage {
    let stage = Stage::with_sellers(&app(""), 0).await;
    let mut record = stage.record(0);
    if let Some(Grant::Refresh { obtained_at, ends_at, .. }) = &mut record.grant {
        *ends_at = Some(*obtained_at + life);
    }
    stage.put(record).await;
    stage.play(move |shown| {
        let mut granted = granted(shown, MINUTE);
        granted.refresh_lifetime = Some(RefreshLifetime::For(life));
        Ok(granted)
    });
    // The store was filled behind the back of the process: another one looks through it at its start.
    stage.killed()
}

#[tokio::test(start_paused = true)]
async fn an_idle_seller_outlives_refresh_tokens_of_any_life() {
    for (life, time) in
        [(30 * SECOND, 10 * MINUTE), (120 * SECOND, 60 * MINUTE), (60 * MINUTE, 24 * 60 * MINUTE)]
    {
        let stage = idle(life).await;
        pass(time).await;
        let shown = stage.shown();
        let most = time.div_duration_f64(life.mul_f64(5.0 / 6.0)) as usize + 1;
        assert!((1..=most).contains(&shown.len()), "{life:?}: {} refreshes", shown.len());
        for pair in shown.windows(2) {
            assert!(pair[1].at - pair[0].at < life, "{life:?}: too late");
        }
        let document = stage.show(0).await;
        assert_eq!(document.state, "ready", "{life:?}");
        assert_eq!(document.login_required_by, None, "an end that moves asks for no login");
        assert!(document.refresh_token_expires_at.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_lifetime_serves_where_the_server_does_not_say() {
    let app = app("refresh_token_lifetime = \"2m\"");
    let stage = Stage::with_sellers(&app, 1).await;
    assert!(stage.ask(0).await.is_ok());
    stage.shown();
    pass(30 * MINUTE).await;
    let shown = stage.shown();
    assert!((14..=19).contains(&shown.len()), "{}", shown.len());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_no_refresh_moves_is_learnt_and_then_a_login_is_asked_for_in_advance() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    let origin = tokio::time::Instant::now();
    stage.play(move |shown| {
        let mut granted = granted(shown, MINUTE);
        granted.refresh_lifetime = Some(RefreshLifetime::For((60 * MINUTE).saturating_sub(origin.elapsed())));
        Ok(granted)
    });
    assert!(stage.ask(0).await.is_ok());
    assert_eq!(stage.show(0).await.login_required_by, None, "not known yet");
    pass(2 * MINUTE).await;
    assert!(stage.ask(0).await.is_ok());
    assert!(stage.show(0).await.login_required_by.is_some());
    stage.shown();
    pass(57 * MINUTE).await;
    assert_eq!(stage.shown(), [], "refreshing it would not keep it alive");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_withdrawn_is_forgotten() {
    let stage = Stage::with_sellers(&app(""), 1).await;
    stage.play(|shown| {
        let mut granted = granted(shown, MINUTE);
        granted.refresh_lifetime = Some(RefreshLifetime::For(30 * MINUTE)).filter(|_| shown.token == 0);
        Ok(granted)
    });
    assert!(stage.ask(0).await.is_ok());
    assert!(stage.show(0).await.refresh_token_expires_at.is_some());
    pass(2 * MINUTE).await;
    assert!(stage.ask(0).await.is_ok());
    assert_eq!(stage.show(0).await.refresh_token_expires_at, None, "Keycloak says 0 for an offline session");
}

#[tokio::test(start_paused = true)]
async fn an_imported_seller_with_a_short_end_is_kept_alive_and_exported_with_it() {
    let stage = Stage::open(&app(""), MemoryStore::new(), Clock::tokio());
    let in_two_minutes: SystemTime = stage.clock.now().wall + 2 * MINUTE;
    let members = serde_json::json!({
        "refresh_token": "rt-0-0", "refresh_token_expires_at": rfc3339(in_two_minutes),
    });
    let app = &stage.accounts.apps()["shop"];
    let new = NewGrant::read(app, members.as_object().unwrap()).unwrap();
    stage.play(|shown| {
        let mut granted = granted(shown, MINUTE);
        granted.refresh_lifetime = Some(RefreshLifetime::For(2 * MINUTE));
        Ok(granted)
    });
    stage.accounts.import(&stage.id(0), new, ImportOptions::default()).await.unwrap();
    pass(10 * MINUTE).await;
    assert!(stage.calls() >= 4, "{}", stage.calls());
    let exported = stage.accounts.export(&stage.id(0)).await.unwrap();
    let end: jiff::Timestamp = exported.refresh_token_expires_at.unwrap().parse().unwrap();
    assert!(SystemTime::from(end) > in_two_minutes + 5 * MINUTE);
    stage.shown();
    pass(10 * MINUTE).await;
    assert_eq!(stage.shown(), [], "it is another program's now");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_sellers_are_not_refreshed_all_at_once() {
    let stage = Stage::with_sellers(&app(""), 0).await;
    for seller in 0..1000 {
        let mut record = stage.record(seller);
        if let Some(Grant::Refresh { obtained_at, ends_at, .. }) = &mut record.grant {
            *ends_at = Some(*obtained_at + 60 * MINUTE);
        }
        stage.put(record).await;
    }
    let stage = stage.killed();
    pass(59 * MINUTE).await;
    let shown = stage.shown();
    assert_eq!(shown.len(), 1000);
    let most =
        (0..60).map(|minute| shown.iter().filter(|s| s.at.as_secs() / 60 == minute).count()).max().unwrap();
    assert!(most <= 400, "{most} in one minute");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_stays_the_same_near_its_end_is_not_asked_for_again_and_again() {
    let stage = Stage::with_sellers(&app("refresh_token_lifetime = \"10m\""), 1).await;
    stage.play(|shown| {
        let mut granted = granted(shown, MINUTE);
        granted.refresh_token = granted.refresh_token.filter(|_| shown.token == 0);
        Ok(granted)
    });
    assert!(stage.ask(0).await.is_ok());
    stage.shown();
    pass(9 * MINUTE + 50 * SECOND).await;
    assert_eq!(stage.shown().len(), 1);
    assert!(stage.show(0).await.login_required_by.is_some(), "its end is fixed");
}
