//! Whether a store was made here before. A new one is made only where nothing says so.
//!
//! A first start leaves these behind, in this order, and may be killed between any two of them: the lock file; an empty
//! database in the making (`.new`); the key, where it is ours to make; the database, by renaming `.new`. Everything else is
//! made after the database had its name. So, where there is no database:
//!
//! - a high-water mark, a spill file, a journal or a file that was put aside says that there was one;
//! - so does a lock file in which a later start has noted it, and a key file that was made with a store, unless `.new` lies
//!   there: then the first start was cut off before the rename, and is done again;
//! - a lock file without that note and a key that somebody brought say nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{files::Files, key_file, lock::Lock};

/// What lies there of a store whose database is missing; empty where a new one may be made.
pub(super) fn of_a_store(files: &Files, lock: &Lock, key: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let mut traces = files.left_by_a_store()?;
    if lock.notes_a_store()? {
        traces.push(files.lock());
    }
    let in_the_making = files.in_the_making().symlink_metadata().is_ok();
    if let Some(key) = key.filter(|key| !in_the_making && key_file::was_made_with_a_store(key)) {
        traces.push(key.to_owned());
    }
    Ok(traces)
}
