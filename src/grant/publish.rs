//! What a keeper tells requests. The one rule: failure never overwrites success; a failed refresh keeps the old token.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    account::LiveAccount,
    endpoint::Endpoint,
    keeper::Keeper,
    meter::Others,
    scope::narrower_scope,
    setback::{Cause, Setback},
    state::{AccountState, Credential, Published, Trouble, advice},
    timing::{self, Failures, Pauses},
};
use crate::{
    clock::Moment,
    oauth::{Class, Granted},
    secret::Secret,
    token::Token,
};

impl Keeper {
    pub(super) fn publish_granted(
        &mut self,
        account: &LiveAccount,
        granted: Granted,
        asked: Moment,
        endpoint: &Endpoint,
    ) {
        let lifetime = granted.lifetime.unwrap_or(timing::ASSUMED_LIFETIME);
        let refresh_age = Some(self.refresh_age(account, lifetime, endpoint));
        let before = account.published();
        let scope = narrower_scope(&account.app().profile, granted.scope.as_deref());
        warn_of_scope(account, scope.as_deref(), before.narrower_scope());
        let generation = next_generation(&before, &granted.access_token);
        let token = Token { secret: granted.access_token, asked, lifetime: Some(lifetime), generation };
        self.publish_token(account, token, refresh_age, scope.as_deref());
    }

    pub(super) fn refresh_age(
        &self,
        account: &LiveAccount,
        lifetime: Duration,
        endpoint: &Endpoint,
    ) -> Duration {
        let fraction = account.app().profile.refresh_at;
        let late = endpoint.meter.is_tight() || account.refresh_ends_token();
        timing::refresh_age(lifetime, fraction, late, self.surroundings.chance.draw())
    }

    /// A static key is its own token.
    pub(super) fn publish_key(
        &mut self,
        account: &LiveAccount,
        key: Secret,
        now: Moment,
        again: Option<Duration>,
    ) {
        let generation = next_generation(&account.published(), &key);
        let token = Token { secret: key, asked: now, lifetime: None, generation };
        self.publish_token(account, token, again, None);
    }

    fn publish_token(
        &mut self,
        account: &LiveAccount,
        token: Token,
        refresh_age: Option<Duration>,
        scope: Option<&str>,
    ) {
        let asked = token.asked;
        match credential(account, token, refresh_age, scope) {
            Some(credential) => publish_credential(account, credential),
            None => self.publish_setback(account, unsendable(), asked),
        }
    }

    /// Why there is no new token, beside the old one.
    pub(super) fn publish_setback(&mut self, account: &LiveAccount, setback: Setback, now: Moment) {
        let passes = setback.cause.passes();
        let refused = if passes { Vec::new() } else { account.account().credentials.fingerprints() };
        let before = account.published();
        let failures = before.trouble.as_ref().map_or(1, |t| t.failures.saturating_add(1));
        let since = before.trouble.as_ref().map_or(now, |t| t.since);
        let others = account.endpoint().map(|endpoint| endpoint.meter.others(since));
        // Whatever failed since, the pause that the server asked for goes on.
        let left = account.endpoint().and_then(|endpoint| endpoint.meter.pause(account.id()));
        let asked = setback.retry_after.max(left.map(|(left, _)| left));
        let alone = alone(&before, setback.cause, others);
        tracing::warn!(account = %account.id(), failures, outcome = setback.outcome, action = setback.action,
            token_still_valid = before.usable(now).is_some(), "no new token: {}", setback.detail);
        let pauses = match setback.cause {
            Cause::Passing { perhaps_own } => {
                let perhaps_own = perhaps_own && !others.is_some_and(|others| others.fail_too);
                let failures = Failures { in_a_row: failures, alone, perhaps_own, asked };
                failures.pauses(self.surroundings.chance.draw())
            }
            Cause::Store => {
                let failures = Failures { in_a_row: failures, asked, ..Failures::default() };
                failures.pauses(self.surroundings.chance.draw())
            }
            cause => self.pauses_for_a_person(&before, cause, failures, asked),
        };
        let state = if passes { AccountState::Degraded } else { AccountState::Misconfigured };
        let grant_refused = setback.outcome == Class::InvalidGrant.outcome();
        let (detail, action) = (setback.detail, setback.action);
        let trouble = Trouble {
            passes,
            detail,
            action,
            since,
            last: now,
            failures,
            alone,
            pauses,
            refused,
            grant_refused,
        };
        account.publish(|p| (p.state, p.trouble) = (state, Some(Arc::new(trouble))));
    }

    /// Goes on with a pause that the server asked an earlier keeper of the account for.
    pub(super) fn resume_pause(&mut self, account: &LiveAccount) {
        let pause = account.endpoint().and_then(|endpoint| endpoint.meter.pause(account.id()));
        let published = account.published();
        if let Some((left, words)) = pause.filter(|_| published.trouble.is_none()) {
            let setback = Setback {
                outcome: Class::Throttled.outcome(),
                cause: Cause::Passing { perhaps_own: false },
                detail: words,
                action:
                    "nothing to do: Marketgate asks again when the pause that the server asked for is over"
                        .to_owned(),
                retry_after: Some(left),
            };
            self.publish_setback(account, setback, self.surroundings.clock.now());
        }
    }

    /// Where time alone does not help, it is tried all the same, ever more rarely: what is wrong may be corrected elsewhere.
    fn pauses_for_a_person(
        &self,
        before: &Published,
        cause: Cause,
        failures: u32,
        asked: Option<Duration>,
    ) -> Pauses {
        const RARELY: Duration = Duration::from_secs(300);
        const OFTEN: Duration = Duration::from_secs(30);
        let chance = self.surroundings.chance.draw();
        let pause = match cause {
            Cause::Client => timing::ask_again_with_client(failures, before.credential.is_some(), chance),
            Cause::Call => timing::retry_after_refusal(failures, RARELY, chance),
            Cause::Configuration | Cause::Passing { .. } | Cause::Store => {
                timing::retry_after_refusal(failures, OFTEN, chance)
            }
        };
        Pauses::even(pause.max(asked.unwrap_or_default()))
    }

    /// A state that only a person can change, with what he is to do.
    pub(super) fn publish_halt(
        &self,
        account: &LiveAccount,
        state: AccountState,
        detail: impl Into<String>,
        now: Moment,
    ) {
        let detail = detail.into();
        let action = advice(state, account.id(), &detail);
        tracing::error!(account = %account.id(), state = state.as_str(), reason = state.reason(), action,
            "{detail}");
        let trouble = Trouble {
            passes: false,
            detail,
            action,
            since: now,
            last: now,
            failures: account.published().failures().saturating_add(1),
            alone: 0,
            pauses: Pauses::default(),
            refused: Vec::new(),
            grant_refused: true,
        };
        account.publish(|p| {
            // Whoever the token belongs to now, it is not known to be this account's seller.
            let keeps_token = matches!(state, AccountState::LoginRequired(_) | AccountState::Refused);
            p.credential = p.credential.take().filter(|_| keeps_token);
            p.previous = None;
            (p.state, p.trouble) = (state, Some(Arc::new(trouble)));
        });
    }
}

/// The token in the form in which requests carry it; None when no header can.
pub(super) fn credential(
    account: &LiveAccount,
    token: Token,
    refresh_age: Option<Duration>,
    narrower_scope: Option<&str>,
) -> Option<Arc<Credential>> {
    let header = credential_header(&account.app().profile.token_prefix, &token.secret)?;
    let narrower_scope = narrower_scope.map(Arc::from);
    Some(Arc::new(Credential { token, header, refresh_age, narrower_scope }))
}

/// How many failures in a row came after another account had got a token from the same endpoint.
fn alone(before: &Published, cause: Cause, others: Option<Others>) -> u32 {
    let known = before.trouble.as_ref().map_or(0, |trouble| trouble.alone);
    match (cause, others) {
        (Cause::Passing { .. }, Some(others)) if others.succeeded && !others.fail_too => {
            known.saturating_add(1)
        }
        _ => known,
    }
}

/// Says once that a token was granted with less than was asked for.
pub(super) fn warn_of_scope(account: &LiveAccount, scope: Option<&str>, before: Option<&str>) {
    if let Some(scope) = scope.filter(|scope| Some(*scope) != before) {
        tracing::warn!(account = %account.id(), granted = scope,
            "the token was granted with a narrower scope than the app asks for; calls that need more will be refused with 403");
    }
}

/// Gives a new token to requests: all is well.
pub(super) fn publish_credential(account: &LiveAccount, credential: Arc<Credential>) {
    let token = &credential.token;
    if token.generation != account.published().generation() {
        tracing::info!(account = %account.id(), token = %token.secret.fingerprint(),
            generation = token.generation, lifetime_s = token.lifetime.map(|l| l.as_secs()), "token ready");
    }
    account.publish(|p| {
        let is_new = p.generation() != credential.token.generation;
        let previous = if is_new { p.credential.take() } else { p.previous.take() };
        *p = Published { state: AccountState::Ready, credential: Some(credential), previous, trouble: None };
    });
}

pub(super) fn unsendable() -> Setback {
    Setback::configuration("the key holds characters no header may carry", "correct the key")
}

/// The same key read again is the same generation.
fn next_generation(before: &Published, secret: &Secret) -> u64 {
    let same = |c: &Arc<Credential>| c.token.lifetime.is_none() && c.token.secret.expose() == secret.expose();
    before.generation() + u64::from(!before.credential.as_ref().is_some_and(same))
}

fn credential_header(prefix: &str, secret: &Secret) -> Option<HeaderValue> {
    let text = zeroize::Zeroizing::new(format!("{prefix}{}", secret.expose()));
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
