//! The token endpoint of a schedule. The one rule: it is as strict as its manner says, and remembers everything.

use std::{sync::Arc, time::Duration};

use marketgate::{
    oauth::{
        Class, GrantRequest, Granted, TokenCalls, TokenError, TokenRequest, answer::RefreshLifetime,
        client::Calling,
    },
    secret::Secret,
};
use tokio::time::Instant;

use super::{
    dice::{Dice, For},
    family::{Call, Issued, Late},
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
    /// Whether the server found its refresh token to be the newest.
    found: bool,
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
        Self { world, account, refresh, number, sent, found: false, started: Instant::now(), is_done: false }
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
        self.found = world.state().truth.finds(self.account, self.refresh);
        if world.refuses(self.account) {
            world.state().truth.told_the_end(self.account, true, now);
            return Err(refusal(Class::InvalidGrant, "invalid_grant: Invalid token issuer"));
        }
        if let Some(refusal) = self.before_commit(fault, dice.millis(1, 8_000)).await {
            return Err(refusal);
        }
        if fault == Some(Fault::CrashAfter) {
            self.leave_behind(dice.millis(0, 4_000)).await;
        }
        let now = world.now();
        let (rotates, lifetime) = (!dice.percent(world.terms.keeps), world.terms.lifetime);
        let Self { account, refresh, sent, found, .. } = *self;
        let call = Call { account, refresh, sent, found };
        let committed = world.state().truth.commit(call, now, rotates, lifetime);
        world.tell(|| format!("the server answers account {}: {committed:?}", self.account));
        let fault = world.step(Step::Answer, self.account).await;
        if fault == Some(Fault::CrashAfter) {
            world.crash();
            world.live_on().await;
        }
        if let Some(outcome) = self.after_commit(fault, committed, &mut dice).await {
            return outcome;
        }
        world.pass(dice.millis(1, 120)).await;
        let odd = dice.percent(world.terms.odd_words).then(|| dice.pick(&ODD_WORDS));
        self.deliver(committed, odd)
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
            Fault::Throttled => {
                self.ask_for(patience);
                not_executed(Class::Throttled, 429)
                    .map(|error| TokenError { retry_after: Some(patience), ..error })
            }
            Fault::Busy => {
                self.ask_for(patience);
                lost(busy(patience))
            }
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

    fn ask_for(&self, patience: Duration) {
        let until = self.world.now().at + patience;
        self.world.state().truth.asked(self.account, until);
    }

    /// The process dies; the server carries the call out all the same, in a while.
    async fn leave_behind(&self, after: Duration) {
        let due = self.world.now().at + after;
        let Self { account, refresh, found, .. } = *self;
        self.world.state().truth.late.push(Late { due, account, refresh, found });
        self.world.crash();
        self.world.live_on().await;
    }

    /// What becomes of an answer that does not arrive as it should.
    async fn after_commit(
        &self,
        fault: Option<Fault>,
        committed: Option<Issued>,
        dice: &mut Dice,
    ) -> Option<Result<Granted, TokenError>> {
        let refresh = committed.and_then(|issued| issued.refresh);
        let gateway =
            TokenError { status: Some(504), ..TokenError::new(Class::ServerTrouble, "bad gateway") };
        let error = match fault? {
            Fault::BadGateway => gateway,
            Fault::BusyDone => {
                let patience = dice.millis(1, 8_000);
                self.ask_for(patience);
                busy(patience)
            }
            Fault::ResetAfter => TokenError::new(Class::Ambiguous, "reset"),
            Fault::StallAfter if self.started.elapsed() + STALL < LIMIT => {
                self.world.pass(STALL).await;
                return None;
            }
            Fault::StallAfter | Fault::Silence => self.time_out().await,
            Fault::Unusable if refresh.is_some() => {
                self.world.state().truth.granted(self.account, refresh);
                let successor = refresh.map(|number| self.refresh_token(number));
                let (class, status) = dice.pick(&UNUSABLE);
                return Some(Err(TokenError { successor, ..refusal_with(class, status, "unusable") }));
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

    fn deliver(&self, committed: Option<Issued>, odd: Option<(Class, &str)>) -> Result<Granted, TokenError> {
        let now = self.world.now();
        let mut state = self.world.state();
        let Some(issued) = committed else {
            state.truth.told_the_end(self.account, false, now);
            let (class, words) = odd.unwrap_or((Class::InvalidGrant, "invalid_grant"));
            return Err(refusal(class, words));
        };
        state.truth.granted(self.account, issued.refresh);
        let newest = issued.refresh.unwrap_or(self.refresh);
        let is_told = self.world.terms.end.is_some_and(|end| end.is_told);
        let token = &mut state.truth.sellers[self.account].refresh[newest];
        token.end_is_told = is_told;
        let ends = token.ends;
        Ok(Granted {
            access_token: Secret::new(format!("at-{}-{}", self.account, issued.access)),
            lifetime: Some(self.world.terms.lifetime),
            refresh_token: issued.refresh.map(|number| self.refresh_token(number)),
            refresh_lifetime: ends
                .filter(|_| is_told)
                .map(|end| RefreshLifetime::For(end.saturating_sub(now.at))),
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

/// How servers refuse a refresh token in words of their own.
const ODD_WORDS: [(Class, &str); 4] = [
    (Class::Misconfigured, "invalid_request: the refresh token has already been claimed by another client"),
    (Class::Refused, "bad_refresh_token"),
    (Class::Refused, "400 without a body"),
    (Class::InvalidGrant, "invalid_grant: Stale token"),
];

/// How answers are sorted that hold a new refresh token and no access token that could be used.
const UNUSABLE: [(Class, u16); 7] = [
    (Class::Ambiguous, 200),
    (Class::ServerTrouble, 503),
    (Class::Throttled, 429),
    (Class::InvalidGrant, 400),
    (Class::Refused, 400),
    (Class::InvalidClient, 401),
    (Class::Misconfigured, 404),
];

fn refusal(class: Class, words: &str) -> TokenError {
    refusal_with(class, 400, words)
}

fn refusal_with(class: Class, status: u16, words: &str) -> TokenError {
    TokenError { status: Some(status), ..TokenError::new(class, words) }
}

fn busy(patience: Duration) -> TokenError {
    let retry_after = Some(patience);
    TokenError { retry_after, ..refusal_with(Class::ServerTrouble, 503, "busy") }
}
