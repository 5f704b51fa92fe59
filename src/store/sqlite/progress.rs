//! Which store this is, and how many commits have begun a refresh or changed a record. The high-water mark beside the
//! database is compared with it. Every copy of the file carries both.

use rusqlite::{Connection, OptionalExtension};

use super::super::mark::Progress;

const STORE: &str = "store";
const COMMITS: &str = "commits";

/// Reads it; None when it cannot be read or is not there.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Progress>> {
    let value = |name: &str| {
        let asked = "SELECT value FROM about WHERE name = ?1";
        connection.prepare_cached(asked)?.query_row([name], |row| row.get::<_, String>(0)).optional()
    };
    let (store, commits) = (value(STORE)?, value(COMMITS)?);
    Ok(store
        .zip(commits.and_then(|commits| commits.parse().ok()))
        .map(|(store, commits)| Progress { store, commits }))
}

/// Reads it, giving the store a name of its own if it has none: it is new, or was made by an earlier version.
pub(super) fn begin(connection: &Connection) -> rusqlite::Result<Progress> {
    if let Some(progress) = read(connection)? {
        return Ok(progress);
    }
    let made = "INSERT OR REPLACE INTO about VALUES (?1, lower(hex(randomblob(16)))), (?2, '0')";
    connection.execute(made, [STORE, COMMITS])?;
    read(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// One commit more; how many that are.
pub(super) fn advance(connection: &Connection) -> rusqlite::Result<u64> {
    let changed = "UPDATE about SET value = CAST(value AS INTEGER) + 1 WHERE name = ?1 RETURNING CAST(value AS INTEGER)";
    connection
        .prepare_cached(changed)?
        .query_row([COMMITS], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// Brings it up to a mark it is behind of.
pub(super) fn catch_up(connection: &Connection, mark: &Progress) -> rusqlite::Result<()> {
    let changed = "UPDATE about SET value = max(CAST(value AS INTEGER), ?2) WHERE name = ?1";
    connection.execute(changed, rusqlite::params![COMMITS, mark.commits.cast_signed()]).map(drop)
}

/// Gives a rebuilt store the place of the damaged one.
pub(super) fn continue_as(connection: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    let changed = "INSERT OR REPLACE INTO about VALUES (?1, ?2), (?3, ?4)";
    let commits = progress.commits.to_string();
    connection.execute(changed, [STORE, &progress.store, COMMITS, &commits]).map(drop)
}
