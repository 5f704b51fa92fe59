//! Why a store does not open. The one rule: whatever is wrong, the files stay as they are, and the message says what mends
//! it.

use std::path::{Path, PathBuf};

use super::super::{StoreError, files::PlaceError, key_file::KeyFileError, keyring::KeyError};
use crate::secret::SecretError;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store {path} is in use by {}", holder(*pid))]
    StoreInUse {
        /// The database.
        path: PathBuf,
        /// Which process, as far as it is known.
        pid: Option<u32>,
    },
    /// The path or its directory will not do.
    #[error("the store {path} cannot be used: {reason}")]
    Place {
        /// The database.
        path: PathBuf,
        /// Why.
        reason: PlaceError,
    },
    /// There was a store, and its database is gone.
    #[error("the store {path} is missing, but there was one: {} still there", listed(traces))]
    Missing {
        /// The database.
        path: PathBuf,
        /// What says that there was one.
        traces: Vec<PathBuf>,
    },
    /// There is a database, and its key is not where it should be.
    #[error("the store {path} exists, but its key {key} does not")]
    KeyMissing {
        /// The database.
        path: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The key file gives no key.
    #[error("the key file {path} cannot be used: {reason}")]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// Why.
        reason: KeyFileError,
    },
    /// A configured key is none.
    #[error("[store] {place} cannot be used: {reason}")]
    Key {
        /// `key` or `old_keys`.
        place: &'static str,
        /// Why.
        reason: KeyError,
    },
    /// A configured key cannot be had.
    #[error("[store] old_keys cannot be used: {0}")]
    Secret(#[from] SecretError),
    /// It is sealed with another key.
    #[error("the store {path} is sealed with key {sealed_with}, and the keys at hand are {}", at_hand.join(", "))]
    WrongKey {
        /// The database.
        path: PathBuf,
        /// The id of the key it needs.
        sealed_with: String,
        /// The ids of those there are.
        at_hand: Vec<String>,
    },
    /// A later version made it.
    #[error(
        "the store {path} was written by a newer Marketgate{} (format {version})",
        written_by.as_ref().map_or_else(String::new, |by| format!(", {by}"))
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// The version of the program that wrote it, if it is known.
        written_by: Option<String>,
    },
    /// It is no store.
    #[error("{path} is no store of Marketgate's, or its first bytes are damaged")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged beyond what can be used in part.
    #[error("the store {path} is damaged: {detail}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// The spill file holds something, and it cannot be adopted.
    #[error(
        "{path} holds tokens that were saved when the disk was full, and they cannot be taken in: {detail}"
    )]
    Spill {
        /// The spill file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The disk or the database refused.
    #[error("the store {path} does not open: {error}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was said.
        error: StoreError,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        let trouble = super::super::error::Trouble::Io;
        Self::Failed { path: path.to_owned(), error: StoreError::new(trouble, error.to_string()) }
    }

    /// What SQLite said when it opened the file.
    pub(super) fn sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::StoreInUse { path, pid: None },
            _ if is_damage_or_schema(&error) => Self::Damaged { path, detail: error.to_string() },
            _ => Self::Failed { path, error: error.into() },
        }
    }

    /// What mends it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::StoreInUse { .. } => {
                "one process serves a store: end the other one, or send this command to it; [store] wait_for_lock \
                 says how long to wait"
            }
            Self::Place { .. } => {
                "set [store] path to a file in a directory that belongs to the user this program runs as"
            }
            Self::Missing { .. } => {
                "put the database back in its place, or restore a backup (`marketgate store restore`). To begin anew, with \
                 no account, move those files away"
            }
            Self::KeyMissing { .. } => {
                "put the key back where [store] key says; without it the store cannot be read. To begin anew, move the \
                 store away"
            }
            Self::KeyFile { .. } => {
                "make it a file of the user this program runs as, mode 0600, with the key in base64"
            }
            Self::Key { .. } | Self::Secret(_) => {
                "give the key as base64 of 32 bytes, in a file or a variable"
            }
            Self::WrongKey { .. } => {
                "give that key as [store] key, or add it to [store] old_keys until a rekey has ended"
            }
            Self::Newer { .. } => "run that version or a later one, or restore a backup made by this one",
            Self::Foreign { .. } => {
                "set [store] path to another file, or restore a backup; nothing was changed"
            }
            Self::Damaged { .. } => "restore a backup (store restore); the damaged file stays where it is",
            Self::Spill { .. } => {
                "start with the key and the database it was made with; to give up the tokens in it, move it away"
            }
            Self::Failed { error, .. } => error.action(),
        }
    }
}

/// Damage, or statements that do not fit the tables: the schema is not what was written.
pub(super) fn is_damage_or_schema(error: &rusqlite::Error) -> bool {
    let is_schema = matches!(error, rusqlite::Error::SqlInputError { .. } | rusqlite::Error::QueryReturnedNoRows)
            // A statement that failed by itself: a table of a later step that is there already, say.
            || error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown);
    is_schema || super::fault::is_damage(error)
}

fn listed(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
