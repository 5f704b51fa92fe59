//! A change of an account's record from outside its keeper: an import, a login, a logout. While one is under way no keeper of
//! the account is woken, so that there are never two of one grant. Callers use the token that is valid meanwhile, where that
//! is still right, and wait for no longer than they would for a token.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    account::LiveAccount,
    custody::{Custody, Unstored},
    live::{LiveAccounts, Slots},
    outstanding::Work,
    withheld::Withheld,
};
use crate::{
    config::{Account, App},
    names::AccountId,
    store::{Origin, Record},
};

/// The accounts that are being changed.
#[derive(Debug, Default)]
pub(super) struct Changing(HashMap<AccountId, Entry>);

#[derive(Debug)]
struct Entry {
    /// Changes of the same account that run at the same time.
    count: usize,
    /// Its token is used meanwhile.
    predecessor: Option<Arc<LiveAccount>>,
    over: CancellationToken,
}

impl Changing {
    /// Whose token is used while the account is changed, and what tells that it is no longer.
    pub(super) fn of(&self, id: &AccountId) -> Option<(Option<&Arc<LiveAccount>>, &CancellationToken)> {
        self.0.get(id).map(|entry| (entry.predecessor.as_ref(), &entry.over))
    }

    fn begin(&mut self, id: &AccountId, predecessor: Option<&Arc<LiveAccount>>) {
        let new = || Entry { count: 0, predecessor: None, over: CancellationToken::new() };
        let entry = self.0.entry(id.clone()).or_insert_with(new);
        entry.count += 1;
        entry.predecessor = predecessor.cloned().or_else(|| entry.predecessor.take());
    }

    fn end(&mut self, id: &AccountId) {
        let Some(entry) = self.0.get_mut(id) else { return };
        entry.count -= 1;
        if entry.count == 0 {
            entry.over.cancel();
            self.0.remove(id);
        }
    }
}

/// A change that is under way, until this is dropped.
#[derive(Debug)]
pub struct Change<'a> {
    accounts: &'a LiveAccounts,
    id: AccountId,
    predecessor: Option<Arc<LiveAccount>>,
    /// Cancelled when the keeper that there was has ended.
    ended: Option<CancellationToken>,
    refuses: bool,
    replaced: bool,
}

impl LiveAccounts {
    /// Begins a change. The account's keeper begins nothing any more; what it has begun it ends, and that is waited for,
    /// `wait` at most. `refuse`: callers are told why they get no token; else they use the one that is valid.
    pub async fn change(&self, id: &AccountId, refuse: Option<Withheld>, wait: Duration) -> Change<'_> {
        self.forget(id);
        let change = Change::begin(self, id, refuse);
        if let Some(ended) = &change.ended {
            // Whether it has ended in time is asked for below.
            drop(tokio::time::timeout(wait, ended.cancelled()).await);
        }
        change
    }
}

impl<'a> Change<'a> {
    fn begin(accounts: &'a LiveAccounts, id: &AccountId, refuse: Option<Withheld>) -> Self {
        let mut slots = accounts.slots();
        let (predecessor, ended) = slots.predecessor(id);
        slots.changing.begin(id, predecessor.as_ref());
        if let Some(live) = &predecessor {
            if refuse.is_some() {
                live.withhold(refuse);
            }
            live.retire();
        }
        drop(slots);
        Self { accounts, id: id.clone(), predecessor, ended, refuses: refuse.is_some(), replaced: false }
    }

    /// Which account is changed.
    pub fn account(&self) -> &AccountId {
        &self.id
    }

    /// Whether nothing is under way with the account.
    pub fn is_settled(&self) -> bool {
        self.ended.as_ref().is_none_or(CancellationToken::is_cancelled)
    }

    /// What keeps it from being settled.
    pub fn waits_for(&self) -> String {
        let known = self.accounts.outstanding().of(&self.id);
        known.unwrap_or_else(|| "what is under way with it".to_owned())
    }

    /// The changed record is durable: from now on callers find the account as it is there. A keeper that still has a call
    /// under way for the grant that was there before ends by itself: what that brings is refused by the store.
    pub fn done(mut self) {
        self.supersede();
    }

    fn supersede(&mut self) {
        self.replaced = true;
        self.accounts.slots().vacate(&self.id);
        if let Some(live) = &self.predecessor {
            live.withhold(Some(Withheld::Replaced));
        }
    }

    /// Hands a record that the store has refused to a keeper of its own, which stores it as soon as that can be done, and
    /// uses its token when there is no other. Nothing may be under way with the account.
    pub fn adopt(mut self, app: &Arc<App>, account: &Arc<Account>, record: Record, origin: Origin) {
        let accounts = self.accounts;
        let Some(store) = accounts.surroundings.store.clone() else { return };
        let before = self.predecessor.as_ref().filter(|_| !self.refuses).map(|live| live.published());
        self.supersede();
        let unstored = Unstored {
            record,
            credential: None,
            origin,
            last_try: accounts.surroundings.clock.now(),
            _told: accounts.outstanding().begin(&self.id, Work::Storing),
        };
        accounts.surroundings.metrics.unstored.inc();
        let length = app.profile.reuse_window;
        let custody = Custody::of_unstored(store, self.id.clone(), length, unstored);
        let live = accounts.wake(&mut accounts.slots(), app, account, Some(custody));
        live.publish(|p| p.credential = before.and_then(|before| before.credential));
        accounts.remember(live);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.predecessor.as_ref().filter(|_| self.refuses && !self.replaced) {
            live.withhold(None);
        }
        self.accounts.slots().changing.end(&self.id);
    }
}

impl Slots {
    /// Who has the account now, and what tells of the end of its keeper.
    fn predecessor(&self, id: &AccountId) -> (Option<Arc<LiveAccount>>, Option<CancellationToken>) {
        let slot = self.seats.get(id).filter(|slot| !slot.ended.is_cancelled());
        (slot.and_then(|slot| slot.live.upgrade()), slot.map(|slot| slot.ended.clone()))
    }

    fn vacate(&mut self, id: &AccountId) {
        self.seats.remove(id);
    }
}
