//! What SQLite said, in the store's words. The one rule: damage to some rows is told apart from a disk that does not work,
//! because the first concerns some accounts and the second all of them.

use rusqlite::{Error, ErrorCode, ffi::SQLITE_IOERR_SHORT_READ};

use super::super::{StoreError, error::Trouble};

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        // The extended code says which call failed: https://www.sqlite.org/rescode.html.
        let detail = match error.sqlite_error() {
            Some(code) => format!("{error} (SQLite code {})", code.extended_code),
            None => error.to_string(),
        };
        Self::new(if full { Trouble::Full } else { Trouble::Io }, detail)
    }
}

/// Whether it says that bytes in the file are not what was written there.
pub(super) fn is_damage(error: &Error) -> bool {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..)
        | Error::InvalidColumnType(..) => true,
        _ => {
            let code = error.sqlite_error();
            // A file that ends too early is an I/O error to SQLite.
            code.is_some_and(|code| code.extended_code == SQLITE_IOERR_SHORT_READ)
                || matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch)
                )
        }
    }
}

/// Goes on after damage in what only accompanies an account: its record matters more.
pub(super) fn tolerate(what: &str, outcome: rusqlite::Result<()>) -> rusqlite::Result<()> {
    match outcome {
        Err(error) if is_damage(&error) => {
            tracing::error!(%error, "the store's list of {what} is damaged; going on without this entry");
            Ok(())
        }
        other => other,
    }
}
