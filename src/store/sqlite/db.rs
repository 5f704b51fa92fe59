//! The connection, and the keys that go with it. The one rule: what a commit has answered survives a power cut.
//!
//! Rollback journal with `synchronous=EXTRA`, not WAL: WAL needs shared memory, which a network file system or a
//! read-only sidecar may not give, and a store of this size commits as fast either way. In exclusive locking mode the
//! journal file stays between transactions, so its room is there even when the disk has filled up.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    super::{StoreError, seal::Sealer, spill::Spill},
    pepper::Pepper,
};

/// Held by the store's thread alone.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) sealer: Arc<Sealer>,
    pub(super) pepper: Pepper,
    /// Where room is promised before a refresh token is shown; None where none is.
    pub(super) spill: Option<Arc<Spill>>,
}

const SETTINGS: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = DELETE;
PRAGMA journal_size_limit = 1048576;
PRAGMA synchronous = EXTRA;
PRAGMA secure_delete = ON;
PRAGMA temp_store = MEMORY;
PRAGMA foreign_keys = OFF;
PRAGMA cell_size_check = ON;
PRAGMA trusted_schema = OFF;
PRAGMA mmap_size = 0;
PRAGMA cache_size = -2048;
";

/// Opens an existing file for this process alone. A journal that a crash left behind is played back here.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(250))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(SETTINGS)?;
    // Takes the lock now, and not at the first write.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    Ok(connection)
}

impl Db {
    pub(super) fn begin(&self) -> rusqlite::Result<()> {
        self.run("BEGIN IMMEDIATE")
    }

    pub(super) fn commit(&self) -> rusqlite::Result<()> {
        self.run("COMMIT")
    }

    /// Ends a transaction that failed, if SQLite has not ended it by itself.
    pub(super) fn roll_back(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { Ok(()) } else { self.run("ROLLBACK") }
    }

    /// Does `work` in one transaction of its own.
    pub(super) fn transact<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin()?;
        match work(self).and_then(|outcome| Ok(self.commit().map(|()| outcome)?)) {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                self.roll_back()?;
                Err(error)
            }
        }
    }

    /// Changes something that means nothing.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let sql = "UPDATE about SET value = CAST(value AS INTEGER) + 1 WHERE name = 'probes'";
        Ok(self.run(sql)?)
    }

    pub(super) fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}
