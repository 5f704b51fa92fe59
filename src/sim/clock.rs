//! The simulator's time. The one rule: nothing below `sim` asks any other clock, so that a paused tokio clock
//! and `POST /sim/clock` together decide what expires.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::time::Instant;

/// Milliseconds since the simulator started, moved on by whoever advances it.
pub(super) struct Clock {
    start: Instant,
    started_at_epoch_ms: u64,
    offset_ms: AtomicU64,
}

/// One moment on both of the simulator's scales, milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Since the simulator started.
    pub(super) now: u64,
    /// Since 1970.
    pub(super) epoch: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), started_at_epoch_ms: millis(epoch), offset_ms: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> u64 {
        millis(self.start.elapsed()).saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    /// The same moment as milliseconds since 1970, for the dates that marketplaces write into their answers.
    pub(super) fn epoch(&self) -> u64 {
        self.started_at_epoch_ms.saturating_add(self.now())
    }

    pub(super) fn moment(&self) -> Moment {
        let now = self.now();
        Moment { now, epoch: self.started_at_epoch_ms.saturating_add(now) }
    }

    pub(super) fn advance(&self, ms: u64) {
        let moved = |offset: u64| Some(offset.saturating_add(ms));
        let _ = self.offset_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    pub(super) fn rewind(&self) {
        self.offset_ms.store(0, Ordering::Relaxed);
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC, whole seconds.
pub(super) fn rfc3339(epoch_ms: u64) -> String {
    let seconds = epoch_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970 to year, month, day: counts from 1 March of year 0, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399_000), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_772_323_200_000), "2026-03-01T00:00:00Z");
    }
}
