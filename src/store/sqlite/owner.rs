//! The thread that owns the connection. The one rule: whatever has queued up is written in one transaction, and nobody is
//! answered before its commit has returned.
//!
//! So fifty accounts that refresh at once cost one fsync and not fifty. When a batch fails as a whole, its replacements are
//! tried again by themselves: the last bytes of a full disk belong to tokens that are rotated already, not to intents to
//! rotate more.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
};

use tokio::sync::oneshot;

use super::{
    super::{StoreError, error::Trouble, files::Files, lock::Lock, seal::Sealer},
    db::{Db, connect},
    pepper::Pepper,
};
use crate::names::AccountId;

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
    pub(super) sealer: Arc<Sealer>,
    pub(super) pepper: Pepper,
    pub(super) _lock: Lock,
}

impl Owner {
    /// Does jobs until there can be no more, or one closes the store.
    pub(super) fn serve(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
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

    /// All of them in one transaction.
    fn commit(&mut self, writes: &mut [Box<dyn Write>]) -> Answer<()> {
        let db = self.db()?;
        let committed = attempt_all(db, writes);
        if let Err(error) = &committed {
            let rolled_back = db.roll_back();
            tracing::error!(%error, writes = writes.len(), action = error.action(), "the store could not be written");
            // After an I/O error nobody knows what SQLite's memory of the file is worth: it is opened anew.
            if rolled_back.is_err() || error.trouble != Trouble::Full {
                self.db = None;
            }
        }
        committed
    }

    /// The connection, made again if the last one was given up.
    fn db(&mut self) -> Answer<&Db> {
        if self.db.is_none() {
            let connection = connect(self.files.database())?;
            self.db = Some(Db { connection, sealer: self.sealer.clone(), pepper: self.pepper.clone() });
        }
        self.db.as_ref().ok_or_else(|| StoreError::new(Trouble::Closed, "there is no connection"))
    }
}

fn attempt_all(db: &Db, writes: &mut [Box<dyn Write>]) -> Answer<()> {
    db.begin()?;
    for write in writes {
        write.attempt(db)?;
    }
    Ok(db.commit()?)
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
