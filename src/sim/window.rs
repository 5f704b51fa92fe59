//! An exact sliding window: at most so many calls in any stretch of time, wherever the stretch begins.

use std::collections::VecDeque;

/// When the admitted calls of one caller were made, milliseconds.
#[derive(Default)]
pub(super) struct Window(VecDeque<u64>);

impl Window {
    /// Admits a call, or says how many milliseconds are left until one will be admitted.
    pub(super) fn admit(&mut self, budget: usize, length_ms: u64, now: u64) -> Result<(), u64> {
        while self.0.front().is_some_and(|first| first.saturating_add(length_ms) <= now) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some(first) if self.0.len() >= budget => Err(first.saturating_add(length_ms) - now),
            _ => {
                self.0.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn no_stretch_of_the_length_holds_more_than_the_budget() {
        let mut window = Window::default();
        for now in [0, 10, 20] {
            assert_eq!(window.admit(3, 100, now), Ok(()));
        }
        assert_eq!(window.admit(3, 100, 99), Err(1));
        assert_eq!(window.admit(3, 100, 100), Ok(()));
        assert_eq!(window.admit(3, 100, 100), Err(10));
    }
}
