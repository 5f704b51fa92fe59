//! Chance out of a seed. The one rule: each part of a schedule throws dice of its own, so that the order in which tasks run
//! changes nobody's numbers.

use std::time::Duration;

/// Numbers that follow from a seed and a place (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

/// What the dice are thrown for.
#[derive(Debug, Clone, Copy)]
pub(super) enum For {
    Terms,
    Fault,
    Harm,
    Call,
    Caller,
    Driver,
    Store,
    Life,
    Login,
}

impl Dice {
    pub(super) fn of(seed: u64, whom: For, place: [u64; 3]) -> Self {
        let mut dice = Self(seed);
        for number in [whom as u64, place[0], place[1], place[2]] {
            dice.0 = dice.next() ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    /// Whole milliseconds from `low` to `high`.
    pub(super) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.below(high - low + 1))
    }
}
