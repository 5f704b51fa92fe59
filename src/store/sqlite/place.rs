//! Whether the file that has the store's name is the one that is served. Metadata is compared before anything relies on it:
//! before a transaction, and again after the commit and before anybody is answered.

use std::{io, path::PathBuf};

use super::super::{
    StoreError,
    error::Trouble,
    files::Files,
    glance::{FileId, Glance, Whereabouts},
};

/// The files that are served.
#[derive(Debug)]
pub(super) struct Place {
    database: PathBuf,
    journal: PathBuf,
    /// The database as our last transaction left it.
    known: Glance,
    /// The journal that SQLite keeps open between transactions.
    kept_journal: Option<FileId>,
}

/// What has the names now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The files that are served, as we left them.
    Served,
    /// The same database, changed by somebody else or without its journal.
    Changed(Glance),
    /// Another database.
    Other(Glance),
    /// None.
    Nothing,
}

impl Place {
    /// The files as they lie there.
    pub(super) fn of(files: &Files) -> io::Result<Self> {
        let (database, journal) = (files.database().to_owned(), files.journal());
        let known = Glance::at(&database)?.ok_or(io::ErrorKind::NotFound)?;
        let kept_journal = FileId::at(&journal)?;
        Ok(Self { database, journal, known, kept_journal })
    }

    pub(super) fn look(&self) -> io::Result<Seen> {
        Ok(match Glance::at(&self.database)? {
            None => Seen::Nothing,
            Some(found) if found.id != self.known.id => Seen::Other(found),
            Some(found) if found != self.known => Seen::Changed(found),
            Some(found) if self.kept_journal.is_some() && FileId::at(&self.journal)? != self.kept_journal => {
                Seen::Changed(found)
            }
            Some(_) => Seen::Served,
        })
    }

    /// After a transaction of ours: whether the database still has its name. What it looks like now is known.
    pub(super) fn confirm(&mut self) -> io::Result<Seen> {
        let Some(found) = Glance::at(&self.database)? else { return Ok(Seen::Nothing) };
        if found.id != self.known.id {
            return Ok(Seen::Other(found));
        }
        self.known = found;
        self.kept_journal = FileId::at(&self.journal)?;
        Ok(Seen::Served)
    }

    /// What to say when the file that is served does not have its name.
    pub(super) fn displaced(&self, seen: Seen, detail: &str) -> StoreError {
        let what = match (seen, self.known.id.whereabouts()) {
            (Seen::Served | Seen::Changed(_), _) => "was changed or cut off by another program".to_owned(),
            (_, Some(Whereabouts::At(path))) if FileId::at(&path).ok().flatten() != Some(self.known.id) => {
                "cannot be seen any more: its file system was unmounted, or another lies over it".to_owned()
            }
            (_, Some(Whereabouts::At(path))) => format!("is {} now", path.display()),
            (_, Some(Whereabouts::Nameless(path))) => {
                format!("was deleted; as long as this process lives, its content is in {}", path.display())
            }
            (_, None) => "was taken away".to_owned(),
        };
        let detail = if detail.is_empty() { String::new() } else { format!(", and {detail}") };
        StoreError::new(Trouble::Displaced, format!("{} {what}{detail}", self.database.display()))
    }
}
