//! The end of all keepers. Nothing that a token endpoint gave is left behind: it goes into the store, or where the next start
//! finds it, and the process does not leave before.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{keeper::Surroundings, live::LiveAccounts, outstanding::Outstanding};
use crate::{
    names::AccountId,
    store::{Origin, Record, Replaced, Store, StoreError, Stored},
};

/// How long the store may take to keep something before the other way is tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often both ways are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A record that nobody could store while there was a keeper for it.
#[derive(Debug, Clone)]
pub(super) struct Leftover {
    record: Record,
    origin: Origin,
    /// Nobody knows what it would follow: the store could not be read.
    unread: bool,
}

/// How the keepers ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// Accounts whose new grant is not in the store but beside it, where the next start finds it.
    pub spilled: Vec<AccountId>,
}

impl Surroundings {
    /// Leaves a record to the end of the process.
    pub(super) fn leave_over(&self, record: Record, origin: Origin) {
        self.leftovers().push(Leftover { record, origin, unread: false });
    }

    fn leftovers(&self) -> MutexGuard<'_, Vec<Leftover>> {
        // No code that holds it can panic half-way.
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveAccounts {
    /// From now on no refresh token is shown and no code exchanged: callers use valid tokens, and are refused where there is
    /// none. What has begun goes on.
    pub fn close(&self) {
        self.surroundings.closing.cancel();
        self.wake_all();
    }

    /// Cancelled when nothing that spends something may be begun any more.
    pub fn closing(&self) -> &CancellationToken {
        &self.surroundings.closing
    }

    /// What the end of the process waits for.
    pub fn outstanding(&self) -> &Outstanding {
        &self.surroundings.outstanding
    }

    /// Leaves a grant to the end of the process that could not be stored because the store cannot be read.
    pub fn leave_over(&self, record: Record, origin: Origin) {
        self.surroundings.leftovers().push(Leftover { record, origin, unread: true });
    }

    /// Ends all keepers; each first finishes what it has begun. Returns when everything they hold is in the store or beside
    /// it, which is tried for as long as it takes.
    pub async fn drain(&self) -> Ended {
        self.close();
        self.surroundings.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mut left = std::mem::take(&mut *self.surroundings.leftovers());
        let mut ended = Ended::default();
        let Some(store) = &self.surroundings.store else { return ended };
        while !left.is_empty() {
            left = put_away(store.as_ref(), left, &mut ended).await;
            if !left.is_empty() {
                tokio::time::sleep(AGAIN).await;
            }
        }
        ended
    }
}

/// Tries both ways once; what is left then.
async fn put_away(store: &dyn Store, left: Vec<Leftover>, ended: &mut Ended) -> Vec<Leftover> {
    let mut refused = Vec::new();
    for leftover in left {
        let id = leftover.record.id.clone();
        let stored = tokio::time::timeout(PATIENCE, store_last(store, &leftover)).await;
        let late = |_| Err(StoreError::new(crate::store::error::Trouble::Io, "it does not answer"));
        match stored.unwrap_or_else(late) {
            Ok(()) => tracing::info!(account = %id, "the store took what it had refused"),
            Err(error) => {
                tracing::warn!(account = %id, %error, "the store refuses a new refresh token to the last");
                refused.push(leftover);
            }
        }
    }
    if refused.is_empty() {
        return refused;
    }
    let records: Vec<Record> = refused.iter().map(|leftover| leftover.record.clone()).collect();
    let outcome = store.spill(records);
    let (lost, error) = match outcome {
        Ok(()) => (Vec::new(), None),
        Err(spilling) => (spilling.unwritten, Some(spilling.error)),
    };
    let is_left = |leftover: &Leftover| lost.iter().any(|record| record.id == leftover.record.id);
    let (left, spilled): (Vec<_>, Vec<_>) = refused.into_iter().partition(is_left);
    if !spilled.is_empty() {
        tracing::warn!(
            accounts = spilled.len(),
            "new refresh tokens were spilled beside the store; the next start adopts them"
        );
        ended.spilled.extend(spilled.into_iter().map(|leftover| leftover.record.id));
    }
    if let Some(error) = error {
        let held = left.iter().map(|leftover| leftover.record.id.to_string()).collect::<Vec<_>>().join(", ");
        tracing::error!(accounts = left.len(), held, %error, action = error.action(),
            "new refresh tokens are in memory only, and Marketgate does not end before they are kept: make room, or put the \
             store's directory back; if it is killed, these accounts must log in again");
    }
    left
}

async fn store_last(store: &dyn Store, leftover: &Leftover) -> Result<(), StoreError> {
    let Leftover { record, origin, unread } = leftover;
    if store.replace(record.clone(), *origin).await? == Replaced::Durable {
        return Ok(());
    }
    let there = store.account(&record.id).await?;
    let generation = there.as_ref().map_or(0, Stored::generation);
    match there {
        // It can be read, but the call that was to make it durable may be the one that failed: a later write proves it.
        Some(Stored::Whole(there)) if there.refresh_digest() == record.refresh_digest() => {
            store.probe().await
        }
        _ if *unread => {
            let next = Record { generation: generation + 1, ..record.clone() };
            store.replace(next, *origin).await.map(drop)
        }
        _ => {
            tracing::warn!(account = %record.id, "the account has another grant by now, which is kept");
            Ok(())
        }
    }
}
