//! A backup in the store's place. The one rule: every record of it is proved to open before anything is replaced, and what
//! was there before is kept.
//!
//! The refresh tokens in a backup may have been spent since it was made, and a server that sees a spent one may end the
//! whole grant. So every account that holds one is parked until a person resumes it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        Record, StoreError, Stored,
        files::{self, Files},
        mark::MarkFile,
        seal::Sealer,
    },
    db::{Db, connect},
    header, older,
    open::{self, OpenOptions},
    open_error::OpenError,
    salvage, schema,
};
use crate::{clock::Clock, names::AccountId, store::PageQuery};

/// What came out of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many accounts there are now.
    pub accounts: u64,
    /// How many of them are parked.
    pub parked: u64,
    /// Where the store that was there before is now.
    pub moved_aside: Option<PathBuf>,
}

/// Why a backup was not restored. Nothing was replaced.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup, the key or the place will not do.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup is no copy that is complete in itself.
    #[error("{path} is no complete backup: {detail}")]
    Backup {
        /// The backup.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Records in it do not open.
    #[error("{} records in the backup {path} do not open; the first is that of {first}: {detail}", count)]
    Corrupt {
        /// The backup.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them.
        first: AccountId,
        /// What is wrong with it.
        detail: String,
    },
}

impl RestoreError {
    /// What mends it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Open(error) => error.action(),
            Self::Backup { .. } => "restore a file that the backup command made",
            Self::Corrupt { .. } => {
                "restore another backup, or give the keys this one was made with; nothing was changed"
            }
        }
    }
}

/// Puts a backup in the place of the store that `options` name. Blocks; takes the store's lock.
///
/// # Errors
/// When anything is wrong with the backup, its key or the store's place; the store is as it was.
pub fn restore(from: &Path, options: &OpenOptions) -> Result<Restored, RestoreError> {
    let files = open::prepare(&options.path)?;
    let _lock = open::take_lock(&files, options.wait_for_lock)?;
    is_a_copy(from, &files)?;
    // A key is never made for a backup: it was made before it.
    let of_backup = OpenOptions { path: from.to_owned(), ..options.clone() };
    let sealer = Arc::new(Sealer::new(open::keyring(&of_backup, true)?));
    header::judge(from)?;
    let db = copy(from, &files, sealer)?;
    let records = prove(&db, from)?;
    // A mark that cannot be read is none: then nothing will be compared with it.
    let mark = MarkFile::new(files.mark()).read().unwrap_or_default();
    let parked = older::park(&db, &records, Clock::system().now().wall, mark.as_ref());
    let parked = parked.map_err(|error| failed(&files, error))?;
    drop(db);
    let moved_aside = put_in_place(&files).map_err(|e| OpenError::io(files.database(), &e))?;
    Ok(Restored { accounts: records.len() as u64, parked, moved_aside })
}

fn failed(files: &Files, error: StoreError) -> OpenError {
    OpenError::Failed { path: files.rebuilt(), error }
}

fn is_a_copy(from: &Path, files: &Files) -> Result<(), RestoreError> {
    let refused = |detail: &str| RestoreError::Backup { path: from.to_owned(), detail: detail.to_owned() };
    let resolved = from.canonicalize().map_err(|e| refused(&e.to_string()))?;
    if resolved == files.database() {
        return Err(refused("it is the store itself"));
    }
    let journal = files::journal_of(&resolved);
    if journal.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        return Err(refused("a journal lies beside it: it was copied while it was being written"));
    }
    Ok(())
}

fn copy(from: &Path, files: &Files, sealer: Arc<Sealer>) -> Result<Db, RestoreError> {
    let new = files.rebuilt();
    let io = |e: std::io::Error| OpenError::io(&new, &e);
    files::remove(&new).and_then(|()| files::remove(&files::journal_of(&new))).map_err(io)?;
    files::copy(from, &new).map_err(io)?;
    let refused = |error| OpenError::sqlite(from, error);
    let connection = connect(&new).map_err(refused)?;
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(refused)?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: from.to_owned(), detail: found }.into());
    }
    schema::migrate(&connection).map_err(refused)?;
    schema::check(&connection).map_err(refused)?;
    let pepper = open::read_pepper(&connection, from, &sealer)?;
    Ok(Db { connection, sealer, pepper, spill: None })
}

fn prove(db: &Db, from: &Path) -> Result<Vec<Record>, RestoreError> {
    let all = PageQuery { limit: usize::MAX, ..PageQuery::default() };
    let stored = db.page(&all).map_err(|error| OpenError::Failed { path: from.to_owned(), error })?;
    let (mut records, mut corrupt) = (Vec::new(), Vec::new());
    for stored in stored {
        match stored {
            Stored::Whole(record) => records.push(*record),
            Stored::Corrupt { id, detail, .. } => corrupt.push((id, detail)),
        }
    }
    match corrupt.first().cloned() {
        None => Ok(records),
        Some((first, detail)) => {
            Err(RestoreError::Corrupt { path: from.to_owned(), count: corrupt.len(), first, detail })
        }
    }
}

fn put_in_place(files: &Files) -> std::io::Result<Option<PathBuf>> {
    // Plays back what a crash left, if it can be; if not, the journal is put aside with the file.
    drop(connect(files.database()));
    let old = files.supersede("before-restore", &salvage::stamp())?;
    let spill = files.spill();
    if let (Some(old), true) = (&old, spill.exists()) {
        // Its records belong to the old store.
        files::keep(&spill, &files::beside(old, ".spill"))?;
        files::remove(&spill)?;
        files::sync_directory_of(&spill)?;
    }
    Ok(old)
}
