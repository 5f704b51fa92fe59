//! Whether a token endpoint gives out tokens at all, as its last calls tell. The rule: what several accounts meet alike, with
//! no success in between, is the endpoint's own state, and then it is asked with one call at a time; what one account meets
//! is that account's.
//!
//! Two things are told apart. The endpoint *fails*: no connection, a gateway's answer, an error for everybody. Or it is
//! *held*: it answers, and refuses the grant of everybody who asks, so that a refusal says nothing about a grant.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::names::AccountId;

/// How long after the last call, or its answer, the next probe follows: thirty a minute at most, and whoever waits is
/// served two seconds after the endpoint has recovered.
const PROBES: Duration = Duration::from_secs(2);

/// Refusals count together for so long.
const TOGETHER: Duration = Duration::from_secs(60);

/// As many accounts refused together mean that the endpoint has changed, not their grants.
const MANY: usize = 3;

/// No mistake of a server's lasts that long: from then on a refusal is believed.
const HELD_AT_MOST: Duration = Duration::from_secs(86_400);

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is about this grant.
    Believed,
    /// Everybody is refused: the endpoint is held.
    Held,
}

/// What is known of a failure beside the account's own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others {
    /// Whether several accounts have failed, and none succeeded since.
    pub fail_too: bool,
    /// Whether one has succeeded since the moment that was asked about.
    pub succeeded: bool,
}

/// All times are boot time.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: Failing,
    /// Whose last call brought neither tokens nor a judgement of the grant.
    failed: HashSet<AccountId>,
    /// Whose grants were refused since the last success, and when last.
    refused: HashMap<AccountId, Duration>,
    held_since: Option<Duration>,
    /// How often an account was refused that had been refused before, while the endpoint is held.
    asked_in_vain: u32,
    /// Whose grants were refused while the endpoint was last held: refused again, that is about them.
    doubted: HashSet<AccountId>,
    /// The last call, or its answer.
    last: Duration,
    paused_until: Duration,
    last_success: Option<Duration>,
    words: String,
    /// Until when the server wants to be left alone with an account, and what it said. The account may be let go before.
    asked: HashMap<AccountId, (Duration, String)>,
}

/// Who has failed since the last success.
#[derive(Debug, Default)]
enum Failing {
    #[default]
    Nobody,
    One(AccountId),
    Several,
}

impl Health {
    /// How long it is until a call may be sent. `again`: for an account that was refused while the endpoint is held.
    pub(super) fn wait(&self, again: bool, now: Duration) -> Duration {
        let spacing = match (self.held_since, again) {
            (Some(_), true) => PROBES.saturating_mul(1 << self.asked_in_vain.min(5)).min(TOGETHER),
            (Some(_), false) => PROBES,
            (None, _) if self.fails() => PROBES,
            (None, _) => return Duration::ZERO,
        };
        (self.last + spacing).max(self.paused_until).saturating_sub(now)
    }

    pub(super) fn fails(&self) -> bool {
        matches!(self.failing, Failing::Several)
    }

    /// Whether its last call failed.
    pub(super) fn has_failed(&self, id: &AccountId) -> bool {
        self.failed.contains(id)
    }

    pub(super) fn sent(&mut self, now: Duration) {
        self.last = now;
    }

    pub(super) fn is_held(&self) -> bool {
        self.held_since.is_some()
    }

    pub(super) fn was_refused(&self, id: &AccountId) -> bool {
        self.held_since.is_some() && self.refused.contains_key(id)
    }

    /// A call brought tokens. Returns whose grants were refused while the endpoint was held, for another try.
    pub(super) fn succeeded(&mut self, id: &AccountId, now: Duration) -> Vec<AccountId> {
        (self.last, self.last_success, self.paused_until) = (now, Some(now), Duration::ZERO);
        self.failing = Failing::Nobody;
        self.failed.remove(id);
        self.asked.remove(id);
        self.doubted.remove(id);
        self.refused.remove(id);
        let refused = std::mem::take(&mut self.refused);
        if self.held_since.take().is_none() {
            return Vec::new();
        }
        self.asked_in_vain = 0;
        self.doubted = refused.into_keys().collect();
        self.doubted.iter().cloned().collect()
    }

    /// A call that began at `sent` brought neither tokens nor a judgement of the grant. Where another one brought tokens
    /// meanwhile, that is about its account.
    pub(super) fn failed(
        &mut self,
        id: &AccountId,
        asked: Option<Duration>,
        words: &str,
        sent: Duration,
        now: Duration,
    ) {
        self.failed.insert(id.clone());
        if self.last_success.is_some_and(|success| success > sent) {
            return;
        }
        self.last = now;
        words.clone_into(&mut self.words);
        match &self.failing {
            Failing::Nobody => self.failing = Failing::One(id.clone()),
            Failing::One(other) if other == id => {}
            Failing::One(_) | Failing::Several => self.failing = Failing::Several,
        }
        if let (Failing::Several, Some(asked)) = (&self.failing, asked) {
            self.paused_until = self.paused_until.max(now + asked);
        }
    }

    /// The server wants to be left alone with this account for so long. What is over is forgotten here, so that no more is
    /// remembered than servers ask for within the longest pause they are given.
    pub(super) fn asked(&mut self, id: &AccountId, pause: Duration, words: &str, now: Duration) {
        self.asked.retain(|_, (until, _)| *until > now);
        self.asked.insert(id.clone(), (now + pause, words.to_owned()));
    }

    /// How long it still wants that, and what it said.
    pub(super) fn pause(&self, id: &AccountId, now: Duration) -> Option<(Duration, String)> {
        let (until, words) = self.asked.get(id)?;
        let left = until.checked_sub(now).filter(|left| !left.is_zero())?;
        Some((left, words.clone()))
    }

    /// The endpoint answered, and judged this very call.
    pub(super) fn answered(&mut self, id: &AccountId, now: Duration) {
        self.failed.remove(id);
        (self.last, self.paused_until) = (now, Duration::ZERO);
        self.failing = Failing::Nobody;
    }

    /// The endpoint refused a grant of which no answer was lost.
    pub(super) fn refused(&mut self, id: &AccountId, words: &str, now: Duration) -> Verdict {
        words.clone_into(&mut self.words);
        let before = self.refused.insert(id.clone(), now);
        if let Some(since) = self.held_since {
            self.asked_in_vain = self.asked_in_vain.saturating_add(u32::from(before.is_some()));
            let lasts = now.saturating_sub(since) < HELD_AT_MOST;
            return if lasts { Verdict::Held } else { Verdict::Believed };
        }
        if self.doubted.contains(id) {
            self.refused.remove(id);
            return Verdict::Believed;
        }
        self.refused.retain(|_, at| now.saturating_sub(*at) <= TOGETHER);
        if self.refused.len() < MANY {
            return Verdict::Believed;
        }
        (self.held_since, self.asked_in_vain) = (Some(now), 0);
        Verdict::Held
    }

    pub(super) fn others(&self, since: Duration) -> Others {
        Others {
            fail_too: self.fails(),
            succeeded: self.last_success.is_some_and(|success| success >= since),
        }
    }

    /// Why a call has to wait, where it has to.
    pub(super) fn complaint(&self) -> Option<String> {
        if self.held_since.is_some() {
            return Some(refuses_everybody(&self.words));
        }
        self.fails().then(|| format!("the token endpoint gives out no tokens: {}", self.words))
    }
}

/// What is said of an endpoint that is held.
pub fn refuses_everybody(words: &str) -> String {
    format!("the token endpoint refuses everybody: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: usize) -> AccountId {
        AccountId { app: "app".parse().unwrap(), account: format!("shop-{number}").parse().unwrap() }
    }

    #[test]
    fn what_one_account_meets_holds_up_nobody_and_what_two_meet_everybody() {
        let mut health = Health::default();
        for second in 0..100 {
            health.failed(&id(1), Some(60 * SECOND), "no", SECOND * second, SECOND * second);
        }
        assert_eq!(health.wait(false, 100 * SECOND), Duration::ZERO);
        health.failed(&id(2), None, "no", 100 * SECOND, 100 * SECOND);
        assert_eq!(health.wait(false, 100 * SECOND), PROBES);
        assert!(health.others(Duration::ZERO).fail_too && health.complaint().is_some());
        health.failed(&id(2), Some(9 * SECOND), "no", 102 * SECOND, 102 * SECOND);
        assert_eq!(health.wait(false, 102 * SECOND), 9 * SECOND, "what the server asks for is kept");
        health.succeeded(&id(3), 103 * SECOND);
        assert_eq!(health.wait(false, 103 * SECOND), Duration::ZERO);
        assert!(health.others(90 * SECOND).succeeded && !health.others(104 * SECOND).succeeded);
    }

    #[test]
    fn a_pause_that_was_asked_for_one_account_ends_with_its_time_or_a_success_and_is_then_forgotten() {
        let mut health = Health::default();
        health.asked(&id(1), 9 * SECOND, "busy", SECOND);
        assert_eq!(health.pause(&id(1), 4 * SECOND), Some((6 * SECOND, "busy".to_owned())));
        assert_eq!(health.pause(&id(2), 4 * SECOND), None);
        assert_eq!(health.pause(&id(1), 10 * SECOND), None);
        health.asked(&id(2), 9 * SECOND, "busy", 11 * SECOND);
        assert_eq!(health.asked.len(), 1);
        health.succeeded(&id(2), 12 * SECOND);
        assert!(health.asked.is_empty());
    }

    #[test]
    fn a_probe_that_hangs_holds_up_the_next_from_its_start_only() {
        let mut health = Health::default();
        health.failed(&id(1), None, "no", SECOND, SECOND);
        health.failed(&id(2), None, "no", SECOND, SECOND);
        health.sent(3 * SECOND);
        assert_eq!(health.wait(false, 4 * SECOND), SECOND);
        assert_eq!(health.wait(false, 5 * SECOND), Duration::ZERO);
    }

    #[test]
    fn three_refused_within_a_minute_hold_the_endpoint_and_a_success_lets_them_try_again() {
        let mut health = Health::default();
        assert_eq!(health.refused(&id(1), "no", SECOND), Verdict::Believed);
        assert_eq!(health.refused(&id(2), "no", 2 * SECOND), Verdict::Believed);
        assert_eq!(health.refused(&id(3), "no", 3 * SECOND), Verdict::Held);
        assert!(health.was_refused(&id(1)) && !health.was_refused(&id(4)));
        let mut released = health.succeeded(&id(4), 9 * SECOND);
        released.sort();
        assert_eq!(released, [id(1), id(2), id(3)], "those who were believed at first too");
        assert_eq!(health.refused(&id(2), "no", 10 * SECOND), Verdict::Believed, "it is its own");
        assert_eq!(health.refused(&id(3), "no", 10 * SECOND), Verdict::Believed);
        assert_eq!(health.refused(&id(1), "no", 10 * SECOND), Verdict::Believed);
    }

    #[test]
    fn accounts_revoked_one_by_one_are_believed_while_others_succeed() {
        let mut health = Health::default();
        for number in 0..20 {
            let now = SECOND * number;
            assert_eq!(health.refused(&id(number as usize), "no", now), Verdict::Believed);
            health.succeeded(&id(99), now);
        }
        for number in 0..20_u32 {
            let verdict = health.refused(&id(number as usize), "no", SECOND * (100 + 40 * number));
            assert_eq!(verdict, Verdict::Believed, "or when they are far apart");
        }
    }

    #[test]
    fn a_held_endpoint_is_asked_ever_more_rarely_with_a_grant_it_has_refused() {
        let mut health = Health::default();
        let mut now = Duration::ZERO;
        let mut asked = 0;
        (0..3).for_each(|number| _ = health.refused(&id(number), "no", now));
        while now < 600 * SECOND {
            now += health.wait(true, now);
            health.sent(now);
            assert_eq!(health.refused(&id(1), "no", now), Verdict::Held);
            asked += 1;
        }
        assert!(asked <= 15, "{asked}");
        assert!(health.wait(false, now) <= PROBES, "one that was not asked about yet may be");
        assert_eq!(
            health.refused(&id(1), "no", HELD_AT_MOST),
            Verdict::Believed,
            "no mistake lasts that long"
        );
    }
}
