//! A database that is older than it has been: somebody put an earlier copy in its place while nobody served it. Its refresh
//! tokens may have been spent since, so none of them is shown before a person says so.

use std::time::SystemTime;

use super::{
    super::{Grant, PageQuery, ParkReason, Record, Standing, StoreError, Stored, mark::Progress},
    db::Db,
    progress,
};
use crate::{clock::Clock, names::AccountId};

/// How far the store is. Where the high-water mark says that it was further, every account with a refresh token is parked,
/// but those of `newest`, whose records are known to be the last.
pub(super) fn park_if_behind(
    db: &Db,
    mark: Option<&Progress>,
    newest: &[AccountId],
) -> Result<Progress, StoreError> {
    let found = progress::begin(&db.connection)?;
    let Some(mark) = mark.filter(|mark| found.is_behind(mark)) else { return Ok(found) };
    let mut records = Vec::new();
    for stored in db.page(&PageQuery { limit: usize::MAX, ..PageQuery::default() })? {
        if let Stored::Whole(record) = stored {
            records.extend(Some(*record).filter(|record| !newest.contains(&record.id)));
        }
    }
    let parked = park(db, &records, Clock::system().now().wall, Some(mark))?;
    tracing::error!(
        parked,
        changes = found.commits,
        before = mark.commits,
        "the store is older than it was: an earlier copy has been put in its place. Its refresh tokens may have been spent \
         since; their accounts are parked. Stop, and put the newest one back; or `marketgate login` connects an account anew, \
         and `marketgate accounts resume` goes on with one that is known to be unspent"
    );
    Ok(Progress { commits: mark.commits, ..found })
}

/// Parks what holds a refresh token, drops what was under way, and brings the store up to its mark. Returns how many are
/// parked.
pub(super) fn park(
    db: &Db,
    records: &[Record],
    now: SystemTime,
    mark: Option<&Progress>,
) -> Result<u64, StoreError> {
    let holding = records.iter().filter(|record| matches!(record.grant, Some(Grant::Refresh { .. })));
    db.transact(|db| {
        let mut parked = 0;
        for record in holding {
            let standing = Standing::Parked(ParkReason::Restored);
            let generation = record.generation + 1;
            db.write(&Record { standing, generation, changed_at: now, ..record.clone() })?;
            parked += 1;
        }
        db.connection.execute_batch("DELETE FROM intents; DELETE FROM calls; DELETE FROM consents;")?;
        let found = progress::begin(&db.connection)?;
        if let Some(mark) = mark.filter(|mark| found.is_behind(mark)) {
            progress::catch_up(&db.connection, mark)?;
        }
        Ok(parked)
    })
}
