//! The one seam of time. The rule: whoever needs "now" is given a [`Moment`]; only this file asks the operating system.
//!
//! Validity is judged on two clocks at once. Wall time tells when a lifetime ended while the process was not looking, but
//! can be stepped; boot time (`CLOCK_BOOTTIME`) cannot be stepped and, unlike the monotonic clock under tokio's timers,
//! goes on while the machine is suspended. Where they differ, the one that makes a token older decides.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock.
    pub wall: SystemTime,
    /// Time since boot, suspend included.
    pub boot: Duration,
}

impl Moment {
    /// How long ago `earlier` was: the larger of what the two clocks say, never negative.
    pub fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let boot = self.boot.saturating_sub(earlier.boot);
        wall.max(boot)
    }

    /// How long it still is until `later`: the smaller of what the two clocks say, so that a clock set back does not
    /// prolong a pause by as much.
    pub fn until(self, later: Self) -> Duration {
        let wall = later.wall.duration_since(self.wall).unwrap_or_default();
        let boot = later.boot.saturating_sub(self.boot);
        wall.min(boot)
    }

    /// The same point moved on by `by` on both clocks.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self { wall: self.wall + by, boot: self.boot + by }
    }

    /// Wall time for people: RFC 3339, UTC, whole seconds.
    pub fn rfc3339(self) -> String {
        rfc3339(self.wall)
    }
}

/// Wall time for people and programs: RFC 3339, UTC, whole seconds.
pub fn rfc3339(wall: SystemTime) -> String {
    jiff::Timestamp::try_from(wall).map_or_else(|_| "unknown".to_owned(), |t| format!("{t:.0}"))
}

/// Supplies [`Moment`]s: the system's clocks, or tokio's clock where a test holds time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Tokio { origin: tokio::time::Instant, start: Moment },
    Told(Arc<dyn Fn() -> Moment + Send + Sync>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Tokio { .. } => "Tokio",
            Self::Told(_) => "Told",
        })
    }
}

impl Clock {
    /// The operating system's wall clock and boot-time clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Both clocks follow tokio's, from now on: with a paused runtime, time is in the test's hands.
    pub fn tokio() -> Self {
        Self(Source::Tokio { origin: tokio::time::Instant::now(), start: system_now() })
    }

    /// Both clocks are told by `now`: for a test that steps one of them, or suspends the machine.
    pub fn told(now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Source::Told(Arc::new(now)))
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => system_now(),
            Source::Tokio { origin, start } => start.plus(origin.elapsed()),
            Source::Told(now) => now(),
        }
    }
}

impl Clock {
    /// The moment of a wall time that was written down, perhaps before the last boot. None for a time yet to come: a clock
    /// was set back since, and how long ago it was cannot be told.
    pub fn recall(&self, wall: SystemTime) -> Option<Moment> {
        let now = self.now();
        let ago = now.wall.duration_since(wall).ok()?;
        Some(Moment { wall, boot: now.boot.saturating_sub(ago) })
    }
}

fn system_now() -> Moment {
    let boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(boot.tv_nsec).unwrap_or_default();
    Moment { wall: SystemTime::now(), boot: Duration::new(seconds, nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_clock_that_makes_a_token_older_decides() {
        let start = Clock::system().now();
        let suspended = Moment { wall: start.wall, boot: start.boot + 9 * SECOND };
        let stepped_forward = Moment { wall: start.wall + 7 * SECOND, boot: start.boot };
        let stepped_back = Moment { wall: start.wall - 7 * SECOND, boot: start.boot + SECOND };
        assert_eq!(suspended.since(start), 9 * SECOND);
        assert_eq!(stepped_forward.since(start), 7 * SECOND);
        assert_eq!(stepped_back.since(start), SECOND);
        assert_eq!(stepped_back.until(start.plus(3 * SECOND)), 2 * SECOND);
        assert_eq!(suspended.until(start.plus(3 * SECOND)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_clock_moves_only_when_told() {
        let clock = Clock::tokio();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        tokio::time::advance(5 * SECOND).await;
        assert_eq!(clock.now().since(start), 5 * SECOND);
    }
}
