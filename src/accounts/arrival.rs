//! What a seller's code brought, on its way into the store. A code can be spent once, so what came for it is never dropped: it
//! is stored again and again, and left where the next start finds it if the process ends first.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::oneshot;

use super::{
    Accounts, AccountsError, change::SETTLE, error::Refusal, identity::held as held_by, outcome::Completed,
};
use crate::{
    config::{Account, App},
    grant::{
        Change, Withheld,
        outstanding::{UnderWay, Work},
        owner::Owner,
    },
    names::AccountId,
    oauth::Granted,
    store::{Origin, PendingConsent, Record, Replaced, Store, Stored},
};

/// How often storing is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long somebody waits for a new grant to be stored before he is told that it is not.
const STORED: Duration = Duration::from_secs(15);

/// How long the store may take to say whether it holds something.
const LOOK: Duration = Duration::from_secs(5);

/// Whoever waits for the outcome of a login, and is told once.
pub(super) struct Listener(pub(super) Option<oneshot::Sender<Completed>>);

impl Listener {
    pub(super) fn answer(&mut self, completed: Completed) {
        // Whoever asked may have gone.
        drop(self.0.take().map(|listener| listener.send(completed)));
    }
}

/// A seller's new grant, and what its record is made of.
pub(super) struct Arrival<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) account: &'a Account,
    pub(super) pending: &'a PendingConsent,
    pub(super) granted: &'a Granted,
    pub(super) asked_at: SystemTime,
    /// What was learnt of the seller.
    pub(super) owner: Owner,
    /// What was stored before the code was exchanged.
    pub(super) before: Option<Stored>,
}

impl Arrival<'_> {
    fn id(&self) -> &AccountId {
        &self.pending.account
    }
}

impl Accounts {
    /// Whoever waits is told when storing takes long, and need wait no longer.
    pub(super) async fn keep_and_tell(
        &self,
        store: &dyn Store,
        arrival: Arrival<'_>,
        exchange: UnderWay,
        listener: &mut Listener,
    ) -> Result<(Record, Option<String>), AccountsError> {
        let pending = arrival.pending;
        let mut keeping = Box::pin(self.keep(store, arrival, exchange));
        if let Ok(kept) = tokio::time::timeout(STORED, &mut keeping).await {
            return kept;
        }
        let why = self.live.outstanding().of(&pending.account);
        let outcome = Err(not_stored_yet(&pending.account, why));
        self.outcomes.tell(&pending.id, &outcome, self.clock.now().wall);
        listener.answer(Completed { consent: Some(pending.id.clone()), outcome });
        keeping.await
    }

    /// Returns when the grant is durable: its record, and the seller's name as it was learnt now.
    ///
    /// # Errors
    /// When it must not be stored, or the process ends before it could be.
    async fn keep(
        &self,
        store: &dyn Store,
        mut arrival: Arrival<'_>,
        exchange: UnderWay,
    ) -> Result<(Record, Option<String>), AccountsError> {
        let held = self.live.outstanding().begin(arrival.id(), Work::Storing);
        drop(exchange);
        // Callers keep the old token only where it is known to be the same seller's.
        let refuse = arrival.pending.replace_identity.then_some(Withheld::ChangingHands);
        let turn = self.turns.take(&arrival.pending.account);
        loop {
            let change = self.live.change(arrival.id(), refuse, SETTLE).await;
            let Some(alone) = turn.come().await else {
                return Err(AccountsError::overtaken(arrival.id()));
            };
            let is_last = self.live.closing().is_cancelled();
            match store.account(arrival.id()).await {
                Ok(before) => arrival.before = before,
                Err(error) => tracing::warn!(account = %arrival.id(), %error, "the store cannot be read"),
            }
            let (record, found) = self.record(&arrival).await?;
            let refused = match store.replace(record.clone(), Origin::Brought).await {
                Ok(Replaced::Durable) => {
                    turn.place();
                    self.done(change);
                    return Ok((record, found));
                }
                Ok(Replaced::Newer) => None,
                Ok(Replaced::Held(holder)) => return Err(held_by(arrival.id(), &holder)),
                Err(error) => Some(error),
            };
            if is_last {
                self.live.leave_over(record, Origin::Brought);
                return Err(left_over(arrival.id()));
            }
            if let Some(error) = refused {
                tracing::error!(account = %arrival.id(), %error, action = error.action(),
                    "a new grant is held in memory only; storing it is tried again");
                if change.is_settled() && self.adopt(change, &arrival, record.clone()).is_ok() {
                    turn.place();
                    // A later login's grant need not wait until this one is on the disk.
                    drop((held, alone));
                    return Ok((self.adopted(store, record).await?, found));
                }
            }
            drop(alone);
            let again = tokio::time::sleep(AGAIN);
            self.live.closing().run_until_cancelled(again).await;
        }
    }

    /// Gives the record to a keeper, as if its own refresh had brought it.
    fn adopt(&self, change: Change<'_>, arrival: &Arrival<'_>, record: Record) -> Result<(), String> {
        let client = arrival.app.client.as_ref().ok_or("the app has no client")?;
        let name = record.id.account.clone();
        let account = arrival.app.account_with(name, client.credentials(), record.settings.clone())?;
        self.implicit.forget(&record.id.app);
        change.adopt(arrival.app, &Arc::new(account), record, Origin::Brought);
        Ok(())
    }

    async fn adopted(&self, store: &dyn Store, record: Record) -> Result<Record, AccountsError> {
        self.live.outstanding().stored(&record.id).await;
        let there = tokio::time::timeout(LOOK, store.account(&record.id)).await;
        match there {
            Ok(Ok(Some(Stored::Whole(there)))) if there.refresh_digest() == record.refresh_digest() => {
                Ok(record)
            }
            Ok(Ok(_)) if !self.live.closing().is_cancelled() => Err(AccountsError::overtaken(&record.id)),
            _ => Err(left_over(&record.id)),
        }
    }
}

/// What somebody is told who has waited for long enough.
fn not_stored_yet(id: &AccountId, why: Option<String>) -> AccountsError {
    let why = why.map_or_else(String::new, |why| format!(", for want of {why}"));
    let detail = format!("{id} is connected, and its new grant is not on the disk yet{why}");
    let action = format!(
        "do not log in again and do not kill Marketgate: it goes on storing the grant, and `marketgate accounts show \
         {id}` tells when it has; make room on the store's disk, or put its directory back"
    );
    AccountsError::new(Refusal::Store, "not_stored_yet", detail, action)
}

fn left_over(id: &AccountId) -> AccountsError {
    let detail = format!("{id} is connected, and Marketgate ended before its new grant could be stored");
    let action = format!(
        "start it again: it takes in what was kept beside the store; `marketgate accounts show {id}` then tells whether \
         {id} is connected"
    );
    AccountsError::new(Refusal::Store, "not_stored_yet", detail, action)
}
