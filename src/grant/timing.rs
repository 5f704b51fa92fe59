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

/// How long to wait after the `failures`-th failure in a row: full jitter over an exponentially growing span, and never
/// less than the server asked for. While callers wait without a token the span stays short, so that they are served
/// within two seconds of the endpoint's recovery.
pub fn retry_after(failures: u32, asked: Option<Duration>, callers_wait: bool, chance: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(30);
    const MOST_WHILE_CALLERS_WAIT: Duration = Duration::from_millis(1500);
    let most = if callers_wait { MOST_WHILE_CALLERS_WAIT } else { MOST };
    let span = FIRST.saturating_mul(1 << failures.min(10)).min(most);
    span.mul_f64(chance).max(LEAST).max(asked.unwrap_or_default())
}

/// How long to wait after credentials or configuration were refused: nothing helps until a person changes something, and
/// a changed secret file is noticed at once.
pub fn retry_after_refusal(failures: u32, chance: f64) -> Duration {
    const FIRST: Duration = Duration::from_secs(5);
    const MOST: Duration = Duration::from_secs(30);
    let span = FIRST.saturating_mul(1 << failures.min(5)).min(MOST);
    span.mul_f64(0.5 + chance / 2.0)
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
            failures: u32, asked in 0u64..7200, waiting: bool, chance in 0.0f64..1.0,
        ) {
            let asked = Duration::from_secs(asked);
            let after = retry_after(failures, Some(asked), waiting, chance);
            prop_assert!(after >= asked && after <= asked.max(Duration::from_secs(30)));
        }

        #[test]
        fn callers_without_a_token_are_served_within_two_seconds_of_recovery(failures: u32, chance in 0.0f64..1.0) {
            prop_assert!(retry_after(failures, None, true, chance) <= Duration::from_millis(1500));
        }
    }
}
