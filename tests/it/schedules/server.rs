//! The token endpoint of a schedule. The one rule: it is as strict as its manner says, and remembers everything.

use std::{sync::Arc, time::Duration};

use marketgate::{
    oauth::{Class, GrantRequest, Granted, TokenCalls, TokenError, TokenRequest, client::Calling},
    secret::Secret,
};
use tokio::time::Instant;

use super::{
    dice::For,
    family::{Issued, Late},
    fault::{Fault, Step},
    truth::{Now, read},
    world::World,
};

/// How long a client waits for an answer.
const LIMIT: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(45);

#[derive(Debug)]
pub(super) struct Server(pub(super) Arc<World>);

impl TokenCalls for Server {
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a> {
        let GrantRequest::RefreshToken(token) = request.grant else {
            panic!("no refresh: {:?}", request.grant)
        };
        let (account, refresh) = read(token.expose()).expect("a token of ours");
        Box::pin(async move {
            let mut exchange = Exchange::new(self.0.clone(), account, refresh);
            let outcome = exchange.run().await;
            exchange.is_done = true;
            outcome
        })
    }
}

/// One call.
struct Exchange {
    world: Arc<World>,
    account: usize,
    refresh: usize,
    number: u64,
    sent: Now,
    started: Instant,
    is_done: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.world.state();
        if !self.is_done && !state.life.is_over {
            state.truth.breach(format!("a token call of account {} was broken off", self.account));
        }
    }
}

impl Exchange {
    fn new(world: Arc<World>, account: usize, refresh: usize) -> Self {
        let sent = world.now();
        let mut state = world.state();
        state.calls += 1;
        let number = state.calls;
        if !state.life.is_over {
            state.truth.showing(account, refresh, sent);
        }
        drop(state);
        world.tell(|| format!("account {account} shows refresh token {refresh}"));
        Self { world, account, refresh, number, sent, started: Instant::now(), is_done: false }
    }

    async fn run(&mut self) -> Result<Granted, TokenError> {
        let world = self.world.clone();
        let mut dice = world.dice(For::Call, [self.number, self.account as u64, 0]);
        world.live_on().await;
        world.pass(dice.millis(1, 120)).await;
        let fault = world.step(Step::Arrive, self.account).await;
        if fault == Some(Fault::NotSent) {
            world.state().truth.not_sent(self.account);
            return Err(TokenError::new(Class::NotSent, "no connection"));
        }
        let now = world.now();
        world.state().truth.arrived(now);
        if let Some(refusal) = self.before_commit(fault, dice.millis(1, 8_000)).await {
            return Err(refusal);
        }
        if fault == Some(Fault::CrashAfter) {
            self.leave_behind(dice.millis(0, 4_000)).await;
        }
        let now = world.now();
        let (rotates, lifetime) = (!dice.percent(world.terms.keeps), world.terms.lifetime);
        let committed =
            world.state().truth.commit(self.account, self.refresh, self.sent, now, rotates, lifetime);
        world.tell(|| format!("the server answers account {}: {committed:?}", self.account));
        let fault = world.step(Step::Answer, self.account).await;
        if fault == Some(Fault::CrashAfter) {
            world.crash();
            world.live_on().await;
        }
        if let Some(outcome) = self.after_commit(fault, committed).await {
            return outcome;
        }
        world.pass(dice.millis(1, 120)).await;
        self.deliver(committed)
    }

    /// What the server says without doing anything.
    async fn before_commit(&self, fault: Option<Fault>, patience: Duration) -> Option<TokenError> {
        let world = &self.world;
        let not_executed = |class, status| {
            world.state().truth.not_executed(self.account);
            Some(TokenError { status: Some(status), ..TokenError::new(class, "not now") })
        };
        let lost = |error| {
            let now = world.now();
            world.state().truth.lost(self.account, None, now);
            Some(error)
        };
        match fault? {
            Fault::Throttled => not_executed(Class::Throttled, 429)
                .map(|error| TokenError { retry_after: Some(patience), ..error }),
            Fault::WrongClient => not_executed(Class::InvalidClient, 401),
            Fault::Trouble => {
                lost(TokenError { status: Some(500), ..TokenError::new(Class::ServerTrouble, "trouble") })
            }
            Fault::ResetBefore => lost(TokenError::new(Class::Ambiguous, "reset")),
            Fault::StallBefore => {
                world.pass(STALL).await;
                None
            }
            _ => None,
        }
    }

    /// The process dies; the server carries the call out all the same, in a while.
    async fn leave_behind(&self, after: Duration) {
        let due = self.world.now().at + after;
        self.world.state().truth.late.push(Late { due, account: self.account, refresh: self.refresh });
        self.world.crash();
        self.world.live_on().await;
    }

    /// What becomes of an answer that does not arrive as it should.
    async fn after_commit(
        &self,
        fault: Option<Fault>,
        committed: Option<Issued>,
    ) -> Option<Result<Granted, TokenError>> {
        let refresh = committed.and_then(|issued| issued.refresh);
        let gateway =
            TokenError { status: Some(504), ..TokenError::new(Class::ServerTrouble, "bad gateway") };
        let error = match fault? {
            Fault::BadGateway => gateway,
            Fault::ResetAfter => TokenError::new(Class::Ambiguous, "reset"),
            Fault::StallAfter if self.started.elapsed() + STALL < LIMIT => {
                self.world.pass(STALL).await;
                return None;
            }
            Fault::StallAfter | Fault::Silence => self.time_out().await,
            Fault::Unusable if refresh.is_some() => {
                self.world.state().truth.granted(self.account, refresh);
                let successor = refresh.map(|number| self.refresh_token(number));
                return Some(Err(TokenError { successor, ..TokenError::new(Class::Ambiguous, "unusable") }));
            }
            Fault::Unusable | Fault::Garbage => TokenError::new(Class::Ambiguous, "garbage"),
            _ => return None,
        };
        let now = self.world.now();
        self.world.state().truth.lost(self.account, refresh, now);
        Some(Err(error))
    }

    async fn time_out(&self) -> TokenError {
        self.world.pass(LIMIT.saturating_sub(self.started.elapsed())).await;
        TokenError::new(Class::Ambiguous, "no whole answer")
    }

    fn deliver(&self, committed: Option<Issued>) -> Result<Granted, TokenError> {
        let mut state = self.world.state();
        let Some(issued) = committed else {
            state.truth.told_the_end(self.account);
            return Err(TokenError {
                status: Some(400),
                ..TokenError::new(Class::InvalidGrant, "invalid_grant")
            });
        };
        state.truth.granted(self.account, issued.refresh);
        Ok(Granted {
            access_token: Secret::new(format!("at-{}-{}", self.account, issued.access)),
            lifetime: Some(self.world.terms.lifetime),
            refresh_token: issued.refresh.map(|number| self.refresh_token(number)),
            refresh_lifetime: None,
            id_token: None,
            scope: None,
            token_type: None,
            received: std::time::Instant::now(),
        })
    }

    fn refresh_token(&self, number: usize) -> Secret {
        Secret::new(format!("rt-{}-{number}", self.account))
    }
}
