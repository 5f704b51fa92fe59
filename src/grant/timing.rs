//! When to refresh, when to try again. The one rule: pure decisions; time and chance arrive as arguments.

use std::time::Duration;

use crate::token::usable_life;

/// What a token is taken to live when the answer does not say (RFC 6749 §5.1 only recommends `expires_in`): the shortest
/// life among the marketplaces, so that the guess errs towards asking too early.
pub const ASSUMED_LIFETIME: Duration = Duration::from_secs(300);

/// Two refreshes of one account are never closer than this, nor than half a lifetime where that is shorter.
const FLOOR: Duration = Duration::from_secs(30);

/// At most one refresh per this long may be forced by a marketplace that refuses a token. `in_vain` counts how often in a
/// row the new token was refused as well: then the fault lies elsewhere, and the token endpoint is spared.
pub fn forced_every(in_vain: u32) -> Duration {
    const EVERY: Duration = Duration::from_secs(30);
    const MOST: Duration = Duration::from_secs(600);
    EVERY.saturating_mul(1 << in_vain.min(10)).min(MOST)
}

/// A token younger than this which is refused is unwelcome, not stale: another one would be refused as well.
pub const MINTED_JUST_NOW: Duration = Duration::from_secs(5);

/// How long a token of this age that the API does not know yet is given, before it is tried again.
pub fn until_known(age: Duration) -> Duration {
    (2 * age).clamp(Duration::from_millis(300), Duration::from_millis(1500))
}

/// How much of a lifetime the refresh is spread over, half of it to either side.
const SPREAD: f64 = 0.1;

/// Tokens are used to this part of their life when the token endpoint's budget is tight, and where every refresh interrupts
/// the requests under way because it ends the old token.
const LATE: f64 = 0.9;

/// The refresh begins at this part of the time for which a token can be used, at the latest.
const LATEST: f64 = 0.95;

/// The age at which a token is refreshed: `fraction` of its lifetime, give or take; never before the floor.
/// `chance` is uniform in `0.0..1.0`; `late` says that the endpoint's budget is nearly used up, or that a refresh ends the old
/// token.
pub fn refresh_age(lifetime: Duration, fraction: f64, late: bool, chance: f64) -> Duration {
    let fraction = if late { fraction.max(LATE) } else { fraction };
    let spread = SPREAD.min(2.0 * (1.0 - fraction));
    let at = fraction + (chance - 0.5) * spread;
    let latest = usable_life(lifetime).mul_f64(LATEST);
    lifetime.mul_f64(at.clamp(0.0, 1.0)).min(latest).max(floor(lifetime))
}

/// The least time between two refreshes of one account that nobody forced.
pub fn floor(lifetime: Duration) -> Duration {
    FLOOR.min(lifetime / 2)
}

/// How long to wait after a failed attempt before the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    /// As long as nobody waits for a token.
    pub calm: Duration,
    /// While callers wait without one.
    pub pressed: Duration,
}

impl Pauses {
    /// The same pause whoever waits.
    pub fn even(pause: Duration) -> Self {
        Self { calm: pause, pressed: pause }
    }
}

/// Failures in a row that pass by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failures {
    /// How many, 1 at least.
    pub in_a_row: u32,
    /// How many of them after another account had got a token from the same endpoint: then the fault is this account's own.
    pub alone: u32,
    /// Whether the last one may concern this account alone: a server that has a defect with one user, an answer that nobody
    /// else gets. A refused connection or a gateway's answer never does.
    pub perhaps_own: bool,
    /// How much patience the server asked for (RFC 9110 §10.2.3).
    pub asked: Option<Duration>,
}

impl Failures {
    /// How long to wait: random pauses, ever longer, and never less than the server asked for. While callers wait without a
    /// token they stay short enough to serve them within two seconds of the endpoint's recovery, unless the fault is the
    /// account's own: then they grow to minutes, however many callers ask.
    pub fn pauses(&self, chance: f64) -> Pauses {
        const FIRST: Duration = Duration::from_millis(500);
        const LEAST: Duration = Duration::from_millis(100);
        const MOST: Duration = Duration::from_secs(30);
        const MOST_AT_FIRST: Duration = Duration::from_millis(1500);
        const LATER: Duration = Duration::from_millis(1500);
        const AT_FIRST: u32 = 5;
        let growing = FIRST.saturating_mul(1 << self.in_a_row.min(10));
        let jittered = |most: Duration| growing.min(most).mul_f64(chance).max(LEAST);
        let pressed = if self.in_a_row <= AT_FIRST { jittered(MOST_AT_FIRST) } else { LATER };
        let least = self.asked.unwrap_or_default().max(self.own_pause(chance));
        Pauses { calm: jittered(MOST).max(least), pressed: pressed.max(least) }
    }

    fn own_pause(&self, chance: f64) -> Duration {
        const STEP: Duration = Duration::from_secs(2);
        const MOST: Duration = Duration::from_secs(300);
        const BEYOND_DOUBT: u32 = 3;
        const LIKELY: u32 = 15;
        let likely = if self.perhaps_own { self.in_a_row.saturating_sub(LIKELY) } else { 0 };
        match likely.max(self.alone.saturating_sub(BEYOND_DOUBT)) {
            0 => Duration::ZERO,
            level => STEP.saturating_mul(1 << level.min(10)).min(MOST).mul_f64(0.5 + chance / 2.0),
        }
    }
}

/// How long to wait after the call itself was refused as wrong, or a secret could not be read: a person has to change
/// something, here or at the server. A changed secret file is noticed at once.
pub fn retry_after_refusal(failures: u32, most: Duration, chance: f64) -> Duration {
    const FIRST: Duration = Duration::from_secs(5);
    let span = FIRST.saturating_mul(1 << failures.min(10)).min(most);
    span.mul_f64(0.5 + chance / 2.0)
}

/// How long to wait after a definite refusal, the `times`-th in a row, before it is put to the test again: users are
/// enabled again, and a server's mistake is corrected. A minute, ten, an hour, then daily; up to a tenth sooner, so that
/// accounts refused together are not asked about together.
pub fn ask_again(times: u32, chance: f64) -> Duration {
    const MINUTES: [u64; 4] = [1, 10, 60, 24 * 60];
    let step = usize::try_from(times.saturating_sub(1)).unwrap_or(usize::MAX).min(MINUTES.len() - 1);
    Duration::from_secs(60 * MINUTES[step]).mul_f64(1.0 - chance / 10.0)
}

/// How long to wait after the client's credentials were refused that nobody can change while the process lives. Ones that
/// were accepted before may be accepted again soon; ones that never were need a person first.
pub fn ask_again_with_client(times: u32, were_accepted: bool, chance: f64) -> Duration {
    const AN_HOUR: u32 = 2;
    ask_again(times.saturating_add(if were_accepted { 0 } else { AN_HOUR }), chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn five_minute_tokens_are_refreshed_at_seventy_percent_of_their_life() {
        assert_eq!(refresh_age(5 * MINUTE, 0.7, false, 0.5), Duration::from_secs(210));
        assert_eq!(refresh_age(5 * MINUTE, 0.7, false, 0.0), Duration::from_secs(195));
        assert_eq!(refresh_age(5 * MINUTE, 0.7, true, 0.5), Duration::from_secs(270));
    }

    #[test]
    fn an_account_that_fails_alone_is_asked_about_ever_more_rarely_whoever_waits() {
        let calls_in = |time: Duration, failures: &dyn Fn(u32) -> Failures| {
            let (mut at, mut calls) = (Duration::ZERO, 0);
            while at < time {
                calls += 1;
                at += failures(calls).pauses(0.0).pressed;
            }
            calls
        };
        let own = |in_a_row| Failures { in_a_row, perhaps_own: true, ..Failures::default() };
        assert!(calls_in(MINUTE, &own) <= 25, "{}", calls_in(MINUTE, &own));
        assert!(calls_in(60 * MINUTE, &own) <= 50, "{}", calls_in(60 * MINUTE, &own));
        let alone = |in_a_row| Failures { in_a_row, alone: in_a_row, ..Failures::default() };
        assert!(calls_in(MINUTE, &alone) <= 10, "{}", calls_in(MINUTE, &alone));
    }

    #[test]
    fn a_refused_grant_is_tried_after_a_minute_ten_an_hour_and_then_daily() {
        let minutes = |times| ask_again(times, 0.0).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 5, u32::MAX].map(minutes), [1, 10, 60, 1440, 1440, 1440]);
        assert_eq!(ask_again(1, 0.999_999).as_secs(), 54);
        assert_eq!(ask_again_with_client(1, true, 0.0), MINUTE);
        assert_eq!(ask_again_with_client(1, false, 0.0), 60 * MINUTE);
        assert_eq!(ask_again_with_client(u32::MAX, false, 0.0), 24 * 60 * MINUTE);
    }

    proptest! {
        #[test]
        fn a_refresh_comes_after_the_floor_and_before_the_end(
            life in 1u64..100_000, fraction in 0.1f64..=0.95, late: bool, chance in 0.0f64..1.0,
        ) {
            let life = Duration::from_secs(life);
            let age = refresh_age(life, fraction, late, chance);
            prop_assert!(age >= floor(life) && age < usable_life(life));
        }

        #[test]
        fn a_retry_never_comes_before_the_server_asked_for(
            in_a_row: u32, alone: u32, perhaps_own: bool, asked in 0u64..7200, chance in 0.0f64..1.0,
        ) {
            let asked = Duration::from_secs(asked);
            let pauses = Failures { in_a_row, alone, perhaps_own, asked: Some(asked) }.pauses(chance);
            prop_assert!(pauses.calm >= asked && pauses.pressed >= asked);
            prop_assert!(pauses.calm.max(pauses.pressed) <= asked.max(5 * MINUTE));
        }

        #[test]
        fn callers_without_a_token_are_served_within_two_seconds_of_recovery(in_a_row: u32, chance in 0.0f64..1.0) {
            let pauses = Failures { in_a_row, ..Failures::default() }.pauses(chance);
            prop_assert!(pauses.pressed < Duration::from_secs(2));
        }
    }
}
