//! What a keeper tells requests. The one rule: failure never overwrites success; a failed refresh keeps the old token.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    account::LiveAccount,
    endpoint::Endpoint,
    keeper::Keeper,
    setback::Setback,
    state::{AccountState, Credential, Published, Trouble},
    timing,
};
use crate::{clock::Moment, oauth::Granted, secret::Secret, token::Token};

impl Keeper {
    pub(super) fn publish_granted(
        &mut self,
        account: &LiveAccount,
        granted: Granted,
        asked: Moment,
        endpoint: &Endpoint,
    ) {
        let lifetime = granted.lifetime.unwrap_or(timing::ASSUMED_LIFETIME);
        let age = self.refresh_age(account, lifetime, endpoint);
        self.publish_token(account, granted.access_token, asked, Some(lifetime), Some(age));
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

    pub(super) fn publish_token(
        &mut self,
        account: &LiveAccount,
        secret: Secret,
        asked: Moment,
        lifetime: Option<Duration>,
        refresh_age: Option<Duration>,
    ) {
        let generation = next_generation(&account.published(), &secret);
        let token = Token { secret, asked, lifetime, generation };
        match credential(account, token, refresh_age) {
            Some(credential) => publish_credential(account, credential),
            None => self.publish_setback(account, unsendable(), asked),
        }
    }

    /// Why there is no new token, beside the old one.
    pub(super) fn publish_setback(&mut self, account: &LiveAccount, setback: Setback, now: Moment) {
        let refused = if setback.passes { Vec::new() } else { account.account().credentials.fingerprints() };
        let before = account.published();
        let failures = before.trouble.as_ref().map_or(1, |t| t.failures.saturating_add(1));
        tracing::warn!(account = %account.id(), failures, outcome = setback.outcome, action = setback.action,
            token_still_valid = before.usable(now).is_some(), "no new token: {}", setback.detail);
        let state = if setback.passes { AccountState::Degraded } else { AccountState::Misconfigured };
        let trouble = Trouble {
            passes: setback.passes,
            detail: setback.detail,
            action: setback.action,
            since: before.trouble.as_ref().map_or(now, |t| t.since),
            last: now,
            failures,
            asked: setback.retry_after,
            refused,
            chance: self.surroundings.chance.draw(),
        };
        account.publish(|p| (p.state, p.trouble) = (state, Some(Arc::new(trouble))));
    }

    /// A state that only a person can change, with what he is to do.
    pub(super) fn publish_halt(
        &self,
        account: &LiveAccount,
        state: AccountState,
        detail: impl Into<String>,
        now: Moment,
    ) {
        let (detail, action) = (detail.into(), state.action(account.id()));
        tracing::error!(account = %account.id(), state = state.as_str(), reason = state.reason(), action,
            "{detail}");
        let trouble = Trouble {
            passes: false,
            detail,
            action,
            since: now,
            last: now,
            failures: account.published().failures() + 1,
            asked: None,
            refused: Vec::new(),
            chance: 0.0,
        };
        account.publish(|p| {
            // Whoever the token belongs to now, it is not known to be this account's seller.
            let keeps_token = matches!(state, AccountState::LoginRequired(_));
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
) -> Option<Arc<Credential>> {
    let header = credential_header(&account.app().profile.token_prefix, &token.secret)?;
    Some(Arc::new(Credential { token, header, refresh_age }))
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
