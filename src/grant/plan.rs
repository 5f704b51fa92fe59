//! What a keeper does next. The one rule: a pure decision; what it depends on arrives as arguments.

use std::time::Duration;

use super::state::{Credential, Published};
use crate::clock::Moment;

/// What a keeper does next.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// Get a token now; urgent when requests wait for it.
    Refresh { urgent: bool },
    /// Look again after this long, or when woken.
    Rest(Option<Duration>),
}

/// What requests and people asked of the keeper.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// A request used or wanted a token since the last attempt.
    pub(super) used: bool,
    /// Requests wait for one now.
    pub(super) waiting: bool,
    /// The marketplace refused the current one.
    pub(super) forced: bool,
    /// Refused credentials have been replaced.
    pub(super) mended: bool,
    /// A refresh was ordered, whether anybody needs it or not.
    pub(super) ordered: bool,
    /// An order that was to settle a lost answer has not reached the server: it is tried again, with the usual pauses.
    pub(super) unsettled: bool,
    /// The account is due though nobody uses it: tried with the usual pauses.
    pub(super) kept_up: bool,
    /// The refresh token may have been spent already by a call whose answer was lost: showing it again is the last resort.
    pub(super) doubtful: bool,
    /// Uploads that cannot be repeated are under way, and a refresh would end the token they carry.
    pub(super) uploading: bool,
}

/// The keeper's whole decision.
pub(super) fn plan(published: &Published, asked: &Asked, now: Moment) -> Plan {
    if published.state.needs_a_person() {
        let go = (asked.ordered || asked.kept_up) && published.state.may_be_tried_again();
        return if go { Plan::Refresh { urgent: asked.waiting } } else { Plan::Rest(None) };
    }
    if asked.ordered {
        return Plan::Refresh { urgent: asked.waiting };
    }
    let usable = published.usable(now);
    let wanted = asked.waiting || asked.used;
    let due = match usable {
        None => wanted || asked.unsettled || asked.kept_up,
        Some(credential) => {
            asked.forced
                || asked.unsettled
                || asked.kept_up
                || (credential.due_at(now) && wanted && !asked.doubtful)
        }
    };
    if !due {
        return Plan::Rest(usable.and_then(|credential| rest(credential, asked.doubtful, now)));
    }
    let for_uploads = usable.filter(|_| asked.uploading && !asked.forced);
    if let Some(pause) = for_uploads.and_then(|credential| pause_for_uploads(credential, now)) {
        return Plan::Rest(Some(pause));
    }
    let callers_wait = usable.is_none() || (asked.forced && asked.waiting);
    let pause = published.trouble.as_ref().map_or(Duration::ZERO, |t| now.until(t.next_try(callers_wait)));
    if pause.is_zero() || asked.mended {
        Plan::Refresh { urgent: asked.waiting }
    } else {
        Plan::Rest(Some(pause))
    }
}

/// How long a refresh can wait for uploads under way; None when the token is too near its end.
fn pause_for_uploads(credential: &Credential, now: Moment) -> Option<Duration> {
    const LAST_CHANCE: Duration = Duration::from_secs(1);
    let left = credential.token.remaining(now)?;
    left.checked_sub(LAST_CHANCE).filter(|pause| !pause.is_zero())
}

/// How long a token that is not replaced now needs no look: until it is due, or to its end if its successor is in doubt.
fn rest(credential: &Credential, doubtful: bool, now: Moment) -> Option<Duration> {
    if doubtful {
        return credential.token.remaining(now);
    }
    let age = credential.refresh_age.filter(|_| !credential.due_at(now))?;
    Some(age.saturating_sub(credential.token.age(now)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::{
        clock::Clock,
        grant::{
            state::{AccountState, Trouble},
            timing::Failures,
        },
        secret::Secret,
        store::LoginReason,
        token::Token,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Moment {
        Clock::system().now()
    }

    fn published(lifetime: Option<u64>, trouble: Option<Trouble>) -> Published {
        let token = Token {
            secret: Secret::new("t"),
            asked: start(),
            lifetime: lifetime.map(Duration::from_secs),
            generation: 1,
        };
        let header = HeaderValue::from_static("t");
        let credential = Arc::new(Credential {
            token,
            header,
            refresh_age: lifetime.map(|l| SECOND * (l as u32) * 7 / 10),
            narrower_scope: None,
        });
        let trouble = trouble.map(Arc::new);
        Published { state: AccountState::Ready, credential: Some(credential), previous: None, trouble }
    }

    fn trouble(asked: Option<Duration>) -> Trouble {
        let now = start().plus(70 * SECOND);
        let (detail, action, refused) = Default::default();
        let pauses = Failures { in_a_row: 3, asked, ..Failures::default() }.pauses(0.5);
        Trouble {
            passes: true,
            detail,
            action,
            since: now,
            last: now,
            failures: 3,
            alone: 0,
            pauses,
            refused,
            grant_refused: false,
        }
    }

    fn at(seconds: u32) -> Moment {
        start().plus(SECOND * seconds)
    }

    #[test]
    fn an_idle_account_is_left_alone_however_old_its_token() {
        let idle = Asked::default();
        assert!(matches!(plan(&published(Some(100), None), &idle, at(10)), Plan::Rest(Some(_))));
        assert_eq!(plan(&published(Some(100), None), &idle, at(80)), Plan::Rest(None));
        assert_eq!(plan(&published(Some(100), None), &idle, at(200)), Plan::Rest(None));
    }

    #[test]
    fn a_used_token_is_refreshed_when_due_and_an_expired_one_at_once() {
        let used = Asked { used: true, ..Asked::default() };
        assert!(matches!(plan(&published(Some(100), None), &used, at(69)), Plan::Rest(Some(_))));
        assert_eq!(plan(&published(Some(100), None), &used, at(71)), Plan::Refresh { urgent: false });
        let waiting = Asked { waiting: true, ..Asked::default() };
        assert_eq!(plan(&published(Some(100), None), &waiting, at(101)), Plan::Refresh { urgent: true });
    }

    #[test]
    fn after_a_failure_the_next_try_is_sooner_once_callers_wait() {
        let used = Asked { used: true, waiting: true, ..Asked::default() };
        let Plan::Rest(Some(calm)) = plan(&published(Some(100), Some(trouble(None))), &used, at(71)) else {
            panic!()
        };
        let Plan::Rest(Some(pressed)) = plan(&published(Some(70), Some(trouble(None))), &used, at(70)) else {
            panic!()
        };
        assert!(pressed < calm && pressed < SECOND, "{pressed:?} {calm:?}");
    }

    #[test]
    fn mended_credentials_are_tried_at_once_and_an_asked_for_pause_is_kept() {
        let asked = Asked { waiting: true, ..Asked::default() };
        let paused = published(Some(70), Some(trouble(Some(60 * SECOND))));
        assert!(matches!(plan(&paused, &asked, at(71)), Plan::Rest(Some(rest)) if rest > 50 * SECOND));
        let mended = Asked { mended: true, ..asked };
        assert_eq!(plan(&paused, &mended, at(71)), Plan::Refresh { urgent: true });
    }

    #[test]
    fn a_refused_token_is_replaced_before_its_time() {
        let forced = Asked { forced: true, ..Asked::default() };
        assert_eq!(plan(&published(Some(100), None), &forced, at(10)), Plan::Refresh { urgent: false });
    }

    #[test]
    fn a_refresh_that_would_end_the_token_of_uploads_waits_for_them_until_that_token_is_near_its_end() {
        let uploading = Asked { used: true, uploading: true, ..Asked::default() };
        assert!(matches!(plan(&published(Some(100), None), &uploading, at(80)), Plan::Rest(Some(_))));
        assert_eq!(plan(&published(Some(100), None), &uploading, at(98)), Plan::Refresh { urgent: false });
        let forced = Asked { forced: true, ..uploading };
        assert_eq!(plan(&published(Some(100), None), &forced, at(80)), Plan::Refresh { urgent: false });
    }

    #[test]
    fn a_refresh_token_in_doubt_is_shown_again_only_when_the_token_has_ended() {
        let doubtful = Asked { used: true, waiting: true, doubtful: true, ..Asked::default() };
        let Plan::Rest(Some(rest)) = plan(&published(Some(100), None), &doubtful, at(80)) else { panic!() };
        assert!(rest > 18 * SECOND && rest <= 19 * SECOND, "{rest:?}");
        assert_eq!(plan(&published(Some(100), None), &doubtful, at(101)), Plan::Refresh { urgent: true });
        let ordered = Asked { ordered: true, ..doubtful };
        assert_eq!(plan(&published(Some(100), None), &ordered, at(10)), Plan::Refresh { urgent: true });
    }

    #[test]
    fn an_order_that_did_not_reach_the_server_is_tried_again_after_a_pause_though_nobody_needs_a_token() {
        let unsettled = Asked { unsettled: true, doubtful: true, ..Asked::default() };
        let failed = published(Some(100), Some(trouble(None)));
        assert!(matches!(plan(&failed, &unsettled, at(71)), Plan::Rest(Some(rest)) if rest < 5 * SECOND));
        assert_eq!(plan(&failed, &unsettled, at(80)), Plan::Refresh { urgent: false });
    }

    #[test]
    fn an_account_that_is_due_is_refreshed_though_nobody_uses_it_and_with_the_usual_pauses() {
        let due = Asked { kept_up: true, ..Asked::default() };
        assert_eq!(plan(&published(Some(100), None), &due, at(10)), Plan::Refresh { urgent: false });
        let failed = published(Some(100), Some(trouble(Some(60 * SECOND))));
        assert!(matches!(plan(&failed, &due, at(71)), Plan::Rest(Some(_))));
        let revoked = AccountState::LoginRequired(LoginReason::Revoked);
        let refused = Published { state: revoked, ..published(None, None) };
        assert_eq!(plan(&refused, &due, at(10)), Plan::Refresh { urgent: false });
    }

    #[test]
    fn an_account_that_needs_a_person_is_tried_only_at_a_persons_word() {
        let state =
            |reason| Published { state: AccountState::LoginRequired(reason), ..published(Some(100), None) };
        let wanted = Asked { waiting: true, used: true, forced: true, mended: true, ..Asked::default() };
        assert_eq!(plan(&state(LoginReason::Revoked), &wanted, at(200)), Plan::Rest(None));
        let ordered = Asked { ordered: true, ..wanted };
        assert_eq!(plan(&state(LoginReason::Revoked), &ordered, at(200)), Plan::Refresh { urgent: true });
        assert_eq!(plan(&state(LoginReason::Exported), &ordered, at(200)), Plan::Rest(None));
    }
}
