//! The task that keeps one account's token fresh. The one rule: one refresh at a time, started by the keeper alone.
//!
//! It rests until `plan` says otherwise; while it refreshes it holds the account alive, so whoever asks for the account
//! meanwhile finds this very keeper and no second one. When the account is let go, the keeper ends; when the program
//! stops, it first finishes the call it has under way.

use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::HeaderValue;
use tokio_util::sync::CancellationToken;

use super::{
    account::{Demand, LiveAccount},
    endpoint::Endpoint,
    meter::Permit,
    setback::Setback,
    state::{AccountState, Credential, Published, Trouble},
    timing,
};
use crate::{
    clock::{Clock, Moment},
    config::Credentials,
    metrics::Metrics,
    oauth::{GrantRequest, Granted, TokenClient, TokenRequest},
    secret::{Secret, SecretSource},
    token::Token,
};

/// How soon a changed secret file is noticed while it is in use.
const FILE_CHECK: Duration = Duration::from_secs(2);

/// What all keepers share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) client: TokenClient,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

/// What a keeper does next.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Get a token now; urgent when requests wait for it.
    Refresh { urgent: bool },
    /// Look again after this long, or when woken.
    Rest(Option<Duration>),
}

/// One account's keeper.
pub(super) struct Keeper {
    account: Weak<LiveAccount>,
    demand: Arc<Demand>,
    surroundings: Arc<Surroundings>,
    /// Which of several client secrets worked last.
    secret_index: usize,
}

impl Keeper {
    pub(super) fn new(account: &Arc<LiveAccount>, surroundings: Arc<Surroundings>) -> Self {
        let demand = account.demand().clone();
        Self { account: Arc::downgrade(account), demand, surroundings, secret_index: 0 }
    }

    /// Keeps the token until the account is let go or the program stops.
    pub(super) async fn keep(mut self) {
        let _counted = Counted::new(self.surroundings.metrics.clone());
        while !self.demand.closed.load(Relaxed) && !self.surroundings.stop.is_cancelled() {
            let Some(account) = self.account.upgrade() else { break };
            match self.plan(&account) {
                Plan::Refresh { urgent } => self.refresh(&account, urgent).await,
                Plan::Rest(until) => {
                    drop(account);
                    self.rest(until).await;
                }
            }
        }
    }

    async fn rest(&self, until: Option<Duration>) {
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = self.demand.wake.notified() => {}
            () = self.surroundings.stop.cancelled() => {}
        }
    }

    fn plan(&self, account: &LiveAccount) -> Plan {
        let published = account.published();
        let asked = Asked {
            used: self.demand.used.load(Relaxed),
            waiting: self.demand.waiting.load(Relaxed) > 0,
            forced: account.is_forced(),
            mended: published.trouble.as_ref().is_some_and(|t| t.is_mended(&account.account().credentials)),
        };
        match plan(&published, &asked, self.surroundings.clock.now()) {
            // A secret file may be mended at any moment.
            Plan::Rest(Some(rest)) if published.trouble.as_ref().is_some_and(|t| !t.passes) => {
                Plan::Rest(Some(rest.min(FILE_CHECK)))
            }
            plan => plan,
        }
    }

    async fn refresh(&mut self, account: &Arc<LiveAccount>, urgent: bool) {
        self.demand.used.store(false, Relaxed);
        match &account.account().credentials {
            Credentials::Key(source) => self.read_key(account, source),
            Credentials::Client { .. } => self.ask_for_token(account, urgent).await,
        }
    }

    /// A static key is its own token; one from a file is read again from time to time.
    fn read_key(&mut self, account: &LiveAccount, source: &SecretSource) {
        let now = self.surroundings.clock.now();
        let check_again = matches!(source, SecretSource::File(_)).then_some(FILE_CHECK);
        match source.read() {
            Ok(key) => self.publish_token(account, key, now, None, check_again),
            Err(error) => self.publish_setback(account, error.into(), now),
        }
    }

    async fn ask_for_token(&mut self, account: &Arc<LiveAccount>, urgent: bool) {
        let Some(endpoint) = account.endpoint() else {
            return; // Checked settings give every client an endpoint.
        };
        let was = account.published().state;
        // A grant that does not rotate has nothing to lose: a call under way need not hold up the end of the program.
        let stop = self.surroundings.stop.clone();
        let outcome = stop.run_until_cancelled(self.call(account, endpoint, urgent)).await;
        account.publish(|p| p.state = was);
        match outcome {
            Some(Ok((granted, asked))) => self.publish_granted(account, granted, asked, endpoint),
            Some(Err(setback)) => self.publish_setback(account, setback, self.surroundings.clock.now()),
            // The program stops.
            None => {}
        }
    }

    /// Waits for its place at the token endpoint: before all others while requests wait for it, and no longer before them
    /// once the last of those requests has gone.
    async fn permit(&self, endpoint: &Endpoint, mut urgent: bool) -> Permit {
        let mut place = Box::pin(endpoint.meter.permit(urgent));
        loop {
            tokio::select! {
                permit = &mut place => return permit,
                () = self.demand.wake.notified() => {
                    let wanted = self.demand.waiting.load(Relaxed) > 0;
                    if wanted != urgent {
                        urgent = wanted;
                        place = Box::pin(endpoint.meter.permit(urgent));
                    }
                }
            }
        }
    }

    /// A token, and when it was asked for. With several client secrets each is tried in turn until one is accepted; every
    /// try is a call and takes its own place at the meter.
    async fn call(
        &mut self,
        account: &LiveAccount,
        endpoint: &Endpoint,
        urgent: bool,
    ) -> Result<(Granted, Moment), Setback> {
        let Credentials::Client { secrets, .. } = &account.account().credentials else {
            return Err(no_client());
        };
        let mut refusal = None;
        for step in 0..secrets.len() {
            let index = (self.secret_index + step) % secrets.len();
            let setback = match secrets[index].read() {
                Ok(secret) => match self.call_once(account, endpoint, urgent, &secret).await {
                    Err(setback) if setback.credentials_refused => setback,
                    outcome => {
                        self.secret_index = index;
                        return outcome;
                    }
                },
                Err(error) => error.into(),
            };
            refusal.get_or_insert(setback);
        }
        Err(refusal.unwrap_or_else(no_client))
    }

    async fn call_once(
        &self,
        account: &LiveAccount,
        endpoint: &Endpoint,
        urgent: bool,
        secret: &Secret,
    ) -> Result<(Granted, Moment), Setback> {
        let permit = self.permit(endpoint, urgent).await;
        account.publish(|p| p.state = AccountState::Refreshing);
        let asked = self.surroundings.clock.now();
        let started = std::time::Instant::now();
        let outcome = self.call_with(account, secret).await;
        drop(permit);
        let label = outcome.as_ref().map_or_else(|setback| setback.outcome, |_| "ok");
        self.surroundings.metrics.refreshed(&account.id().app, label, started.elapsed());
        Ok((outcome?, asked))
    }

    async fn call_with(&self, account: &LiveAccount, client_secret: &Secret) -> Result<Granted, Setback> {
        let endpoint = account.app().profile.token_endpoint.as_ref();
        let (Some(endpoint), Credentials::Client { id: client_id, .. }) =
            (endpoint, &account.account().credentials)
        else {
            return Err(no_client());
        };
        let settings = |name: &str| account.account().setting(name);
        let grant = GrantRequest::ClientCredentials;
        let limit = grant.usual_limit();
        let request = TokenRequest { endpoint, client_id, client_secret, grant, settings: &settings, limit };
        Ok(self.surroundings.client.call(&request).await?)
    }

    fn publish_granted(
        &mut self,
        account: &LiveAccount,
        granted: Granted,
        asked: Moment,
        endpoint: &Endpoint,
    ) {
        let lifetime = granted.lifetime.unwrap_or(timing::ASSUMED_LIFETIME);
        let fraction = account.app().profile.refresh_at;
        let age = timing::refresh_age(lifetime, fraction, endpoint.meter.is_tight(), rand::random());
        self.publish_token(account, granted.access_token, asked, Some(lifetime), Some(age));
    }

    fn publish_token(
        &mut self,
        account: &LiveAccount,
        secret: Secret,
        asked: Moment,
        lifetime: Option<Duration>,
        refresh_age: Option<Duration>,
    ) {
        let before = account.published();
        let generation = next_generation(&before, &secret);
        let token = Token { secret, asked, lifetime, generation };
        let header = credential_header(&account.app().profile.token_prefix, &token.secret);
        let Some(header) = header else {
            let setback =
                Setback::configuration("the key holds characters no header may carry", "correct the key");
            return self.publish_setback(account, setback, asked);
        };
        if generation != before.generation() {
            tracing::info!(account = %account.id(), token = %token.secret.fingerprint(), generation,
                lifetime_s = lifetime.map(|l| l.as_secs()), "token ready");
        }
        let credential = Arc::new(Credential { token, header, refresh_age });
        account.publish(|p| {
            *p = Published { state: AccountState::Ready, credential: Some(credential), trouble: None }
        });
    }

    /// A failed refresh keeps the old token: failure never overwrites success.
    fn publish_setback(&mut self, account: &LiveAccount, setback: Setback, now: Moment) {
        let refused = if setback.passes { Vec::new() } else { account.account().credentials.fingerprints() };
        let before = account.published();
        let failures = before.trouble.as_ref().map_or(1, |t| t.failures.saturating_add(1));
        tracing::warn!(account = %account.id(), failures, outcome = setback.outcome, action = setback.action,
            token_still_valid = before.usable(now).is_some(), "no new token: {}", setback.detail);
        let state = if setback.passes { AccountState::Degraded } else { AccountState::Misconfigured };
        let trouble = Arc::new(Trouble {
            passes: setback.passes,
            detail: setback.detail,
            action: setback.action,
            since: before.trouble.as_ref().map_or(now, |t| t.since),
            last: now,
            failures,
            asked: setback.retry_after,
            refused,
            chance: rand::random(),
        });
        account.publish(|p| (p.state, p.trouble) = (state, Some(trouble)));
    }
}

/// Counts a running keeper, however it ends.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.keepers.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.keepers.dec();
    }
}

fn no_client() -> Setback {
    Setback::configuration("the account has no client credentials", "write client_id and client_secret")
}

/// What requests asked of the keeper.
#[derive(Debug, Default)]
struct Asked {
    /// A request used or wanted a token since the last attempt.
    used: bool,
    /// Requests wait for one now.
    waiting: bool,
    /// The marketplace refused the current one.
    forced: bool,
    /// Refused credentials have been replaced.
    mended: bool,
}

/// The keeper's whole decision.
fn plan(published: &Published, asked: &Asked, now: Moment) -> Plan {
    let usable = published.usable(now);
    let wanted = asked.waiting || asked.used;
    let due = match usable {
        None => wanted,
        Some(credential) => asked.forced || (credential.due_at(now) && wanted),
    };
    if !due {
        return Plan::Rest(usable.filter(|c| !c.due_at(now)).and_then(|c| until_due(c, now)));
    }
    let callers_wait = usable.is_none() || (asked.forced && asked.waiting);
    let pause = published.trouble.as_ref().map_or(Duration::ZERO, |t| now.until(t.next_try(callers_wait)));
    if pause.is_zero() || asked.mended {
        Plan::Refresh { urgent: asked.waiting }
    } else {
        Plan::Rest(Some(pause))
    }
}

fn until_due(credential: &Credential, now: Moment) -> Option<Duration> {
    credential.refresh_age.map(|age| age.saturating_sub(credential.token.age(now)))
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

#[cfg(test)]
mod tests {
    use super::*;

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
        });
        Published { state: AccountState::Ready, credential: Some(credential), trouble: trouble.map(Arc::new) }
    }

    fn trouble(asked: Option<Duration>) -> Trouble {
        let now = start().plus(70 * SECOND);
        let (detail, action, refused) = Default::default();
        Trouble {
            passes: true,
            detail,
            action,
            since: now,
            last: now,
            failures: 3,
            asked,
            refused,
            chance: 0.5,
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
}
