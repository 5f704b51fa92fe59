//! Transactions of the store, seen from below. The one rule: one counts only from the moment when the last call that makes
//! it durable has returned without an error.
//!
//! SQLite with a rollback journal: pages as they were go into the journal, which is made durable; pages as they shall be go
//! into the database, which is made durable; then the journal's head is overwritten with zeroes, and that is the commit. It
//! survives a power cut as soon as this, too, is durable. <https://www.sqlite.org/atomiccommit.html>

use crate::calls::Call;

/// A transaction that survives a power cut.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// Where in the order of calls it began.
    pub(crate) began: usize,
    /// Where it was durable.
    pub(crate) ended: usize,
    /// What was written into the database, as text.
    pub(crate) pages: String,
}

/// What is written and not yet durable.
#[derive(Default)]
struct Open {
    commit: Commit,
    journal: bool,
    database: bool,
    /// Whether the journal's head has been overwritten.
    closing: bool,
}

/// The commits to that database, in order.
///
/// # Panics
/// Where one step of a transaction did not wait for the one before.
pub(crate) fn commits(calls: &[Call], database: &str) -> Vec<Commit> {
    let journal = format!("{database}-journal");
    let (mut found, mut open) = (Vec::new(), None::<Open>);
    for call in calls {
        if call.on() == journal && call.writes() {
            write_journal(call, &mut open);
        } else if call.on() == database && call.writes() {
            let open = open.as_mut().expect("a page was written outside of a transaction");
            assert!(
                !open.journal && !open.closing,
                "a page was overwritten that the journal did not keep: {call:?}"
            );
            open.database = true;
            open.commit.pages += &call.text();
        } else if call.synced() && call.on() == database {
            open.iter_mut().for_each(|open| open.database = false);
        } else if call.synced() && call.on() == journal {
            open.iter_mut().for_each(|open| open.journal = false);
            if let Some(Open { commit, .. }) = open.take_if(|open| open.closing) {
                found.push(Commit { ended: call.ended, ..commit });
            }
        }
    }
    found
}

fn write_journal(call: &Call, open: &mut Option<Open>) {
    let closes = call.arguments.ends_with(", 28, 0") && call.bytes() == [0; 28];
    if closes {
        let open = open.as_mut().expect("a journal was ended that had not begun");
        assert!(!open.database, "committed before its pages were durable: {call:?}");
        open.closing = true;
        return;
    }
    // What failed before is begun anew.
    if open.as_ref().is_none_or(|open| open.closing) {
        *open = Some(Open { commit: Commit { began: call.began, ..Commit::default() }, ..Open::default() });
    }
    open.iter_mut().for_each(|open| open.journal = true);
}
