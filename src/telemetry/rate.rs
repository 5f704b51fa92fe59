//! Bounds how many lines of one kind are written: whoever causes them must not fill the disk.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines of one kind within a second.
const MOST: u32 = 100;

/// Lines of one kind.
#[derive(Debug, Default)]
pub struct Rate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Rate {
    /// Nothing is written yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Window { began: None, written: 0, left_out: 0 }))
    }

    /// Whether a line may be written now, with how many were left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1)) {
            (window.began, window.written) = (Some(now), 0);
        }
        if window.written >= MOST {
            window.left_out += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_lines_a_second_are_written_and_the_rest_is_told_with_the_next() {
        let (rate, start) = (Rate::default(), Instant::now());
        let admitted = (0..1_000).filter(|_| rate.admit(start).is_some()).count();
        assert_eq!(admitted, 100);
        assert_eq!(rate.admit(start + Duration::from_millis(999)), None);
        assert_eq!(rate.admit(start + Duration::from_secs(1)), Some(901));
        assert_eq!(rate.admit(start + Duration::from_secs(1)), Some(0));
    }
}
