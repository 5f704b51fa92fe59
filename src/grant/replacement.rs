//! What becomes of a request whose token the marketplace refused. The invariant: a refusal costs a token call only if the
//! token was the present one, no refresh is under way, and the last refresh that a refusal caused is long enough ago.
//!
//! Many authorization servers end the old access token when its refresh token is used. A request that was under way then is
//! refused through no fault of the token: it waits for the new one and is repeated.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    account::LiveAccount,
    demand::Waiting,
    state::{AccountState, Credential, Published, Trouble},
    timing,
    unavailable::Unavailable,
};
use crate::{config::Credentials, token::Token};

/// What to do about a refused token.
#[derive(Debug)]
pub enum Replacement {
    /// Repeat the request with this one.
    Repeat(Arc<Credential>),
    /// The grant is over, so no token will come: say so in place of the marketplace's answer.
    Over(Unavailable),
    /// No better token can be had: the marketplace's answer is the caller's.
    PassOn,
}

impl LiveAccount {
    /// Tells that the marketplace refused `refused`, and waits for a better token, `wait` at most. `tried` is the generation
    /// that this request was first sent with. `named`: the refusal says that it is about the token.
    pub async fn replace_refused(
        &self,
        refused: &Credential,
        tried: u64,
        named: bool,
        wait: Duration,
    ) -> Replacement {
        let mut changes = self.subscribe();
        let before = changes.borrow().clone();
        let _waiting = Waiting::new(self.demand());
        // Where the token before the present one is refused as well, it was not because the present one is young.
        let present = before.credential.as_deref().filter(|present| present.token.generation == tried);
        let (refused, both) = match present.filter(|_| refused.token.generation < tried) {
            Some(present) => (present, true),
            None => (refused, false),
        };
        let generation = refused.token.generation;
        match self.judge(&before, refused, both) {
            Judgement::Over => return Replacement::Over(self.unavailable(&before)),
            Judgement::Young => {
                let previous = self.previous(&before).filter(|p| !both && p.token.generation < tried);
                return match previous {
                    Some(previous) => Replacement::Repeat(previous),
                    None if named => self.wait_until_known(refused, wait).await,
                    None => Replacement::PassOn,
                };
            }
            Judgement::Stands if !(named && self.is_sought(&before, generation, wait)) => {
                return Replacement::PassOn;
            }
            Judgement::Stands | Judgement::Replaced => {}
        }
        let end = Instant::now() + wait;
        let mut failures = before.failures();
        loop {
            let settled = changes.wait_for(|p| {
                let is_settled = p.state.needs_a_person() || self.is_withheld();
                p.generation() > generation || p.failures() > failures || is_settled
            });
            let Ok(Ok(published)) = timeout_at(end, settled).await.map(|p| p.map(|p| p.clone())) else {
                return Replacement::PassOn;
            };
            let newer = published.usable(self.clock().now()).filter(|c| c.token.generation > generation);
            match newer {
                Some(newer) => return Replacement::Repeat(newer.clone()),
                None if self.judge(&published, refused, both) == Judgement::Over => {
                    return Replacement::Over(self.unavailable(&published));
                }
                None if named && self.is_sought(&published, generation, end - Instant::now()) => {
                    failures = published.failures();
                }
                None => return Replacement::PassOn,
            }
        }
    }

    /// Whether the refresh that a refusal of this very token caused has failed, and is tried again within `left`. A token
    /// that is called invalid is then as good as none, and a request waits for one.
    fn is_sought(&self, published: &Published, generation: u64, left: Duration) -> bool {
        let now = self.clock().now();
        let again = |t: &Trouble| t.passes && !t.grant_refused && now.until(t.next_try(true)) < left;
        !published.state.needs_a_person()
            && !self.is_withheld()
            && published.generation() == generation
            && self.forced().is_for(generation)
            && published.trouble.as_deref().is_some_and(again)
    }

    /// An API may know a token a moment after its server has issued it, with replicas of a database in between. What is
    /// usable after a pause is tried once more.
    async fn wait_until_known(&self, refused: &Credential, wait: Duration) -> Replacement {
        let pause = timing::until_known(refused.token.age(self.clock().now()));
        if pause > wait {
            return Replacement::PassOn;
        }
        tokio::time::sleep(pause).await;
        let usable = self.published().usable(self.clock().now()).cloned();
        usable.map_or(Replacement::PassOn, Replacement::Repeat)
    }

    /// As [`LiveAccount::replace_refused`] for a request that cannot be repeated: nothing is waited for.
    pub fn note_refused(&self, refused: &Credential) -> Replacement {
        let published = self.published();
        match self.judge(&published, refused, false) {
            Judgement::Over => Replacement::Over(self.unavailable(&published)),
            _ => Replacement::PassOn,
        }
    }

    /// Tells that the marketplace accepted `newer` from a request that it had refused with `older`. If no refusal caused the
    /// refresh in between, the refresh itself ended the older token.
    pub fn note_accepted(&self, older: &Credential, newer: &Credential) {
        let (now, older) = (self.clock().now(), &older.token);
        let ended_early = older.generation < newer.token.generation && older.usable_at(now);
        if !ended_early || self.forced().is_for(older.generation) || self.refresh_ends_token() {
            return;
        }
        if self.endpoint().is_some_and(|endpoint| endpoint.note_ended_token()) {
            tracing::info!(account = %self.id(), "the authorization server ends an access token when its refresh token is \
                used: from now on tokens are refreshed later, and requests wait for a refresh under way");
        }
    }

    /// Judges a refusal, and asks the keeper for another token where one is due. `both`: the token before it was refused too.
    fn judge(&self, published: &Published, refused: &Credential, both: bool) -> Judgement {
        let generation = refused.token.generation;
        if published.generation() > generation && !published.state.needs_a_person() {
            return Judgement::Replaced;
        }
        let grant_refused = published.trouble.as_ref().is_some_and(|trouble| trouble.grant_refused);
        let no_other =
            published.state.needs_a_person() || (grant_refused && published.generation() == generation);
        if no_other && published.state != AccountState::Refreshing {
            // From now on it is not lent any more.
            self.forced().note(generation, self.clock().now());
            return Judgement::Over;
        }
        if published.generation() != generation {
            return Judgement::Stands;
        }
        if published.state == AccountState::Refreshing {
            return Judgement::Replaced;
        }
        let goes = match &self.account().credentials {
            Credentials::Key(source) => {
                source.read().is_ok_and(|key| key.fingerprint() != refused.token.secret.fingerprint())
            }
            Credentials::Client { .. } => {
                match self.staleness(&refused.token, published.trouble.as_deref()) {
                    Staleness::Young if !(both && self.forced().may_be(generation, self.clock().now())) => {
                        return Judgement::Young;
                    }
                    Staleness::Young => true,
                    staleness => staleness == Staleness::Stale,
                }
            }
        };
        if !goes {
            return Judgement::Stands;
        }
        self.forced().note(generation, self.clock().now());
        self.demand().wake.notify_one();
        Judgement::Replaced
    }

    fn staleness(&self, token: &Token, trouble: Option<&Trouble>) -> Staleness {
        let now = self.clock().now();
        let forced = self.forced();
        let stands = if forced.is_for(token.generation) {
            let in_vain =
                |t: &Trouble| forced.was_before(t.last) && !t.is_mended(&self.account().credentials);
            trouble.is_some_and(in_vain)
        } else if trouble.is_none() && token.age(now) < timing::MINTED_JUST_NOW {
            return Staleness::Young;
        } else {
            !forced.may_be(token.generation, now)
        };
        if stands { Staleness::Stands } else { Staleness::Stale }
    }

    /// The token before the present one, if the marketplace should still accept it.
    fn previous(&self, published: &Published) -> Option<Arc<Credential>> {
        let previous = published.previous.as_ref().filter(|_| !self.refresh_ends_token())?;
        let good =
            previous.token.usable_at(self.clock().now()) && !self.forced().is_for(previous.token.generation);
        good.then(|| previous.clone())
    }
}

/// What a refusal says of the token.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// There is a newer one, or one is on its way.
    Replaced,
    /// It was minted moments ago, and no refresh failed since: it is not stale, and another one would be refused as well.
    Young,
    /// It is not to be replaced: the marketplace refuses something else.
    Stands,
    /// The grant is over, and now its last token too.
    Over,
}

#[derive(PartialEq, Eq)]
enum Staleness {
    Stale,
    Young,
    Stands,
}
