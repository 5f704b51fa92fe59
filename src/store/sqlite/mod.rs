//! The store in one SQLite file, sealed. The one rule: one thread owns the connection, and what it has answered is durable.
//!
//! Read in this order: `open` and the files' rules in `files`, `schema`, `accounts` (when is a record whole?),
//! `owner` (how are writes grouped?). Secrets leave this module only as records; in the file they are sealed by `seal`.

mod accounts;
mod backup;
mod consents;
mod db;
mod fault;
mod header;
mod holders;
mod intents;
mod listing;
mod open;
mod open_error;
mod owner;
mod pepper;
mod rekey;
mod restore;
mod salvage;
mod scan;
mod schema;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::SystemTime,
};

use tokio::sync::oneshot;

pub use open::{KeyPlace, OpenOptions};
pub use open_error::OpenError;
pub use restore::{RestoreError, Restored, restore};

use self::{
    db::Db,
    owner::{Answer, Change, Job, Owner, Rank},
};
use super::{
    Begun, CallLog, Intent, Origin, PageQuery, Pending, PendingConsent, Record, Replaced, SpillError, Store,
    StoreError, Stored, error::Trouble, spill::Spill,
};
use crate::{
    names::{AccountId, AppName},
    secret::Secret,
};

/// Accounts in an SQLite file. Dropping it waits for what was begun.
pub struct SqliteStore {
    path: PathBuf,
    spill: Spill,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

impl SqliteStore {
    /// Opens a store, making it where there is none. Blocks: on the disk, and on the lock for as long as the options say.
    ///
    /// # Errors
    /// When anything about it is not as it should be; nothing was lost or overwritten then.
    pub fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        let open::Opened { db, files, lock, spill } = open::open(options)?;
        let path = files.database().to_owned();
        let (sealer, pepper) = (db.sealer.clone(), db.pepper.clone());
        let owner = Owner { db: Some(db), files, sealer, pepper, _lock: lock };
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || owner.serve(&queue));
        let thread = thread.map_err(|e| OpenError::io(&path, &e))?;
        Ok(Self { path, spill, jobs: Mutex::new(Some(jobs)), thread: Some(thread) })
    }

    /// Whether there is a database at that path.
    pub fn exists(path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    /// Waits for everything that was asked before, then closes the files and gives up the lock. Later operations fail, and
    /// doing so again does nothing.
    pub fn shut_down(&self) -> Pending<'static, ()> {
        let (to, closed) = oneshot::channel();
        if let Some(jobs) = self.queue().take() {
            // If nobody receives it, the thread has ended, and with it all it held.
            let _ = jobs.send(Job::Close(to));
        }
        Box::pin(async move {
            let _ = closed.await;
            Ok(())
        })
    }

    /// Writes a consistent copy of the store, without its key, into a file that must not exist yet.
    pub fn backup(&self, to: &Path) -> Pending<'static, ()> {
        let to = to.to_owned();
        self.read(move |db| db.back_up(&to))
    }

    /// Seals with the active key whatever another one sealed, in small batches between other operations. Returns how many
    /// accounts and consents that were. May be cut off and begun again at any time; when it has ended, the old keys are
    /// needed no more.
    pub fn rekey(&self) -> Pending<'_, u64> {
        Box::pin(async move {
            let (mut total, mut after) = (0, None);
            loop {
                let batch =
                    self.change(None, Rank::Plain, move |db| db.reseal_accounts(after.as_ref())).await?;
                total += batch.sealed;
                let Some(last) = batch.last else { break };
                after = Some(last);
            }
            total += self.change(None, Rank::Plain, Db::reseal_consents).await?;
            self.change(None, Rank::Plain, Db::reseal_pepper).await?;
            Ok(total)
        })
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Db) -> Answer<T> + Send + 'static,
    ) -> Pending<'static, T> {
        let (to, answer) = oneshot::channel();
        self.ask(Job::Read(Box::new(move |db| drop(to.send(db.and_then(work))))), answer)
    }

    fn change<T: Send + 'static>(
        &self,
        account: Option<AccountId>,
        rank: Rank,
        work: impl FnMut(&Db) -> Answer<T> + Send + 'static,
    ) -> Pending<'static, T> {
        let (to, answer) = oneshot::channel();
        self.ask(Job::Write(Box::new(Change { account, rank, work, outcome: None, to })), answer)
    }

    /// Queued at once: whether the answer is waited for makes no difference to the work.
    fn ask<T: Send + 'static>(&self, job: Job, answer: oneshot::Receiver<Answer<T>>) -> Pending<'static, T> {
        // A job that cannot be sent is dropped, and its answer with it.
        let _ = self.queue().as_ref().map(|jobs| jobs.send(job));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn queue(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        // No code that holds it can panic half-way.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queue().take();
        if let Some(thread) = self.thread.take() {
            // Whoever opens the store next must find it closed. It has panicked only if this has said so already.
            let _ = thread.join();
        }
    }
}

fn closed() -> StoreError {
    StoreError::new(Trouble::Closed, "it was closed before this operation")
}

impl Store for SqliteStore {
    fn backup(&self, to: &Path) -> Pending<'_, ()> {
        Self::backup(self, to)
    }

    fn rekey(&self) -> Pending<'_, u64> {
        Self::rekey(self)
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Self::shut_down(self)
    }

    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>> {
        let id = id.clone();
        self.read(move |db| db.stored(&id))
    }

    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>> {
        self.read(move |db| db.page(&query))
    }

    fn count(&self, app: Option<AppName>) -> Pending<'_, u64> {
        self.read(move |db| db.count(app.as_ref()))
    }

    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced> {
        self.change(Some(record.id.clone()), Rank::Replace, move |db| db.replace(&record, origin))
    }

    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced> {
        let id = id.clone();
        self.change(Some(id.clone()), Rank::Plain, move |db| db.remove(&id, generation))
    }

    fn begin(&self, intent: Intent) -> Pending<'_, Begun> {
        self.change(Some(intent.id.clone()), Rank::Begin, move |db| db.begin_intent(&intent))
    }

    fn close(&self, id: &AccountId, generation: u64, at: SystemTime) -> Pending<'_, ()> {
        let id = id.clone();
        self.change(Some(id.clone()), Rank::Plain, move |db| db.close_intent(&id, generation, at))
    }

    fn open_intents(&self) -> Pending<'_, Vec<AccountId>> {
        self.read(Db::open_intents)
    }

    fn holder(&self, refresh_token: &Secret) -> Pending<'_, Option<AccountId>> {
        let token = refresh_token.clone();
        self.read(move |db| db.holder(&token))
    }

    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog> {
        let endpoint = endpoint.to_owned();
        self.read(move |db| db.calls(&endpoint))
    }

    fn put_consent(&self, consent: PendingConsent, now: SystemTime) -> Pending<'_, ()> {
        self.change(None, Rank::Plain, move |db| db.put_consent(&consent, now))
    }

    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>> {
        let state = state.clone();
        self.change(None, Rank::Plain, move |db| db.take_consent(&state))
    }

    fn probe(&self) -> Pending<'_, ()> {
        self.change(None, Rank::Plain, Db::probe)
    }

    fn spill(&self, records: Vec<Record>) -> Result<(), SpillError> {
        if self.queue().is_none() {
            return Err(SpillError { records, error: closed() });
        }
        self.spill.add(records)
    }
}
