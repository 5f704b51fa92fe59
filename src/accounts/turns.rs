//! The order in which sellers' codes brought new grants. One that could not be stored at once must not take the place of a later
//! one of the same account: many servers have ended it with that one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::names::AccountId;

/// The accounts for which a grant has been brought and is not in its place yet.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<AccountId, Open>>);

#[derive(Debug, Default)]
struct Open {
    waiting: usize,
    next: u64,
    /// The latest that is in its place: stored, or with the account's keeper.
    placed: Option<u64>,
    /// Held by the one that is being put in its place.
    storing: Arc<tokio::sync::Mutex<()>>,
}

/// One of those grants, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    id: &'a AccountId,
    number: u64,
}

impl Turns {
    /// A grant was brought now.
    pub(super) fn take<'a>(&'a self, id: &'a AccountId) -> Turn<'a> {
        let mut all = self.lock();
        let open = all.entry(id.clone()).or_default();
        open.waiting += 1;
        open.next += 1;
        Turn { turns: self, id, number: open.next }
    }

    /// Poison is harmless here: no code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits until no other one is being put in its place, and keeps the others waiting. None: a later one is in its place.
    pub(super) async fn come(&self) -> Option<OwnedMutexGuard<()>> {
        let storing = self.turns.lock().get(self.id).map(|open| open.storing.clone())?;
        let alone = storing.lock_owned().await;
        let is_over = self.turns.lock().get(self.id).is_some_and(|open| open.placed > Some(self.number));
        (!is_over).then_some(alone)
    }

    /// This one is in its place.
    pub(super) fn place(&self) {
        if let Some(open) = self.turns.lock().get_mut(self.id) {
            open.placed = open.placed.max(Some(self.number));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.turns.lock();
        if let Some(open) = all.get_mut(self.id) {
            open.waiting -= 1;
            if open.waiting == 0 {
                all.remove(self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_grant_gives_way_to_a_later_one_of_its_account_and_to_no_other() {
        let id = |name: &str| AccountId { app: "a".parse().unwrap(), account: name.parse().unwrap() };
        let (turns, id, other) = (Turns::default(), id("x"), id("y"));
        let (first, second, else_where) = (turns.take(&id), turns.take(&id), turns.take(&other));
        first.place();
        assert!(first.come().await.is_some() && second.come().await.is_some());
        second.place();
        assert!(first.come().await.is_none());
        assert!(second.come().await.is_some() && else_where.come().await.is_some());
        drop((first, second, else_where));
        assert!(turns.lock().is_empty());
        assert!(turns.take(&id).come().await.is_some());
    }

    #[tokio::test]
    async fn a_grant_is_not_stored_while_a_later_one_is_being_stored() {
        let id = AccountId { app: "a".parse().unwrap(), account: "x".parse().unwrap() };
        let turns = Turns::default();
        let (first, second) = (turns.take(&id), turns.take(&id));
        let storing = second.come().await;
        let stored = async {
            second.place();
            drop(storing);
        };
        let (gives_way, ()) = tokio::join!(async { first.come().await.is_none() }, stored);
        assert!(gives_way);
    }
}
