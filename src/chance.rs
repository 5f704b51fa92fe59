//! The one seam of randomness in decisions. The rule: whoever decides is given a drawn number; only this file draws.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Draws numbers for spreading retries and refreshes; secrets have another source.
#[derive(Clone, Debug)]
pub struct Chance(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Chance {
    /// The operating system's randomness.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The same numbers each time, for a run that must be repeatable.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// Uniform in `0.0..1.0`.
    pub fn draw(&self) -> f64 {
        match &self.0 {
            Source::System => rand::random(),
            Source::Seeded(numbers) => numbers.lock().unwrap_or_else(PoisonError::into_inner).random(),
        }
    }
}
