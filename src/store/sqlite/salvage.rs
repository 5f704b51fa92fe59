//! A damaged database is rebuilt from what can still be found in it, page by page. The damaged file is kept, and an account
//! that was lost is still listed, as corrupt, as long as anything names it.
//!
//! Going on with such a file would be worse than stopping: a damaged list of free pages makes SQLite write over live ones.

use std::sync::Arc;

use rusqlite::{Connection, params_from_iter};

use super::{
    super::{
        StoreError,
        files::{self, Files},
        seal::Sealer,
    },
    db::{Db, connect},
    evidence::{Evidence, Values},
    open,
    open_error::OpenError,
    progress,
};
use crate::clock::Clock;

/// What a damaged file says, with what was left of its transaction undone where that can be done.
pub(super) fn examine(files: &Files, sealer: &Sealer) -> std::io::Result<Evidence> {
    let journal = files.journal();
    if journal.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        // In a copy: the damaged file stays as it is.
        let copy = files.rebuilt();
        files::remove(&copy)?;
        files::remove(&files::journal_of(&copy))?;
        files::copy(files.database(), &copy)?;
        files::copy(&journal, &files::journal_of(&copy))?;
        drop(connect(&copy));
        let played_back = std::fs::read(&copy)?;
        files.forget_unfinished()?;
        return Ok(Evidence::gather(&played_back, sealer));
    }
    Ok(Evidence::gather(&std::fs::read(files.database())?, sealer))
}

/// Puts a sound database in the damaged one's place. No connection to it may be open.
///
/// # Errors
/// When no account's record can be used, or the disk does not allow it; the damaged file is still in its place then.
pub(super) fn rebuild(files: &Files, sealer: &Arc<Sealer>, damage: &str) -> Result<(), OpenError> {
    let path = files.database();
    let evidence = examine(files, sealer).map_err(|e| OpenError::io(path, &e))?;
    rebuild_from(&evidence, files, sealer, damage)
}

/// The same, where it has been examined.
pub(super) fn rebuild_from(
    evidence: &Evidence,
    files: &Files,
    sealer: &Arc<Sealer>,
    damage: &str,
) -> Result<(), OpenError> {
    let path = files.database();
    let records = evidence.usable();
    if let (Some(sealed_with), true) = (&evidence.missing_key, evidence.pepper.is_none() || records == 0) {
        // Without the right key everything would look lost.
        let (path, sealed_with) = (path.to_owned(), sealed_with.clone());
        return Err(OpenError::WrongKey { path, sealed_with, at_hand: sealer.key_ids() });
    }
    if records == 0 {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: damage.to_owned() });
    }
    let new = files.rebuilt();
    let (connection, pepper) = open::make_empty(&new, sealer)?;
    let db = Db { connection, sealer: sealer.clone(), pepper, spill: None };
    let written = db.transact(|db| write(db, evidence));
    written.map_err(|error| OpenError::Failed { path: new.clone(), error })?;
    drop(db);
    let kept = files.supersede("damaged", &stamp()).map_err(|e| OpenError::io(path, &e))?;
    let (kept, corrupt) = (kept.unwrap_or_default(), evidence.accounts.len() - records);
    tracing::error!(damage, records, corrupt, kept = %kept.display(),
        "the store was damaged; what could be read of it was put into a new file, and the damaged one is kept");
    Ok(())
}

/// The time, as it stands in a file's name.
pub(super) fn stamp() -> String {
    Clock::system().now().rfc3339().replace([':', '-'], "")
}

fn write(db: &Db, evidence: &Evidence) -> Result<(), StoreError> {
    if let Some((_, row)) = &evidence.pepper {
        insert(
            &db.connection,
            "INSERT OR REPLACE INTO sealed_values VALUES (?, ?, ?)",
            std::slice::from_ref(row),
        )?;
        insert(&db.connection, "INSERT OR REPLACE INTO holders VALUES (?, ?, ?, ?, ?)", &evidence.holders)?;
    }
    for (id, account) in &evidence.accounts {
        match account.current(evidence.pepper.as_ref()) {
            Some(record) => db.write(record)?,
            None => db.write_mark(id, account.generation().max(1))?,
        }
    }
    let of_current = |(id, generation, row): &(_, u64, Values)| {
        let current = evidence.accounts.get(id)?.current(evidence.pepper.as_ref())?;
        (current.generation == *generation).then(|| row.clone())
    };
    let intents: Vec<_> = evidence.intents.iter().filter_map(of_current).collect();
    insert(&db.connection, "INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?, ?)", &intents)?;
    insert(&db.connection, "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?)", &evidence.calls)?;
    insert(&db.connection, "INSERT OR REPLACE INTO consents VALUES (?, ?, ?, ?)", &evidence.consents)?;
    if let Some(found) = &evidence.progress {
        progress::continue_as(&db.connection, found)?;
    }
    Ok(())
}

fn insert(to: &Connection, sql: &str, rows: &[Values]) -> rusqlite::Result<()> {
    let mut insert = to.prepare(sql)?;
    for row in rows {
        // A row that does not fit its table is damaged too.
        let _ = insert.execute(params_from_iter(row));
    }
    Ok(())
}
