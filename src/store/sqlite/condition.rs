//! How the store is, for those who show it without asking the store's thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::StoreError;

/// What the last write or look came to.
#[derive(Debug, Default)]
pub(super) struct Condition(Mutex<Option<StoreError>>);

impl Condition {
    /// Remembers the outcome and hands it on.
    pub(super) fn note(&self, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        *self.last() = outcome.as_ref().err().cloned();
        outcome
    }

    /// Whether this has not been said before.
    pub(super) fn is_news(&self, error: &StoreError) -> bool {
        self.last().as_ref() != Some(error)
    }

    /// What keeps the store from being written to, as far as that is known.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.last().clone()
    }

    fn last(&self) -> MutexGuard<'_, Option<StoreError>> {
        // No code that holds it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
