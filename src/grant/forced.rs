//! Refreshes asked for because a marketplace refused the token. The one rule: one for each refused token, and ever fewer when
//! the new ones are refused as well.

use super::timing;
use crate::clock::Moment;

/// The last such refresh of one account.
#[derive(Debug, Default)]
pub(super) struct Forced {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    /// The generation that was refused.
    refused: u64,
    at: Moment,
    /// How often in a row the token so obtained was refused as well.
    in_vain: u32,
}

impl Forced {
    /// Whether it was asked for because of this very token.
    pub(super) fn is_for(&self, generation: u64) -> bool {
        self.last.as_ref().is_some_and(|last| last.refused == generation)
    }

    /// Whether what happened at `moment` came after it.
    pub(super) fn was_before(&self, moment: Moment) -> bool {
        self.last.as_ref().is_some_and(|last| !moment.since(last.at).is_zero())
    }

    /// Whether another one may be asked for, because of the token of `generation`.
    pub(super) fn may_be(&self, generation: u64, now: Moment) -> bool {
        let every = timing::forced_every(self.in_vain_with(generation));
        self.last.as_ref().is_none_or(|last| now.since(last.at) >= every)
    }

    /// Takes down that one is asked for.
    pub(super) fn note(&mut self, generation: u64, now: Moment) {
        if !self.is_for(generation) {
            self.last = Some(Last { refused: generation, at: now, in_vain: self.in_vain_with(generation) });
        }
    }

    fn in_vain_with(&self, generation: u64) -> u32 {
        let successor = self.last.as_ref().filter(|last| last.refused + 1 == generation);
        successor.map_or(0, |last| last.in_vain.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn tokens_refused_one_after_another_are_replaced_ever_more_rarely() {
        let (mut forced, start) = (Forced::default(), Clock::system().now());
        assert!(forced.may_be(1, start));
        forced.note(1, start);
        assert!(forced.is_for(1) && !forced.is_for(2));
        assert!(!forced.may_be(2, start.plus(59 * SECOND)) && forced.may_be(2, start.plus(60 * SECOND)));
        forced.note(2, start.plus(60 * SECOND));
        assert!(!forced.may_be(3, start.plus(179 * SECOND)) && forced.may_be(3, start.plus(180 * SECOND)));
    }

    #[test]
    fn a_token_that_was_good_for_a_while_starts_anew() {
        let (mut forced, start) = (Forced::default(), Clock::system().now());
        forced.note(1, start);
        forced.note(2, start.plus(60 * SECOND));
        assert!(forced.may_be(5, start.plus(90 * SECOND)));
    }
}
