//! A token call for a grant that does not rotate. The one rule: every try takes its own place at the meter.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    account::LiveAccount,
    endpoint::Endpoint,
    keeper::Keeper,
    meter::Permit,
    setback::{Cause, Setback},
    state::AccountState,
};
use crate::{
    clock::Moment,
    config::Credentials,
    oauth::{Class, GrantRequest, Granted, TokenError, TokenRequest},
    secret::Secret,
};

impl Keeper {
    pub(super) async fn ask_for_token(&mut self, account: &Arc<LiveAccount>, urgent: bool) {
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
    /// once the last of those requests has gone. A refresh token whose answer was lost goes before all others in any case:
    /// the server may forgive its repetition, but not for long.
    pub(super) async fn permit(&self, account: &LiveAccount, endpoint: &Endpoint, urgent: bool) -> Permit {
        let pressing = self.is_doubtful();
        let mut urgent = urgent || pressing;
        let mut place = Box::pin(endpoint.meter.permit_for(account.id(), urgent, pressing));
        loop {
            tokio::select! {
                permit = &mut place => return permit,
                () = self.demand.wake.notified() => {
                    let wanted = pressing || self.demand.waiting.load(Relaxed) > 0;
                    if wanted != urgent {
                        urgent = wanted;
                        place = Box::pin(endpoint.meter.permit_for(account.id(), urgent, pressing));
                    }
                }
            }
        }
    }

    /// A token, and when it was asked for. With several client secrets each is tried in turn until one is accepted.
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
                    Err(setback) if setback.cause == Cause::Client => setback,
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
        let permit = self.permit(account, endpoint, urgent).await;
        account.publish(|p| p.state = AccountState::Refreshing);
        let asked = self.surroundings.clock.now();
        let outcome = self.send(account, GrantRequest::ClientCredentials, secret).await;
        drop(permit);
        Ok((outcome?, asked))
    }

    /// One call, counted.
    pub(super) async fn send(
        &self,
        account: &LiveAccount,
        grant: GrantRequest<'_>,
        client_secret: &Secret,
    ) -> Result<Granted, TokenError> {
        let (Some(endpoint), Credentials::Client { id: client_id, .. }) =
            (&account.app().profile.token_endpoint, &account.account().credentials)
        else {
            return Err(TokenError::new(Class::Misconfigured, NO_CLIENT));
        };
        let started = std::time::Instant::now();
        let settings = |name: &str| account.account().setting(name);
        let limit = grant.usual_limit();
        let request = TokenRequest { endpoint, client_id, client_secret, grant, settings: &settings, limit };
        let outcome = self.surroundings.client.call(request).await;
        let label = outcome.as_ref().map_or_else(|error| error.class.outcome(), |_| "ok");
        self.surroundings.metrics.refreshed(&account.id().app, label, started.elapsed());
        self.report(account, &outcome, started.elapsed());
        outcome
    }

    /// Tells the endpoint's other accounts how it fares. What a refused grant means is for the rotation to say.
    fn report(&self, account: &LiveAccount, outcome: &Result<Granted, TokenError>, took: Duration) {
        let Some(endpoint) = account.endpoint() else { return };
        match outcome {
            Ok(_) => {
                let now = self.surroundings.clock.now().wall;
                for id in endpoint.meter.succeeded(account.id()) {
                    self.surroundings.agenda.order(&id, now);
                }
            }
            Err(error) => match error.class {
                Class::InvalidGrant | Class::Refused | Class::InvalidClient => {
                    endpoint.meter.answered(account.id());
                }
                Class::NotSent
                | Class::Throttled
                | Class::ServerTrouble
                | Class::Ambiguous
                | Class::Misconfigured => {
                    // Elsewhere a `Retry-After` speaks to this account.
                    let asked = error.retry_after.filter(|_| matches!(error.status, Some(429 | 503)));
                    endpoint.meter.failed(account.id(), asked, &error.to_string(), took);
                    if let Some(pause) = error.retry_after {
                        endpoint.meter.asked(account.id(), pause, &error.to_string());
                    }
                }
            },
        }
    }
}

const NO_CLIENT: &str = "the account has no client credentials";

pub(super) fn no_client() -> Setback {
    Setback::configuration(NO_CLIENT, "write client_id and client_secret")
}
