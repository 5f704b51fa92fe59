//! The thread that owns the connection. The one rule: whatever has queued up is written in one transaction, and nobody is
//! answered before its commit has returned.
//!
//! So fifty accounts that refresh at once cost one fsync and not fifty. When a batch fails as a whole, its replacements are
//! tried again by themselves: the last bytes of a full disk belong to tokens that are rotated already, not to intents to
//! rotate more.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    super::{
        StoreError, error::Trouble, files::Files, lock::Lock, mark::Progress, seal::Sealer, spill::Spill,
    },
    condition::Condition,
    db::Db,
    high_water::Mark,
    pepper::Pepper,
    place::{Place, Seen},
    progress, reopen,
};
use crate::names::AccountId;

/// How long the thread rests before it looks whether the file is still there.
const REST: Duration = Duration::from_secs(5);

/// How soon a file that is not the store, and looks unchanged, is read once more: file systems tell time in ticks.
const AGAIN: Duration = Duration::from_secs(1);

/// What an operation is answered with.
pub(super) type Answer<T> = Result<T, StoreError>;

/// Something to be read.
pub(super) type Read = Box<dyn FnOnce(Answer<&Db>) + Send>;

/// One operation on its way to the thread.
pub(super) enum Job {
    /// Sees all that was committed; outside of any transaction.
    Read(Read),
    /// Part of a batch.
    Write(Box<dyn Write>),
    /// The last one: answered when all before it are done and the files are closed.
    Close(oneshot::Sender<()>),
}

/// A write, which may be tried more than once before it is answered.
pub(super) trait Write: Send {
    /// Whose record it is about.
    fn account(&self) -> Option<&AccountId>;
    /// How it ranks.
    fn rank(&self) -> Rank;
    /// Does it within the open transaction and keeps the outcome. An error is the transaction's end.
    fn attempt(&mut self, db: &Db) -> Answer<()>;
    /// Answers whoever asked.
    fn answer(self: Box<Self>, committed: Answer<()>);
}

/// Which writes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It keeps what would otherwise be lost.
    Replace,
    /// Anything else.
    Plain,
    /// It leads to more writes.
    Begin,
}

/// A write with the place its answer goes to.
pub(super) struct Change<T, F> {
    pub(super) account: Option<AccountId>,
    pub(super) rank: Rank,
    pub(super) work: F,
    pub(super) outcome: Option<Answer<T>>,
    pub(super) to: oneshot::Sender<Answer<T>>,
}

impl<T: Send, F: FnMut(&Db) -> Answer<T> + Send> Write for Change<T, F> {
    fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    fn rank(&self) -> Rank {
        self.rank
    }

    fn attempt(&mut self, db: &Db) -> Answer<()> {
        db.run("SAVEPOINT job")?;
        let outcome = (self.work)(db);
        if let (true, Some(spill), Some(id)) = (outcome.is_err(), &db.spill, &self.account) {
            spill.keep(id);
        }
        // A full disk or a broken one ends the whole transaction, and the savepoint with it.
        if outcome.is_err() && db.connection.is_autocommit() {
            return outcome.map(drop);
        }
        if outcome.is_err() {
            db.run("ROLLBACK TO job")?;
        }
        self.outcome = Some(outcome);
        Ok(db.run("RELEASE job")?)
    }

    fn answer(self: Box<Self>, committed: Answer<()>) {
        let Self { outcome, to, .. } = *self;
        let missed = || Err(StoreError::new(Trouble::Closed, "the operation was not done"));
        let answer = committed.and_then(|()| outcome.unwrap_or_else(missed));
        // Whoever asked may be gone; what was written stays.
        let _ = to.send(answer);
    }
}

/// Everything the thread owns. The order of the fields is the order in which they end.
pub(super) struct Owner {
    pub(super) db: Option<Db>,
    pub(super) files: Files,
    pub(super) place: Place,
    pub(super) progress: Progress,
    pub(super) mark: Mark,
    pub(super) sealer: Arc<Sealer>,
    pub(super) pepper: Pepper,
    pub(super) spill: Arc<Spill>,
    pub(super) condition: Arc<Condition>,
    /// What stood in the store's place when it was last found not to be the store, when, and why not.
    pub(super) refused: Option<(Seen, Instant, StoreError)>,
    pub(super) _lock: Arc<Lock>,
}

impl Owner {
    /// Does jobs until there can be no more, or one closes the store.
    pub(super) fn serve(mut self, jobs: &mpsc::Receiver<Job>) {
        loop {
            let first = match jobs.recv_timeout(REST) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    // Somebody should hear of a file that is gone before it is needed.
                    let _ = self.look();
                    self.mark.settle();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = Batch::default();
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                batch.add(job);
            }
            self.write(batch.writes);
            for read in batch.reads {
                read(self.db());
            }
            if !batch.closings.is_empty() {
                drop(self);
                for to in batch.closings {
                    let _ = to.send(());
                }
                return;
            }
        }
    }

    fn write(&mut self, mut writes: Vec<Box<dyn Write>>) {
        if writes.is_empty() {
            return;
        }
        order(&mut writes);
        let mut committed = self.commit(&mut writes);
        let replacements = writes.iter().take_while(|write| write.rank() == Rank::Replace).count();
        if committed.is_err() && (1..writes.len()).contains(&replacements) {
            let rest = writes.split_off(replacements);
            rest.into_iter().for_each(|write| write.answer(committed.clone()));
            committed = self.commit(&mut writes);
        }
        writes.into_iter().for_each(|write| write.answer(committed.clone()));
    }

    /// All of them in one transaction, into the file that has the store's name.
    fn commit(&mut self, writes: &mut [Box<dyn Write>]) -> Answer<()> {
        self.look()?;
        let db = self.open_db()?;
        let attempted = attempt_all(db, writes);
        self.spill.transaction_ended(attempted.is_ok());
        if let Err(error) = &attempted {
            let rolled_back = db.roll_back();
            // After an I/O error nobody knows what SQLite's memory of the file is worth: it is opened anew.
            if rolled_back.is_err() || error.trouble != Trouble::Full {
                self.db = None;
            }
        }
        let confirmed = self.confirm();
        let commits = attempted.and_then(|commits| confirmed.map(|()| commits));
        if let Ok(commits) = commits {
            self.progress.commits = self.progress.commits.max(commits);
            self.mark.write(&self.progress);
        }
        self.condition.note(commits.map(drop).inspect_err(|error| {
            tracing::error!(%error, writes = writes.len(), action = error.action(), "the store could not be written");
        }))
    }

    /// Whether what was just written lies in the file that has the name.
    fn confirm(&mut self) -> Answer<()> {
        match self.place.confirm() {
            Ok(Seen::Served) => Ok(()),
            Ok(seen) => Err(self.place.displaced(seen, "")),
            Err(error) => Err(unseen(&error)),
        }
    }

    /// The connection, for reading. Where the file has lost its name, it still is what was written.
    fn db(&mut self) -> Answer<&Db> {
        let looked = self.look();
        if self.db.is_none() {
            looked?;
        }
        self.open_db()
    }

    fn open_db(&self) -> Answer<&Db> {
        self.db.as_ref().ok_or_else(|| StoreError::new(Trouble::Closed, "there is no connection"))
    }

    /// Makes sure that the file that has the store's name is the one that is open. One that was put back is opened, if it
    /// holds all that was answered.
    fn look(&mut self) -> Answer<()> {
        let seen = self.place.look().map_err(|error| unseen(&error));
        let looked = match seen {
            Ok(Seen::Served) if self.db.is_some() => return self.is_back(),
            Ok(seen) => self.open_again(seen),
            Err(error) => Err(error),
        };
        if let Err(error) = &looked
            && self.condition.is_news(error)
        {
            tracing::error!(%error, action = error.action(), "no refresh token is spent until the store is back");
        }
        if looked.is_ok() {
            tracing::info!(path = %self.files.database().display(), "the store was opened anew");
        }
        self.condition.note(looked)
    }

    fn is_back(&mut self) -> Answer<()> {
        self.refused = None;
        if self.condition.trouble().is_some_and(|last| last.trouble == Trouble::Displaced) {
            tracing::info!(path = %self.files.database().display(), "the store's file is back in its place");
            return self.condition.note(Ok(()));
        }
        Ok(())
    }

    fn open_again(&mut self, seen: Seen) -> Answer<()> {
        if let Some((refused, at, error)) = &self.refused
            && *refused == seen
            && at.elapsed() < AGAIN
        {
            return Err(error.clone());
        }
        self.refused = None;
        if seen == Seen::Nothing {
            return Err(self.place.displaced(seen, ""));
        }
        if !matches!(seen, Seen::Other(_)) {
            // Nobody knows any more what the connection remembers of it is worth. And no descriptor of a file that is open
            // may be closed beside it.
            self.db = None;
        }
        match reopen::open(self, seen) {
            Ok((db, place)) => {
                (self.db, self.place) = (Some(db), place);
                Ok(())
            }
            Err(reopen::Refused::Failed(error)) => Err(error),
            Err(reopen::Refused::Foreign(detail)) => {
                let error = self.place.displaced(seen, &detail);
                self.refused = Some((seen, Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.mark.settle();
    }
}

pub(super) fn unseen(error: &std::io::Error) -> StoreError {
    StoreError::new(Trouble::Io, format!("nobody can tell whether the file is still the store's: {error}"))
}

/// How many commits have begun a refresh or changed a record then; 0 where none of these did.
fn attempt_all(db: &Db, writes: &mut [Box<dyn Write>]) -> Answer<u64> {
    db.begin()?;
    let counts = writes.iter().any(|write| write.rank() != Rank::Plain);
    for write in writes {
        write.attempt(db)?;
    }
    let commits = if counts { progress::advance(&db.connection)? } else { 0 };
    db.commit()?;
    Ok(commits)
}

/// Replacements first and intents last. An account with more than one job in the batch keeps them in the middle, where the
/// order of arrival holds.
fn order(writes: &mut Vec<Box<dyn Write>>) {
    let mut jobs: HashMap<AccountId, usize> = HashMap::new();
    for account in writes.iter().filter_map(|write| write.account()) {
        *jobs.entry(account.clone()).or_default() += 1;
    }
    let alone = |write: &dyn Write| write.account().is_some_and(|account| jobs.get(account) == Some(&1));
    writes.sort_by_key(|write| if alone(write.as_ref()) { write.rank() } else { Rank::Plain });
}

#[derive(Default)]
struct Batch {
    writes: Vec<Box<dyn Write>>,
    reads: Vec<Read>,
    closings: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Write(write) => self.writes.push(write),
            Job::Read(read) => self.reads.push(read),
            Job::Close(to) => self.closings.push(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A job's name, account and rank, and where it is noted when it is answered.
    struct Named(&'static str, Option<AccountId>, Rank, Arc<Mutex<Vec<&'static str>>>);

    impl Write for Named {
        fn account(&self) -> Option<&AccountId> {
            self.1.as_ref()
        }

        fn rank(&self) -> Rank {
            self.2
        }

        fn attempt(&mut self, _: &Db) -> Answer<()> {
            Ok(())
        }

        fn answer(self: Box<Self>, _: Answer<()>) {
            self.3.lock().unwrap().push(self.0);
        }
    }

    fn ordered(jobs: &[(&'static str, &str, Rank)]) -> Vec<&'static str> {
        let answered = Arc::default();
        let account = |name: &str| {
            let account = name.parse().ok()?;
            Some(AccountId { app: "depop".parse().unwrap(), account })
        };
        let mut writes: Vec<Box<dyn Write>> = Vec::new();
        for (job, name, rank) in jobs {
            writes.push(Box::new(Named(job, account(name), *rank, Arc::clone(&answered))));
        }
        order(&mut writes);
        writes.into_iter().for_each(|write| write.answer(Ok(())));
        answered.lock().unwrap().clone()
    }

    #[test]
    fn replacements_go_first_and_intents_last_but_no_account_overtakes_itself() {
        let (replace, plain, begin) = (Rank::Replace, Rank::Plain, Rank::Begin);
        let jobs = [
            ("begin a", "a", begin),
            ("probe", "", plain),
            ("replace b", "b", replace),
            ("begin c", "c", begin),
        ];
        assert_eq!(ordered(&jobs), ["replace b", "probe", "begin a", "begin c"]);
        let jobs = [("begin a", "a", begin), ("replace a", "a", replace), ("replace b", "b", replace)];
        assert_eq!(ordered(&jobs), ["replace b", "begin a", "replace a"]);
    }
}
