//! An access token with its lifetime. The one rule: whether it may be used is asked with a `now`, never assumed.

use std::time::Duration;

use crate::{clock::Moment, secret::Secret};

/// A token as the keeper holds it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The access token (RFC 6749 §1.4) or static key.
    pub secret: Secret,
    /// When it was asked for: its age counts from before the request left, so that a slow answer cannot make it look younger.
    pub asked: Moment,
    /// How long it lives from `asked` (`expires_in`, RFC 6749 §5.1). None: it does not expire (a static key).
    pub lifetime: Option<Duration>,
    /// Counts this account's tokens from 1.
    pub generation: u64,
}

impl Token {
    /// How old the token is.
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.asked)
    }

    /// How much of its life is left; None when it does not expire.
    pub fn life_left(&self, now: Moment) -> Option<Duration> {
        self.lifetime.map(|life| life.saturating_sub(self.age(now)))
    }

    /// How long it can still be used: see [`usable_life`]. None when it does not expire.
    pub fn remaining(&self, now: Moment) -> Option<Duration> {
        self.lifetime.map(|life| usable_life(life).saturating_sub(self.age(now)))
    }

    /// Whether the marketplace should still accept it when it arrives there.
    pub fn usable_at(&self, now: Moment) -> bool {
        self.remaining(now).is_none_or(|left| !left.is_zero())
    }
}

/// How long a token is used of the life it has: all but the last second, since a request takes time on its way and servers
/// count in whole seconds. Of a life under three seconds, the last third is left.
pub fn usable_life(lifetime: Duration) -> Duration {
    const MARGIN: Duration = Duration::from_secs(1);
    lifetime - MARGIN.min(lifetime / 3)
}
