//! The tables, and how a file of an older version becomes one of this. The one rule: a step that was released is never
//! changed; what comes later is a step of its own.
//!
//! The version is `user_version`: series × 1000 + step. Within a series, steps only add what an older program may leave
//! alone (a table, a column with a default), so it may still write to the file. A step that would not be understood begins
//! a new series, and older programs refuse the file.
//!
//! Plain columns hold only what SQL needs to find a row and what names the place a sealed text belongs to.

use rusqlite::Connection;

/// `application_id` of a store: "MkGt".
pub(super) const APPLICATION: i32 = 0x4d6b_4774;

/// What this program writes.
pub(super) const VERSION: u32 = STEPS[STEPS.len() - 1].version;

/// Versions with the same series can read and write each other's files.
pub(super) fn series(version: u32) -> u32 {
    version / 1000
}

struct Step {
    version: u32,
    sql: &'static str,
}

const STEPS: &[Step] = &[Step { version: 1000, sql: FIRST }, Step { version: 1001, sql: OWNERS }];

const FIRST: &str = "
CREATE TABLE about (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sealed_values (name TEXT NOT NULL PRIMARY KEY, key_id TEXT NOT NULL, sealed BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE accounts (
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    provider TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (app, account)
) STRICT;
CREATE TABLE marks (
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (app, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE intents (
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    generation INTEGER NOT NULL,
    showings INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (app, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE holders (
    digest BLOB NOT NULL PRIMARY KEY,
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    brought INTEGER NOT NULL,
    serial INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holders_by_account ON holders (app, account, serial);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    sent INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE INDEX calls_by_endpoint ON calls (endpoint);
CREATE INDEX calls_open ON calls (app, account) WHERE ended IS NULL;
CREATE TABLE consents (
    digest TEXT NOT NULL PRIMARY KEY,
    ends_at INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO about VALUES ('written_by', ''), ('probes', '0');
";

/// Who has which access token, and who is which seller; see `owners`.
const OWNERS: &str = "
CREATE TABLE owners (
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    kind INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (app, account, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX owners_by_digest ON owners (digest);
";

/// A table and the columns this program uses of it.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
}

/// Every table but the sealed values, whose content is told apart by name.
pub(super) const TABLES: &[Table] = &[
    Table { name: "accounts", columns: "app, account, provider, environment, generation, key_id, sealed" },
    Table { name: "marks", columns: "app, account, key_id, sealed" },
    Table { name: "intents", columns: "app, account, generation, showings, at" },
    Table { name: "holders", columns: "digest, app, account, brought, serial" },
    Table { name: "owners", columns: "app, account, kind, digest" },
    Table { name: "calls", columns: "id, endpoint, app, account, sent, ended" },
    Table { name: "consents", columns: "digest, ends_at, key_id, sealed" },
];

/// Makes an older file one of this version, in one transaction; a newer one of the series stays as it is.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < VERSION {
        let transaction = connection.unchecked_transaction()?;
        for step in STEPS.iter().filter(|step| step.version > found) {
            transaction.execute_batch(step.sql)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    sign(connection)
}

/// Writes down which version wrote last, for the one that finds the file too new.
fn sign(connection: &Connection) -> rusqlite::Result<()> {
    let changed = "UPDATE about SET value = ?1 WHERE name = 'written_by' AND value <> ?1";
    connection.execute(changed, [env!("CARGO_PKG_VERSION")])?;
    Ok(())
}

/// Whether all tables are there, as far as this program uses them.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    let sealed = Table { name: "sealed_values", columns: "name, key_id, sealed" };
    let about = Table { name: "about", columns: "name, value" };
    for table in TABLES.iter().chain([&sealed, &about]) {
        connection.prepare(&format!("SELECT {} FROM {} LIMIT 0", table.columns, table.name))?;
    }
    Ok(())
}
