//! A database whose structure is damaged is rebuilt from what can still be read. The one rule: the damaged file is kept,
//! and an account that was lost is still listed, as corrupt, as long as anything names it.
//!
//! Going on with such a file would be worse than stopping: a damaged list of free pages makes SQLite write over live ones.

use std::path::Path;

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    super::{
        files::Files,
        seal::{Broken, Sealer},
    },
    db::connect,
    fault::is_damage,
    open,
    open_error::OpenError,
    pepper::Pepper,
    schema::{TABLES, Table},
};
use crate::clock::Clock;

/// Puts a sound database in the damaged one's place and opens it.
///
/// # Errors
/// When not one account's record could be read, or the disk does not allow it; the damaged file is still in its place then.
pub(super) fn rebuild(
    damaged: Connection,
    files: &Files,
    sealer: &Sealer,
    damage: &str,
) -> Result<Connection, OpenError> {
    let path = files.database();
    let refused = |error| OpenError::sqlite(path, error);
    key_is_at_hand(&damaged, path, sealer)?;
    let rebuilt = open::make_empty(&files.in_the_making(), sealer)?;
    let records = rescue(&damaged, &rebuilt).map_err(refused)?;
    drop((damaged, rebuilt));
    if records == 0 {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: damage.to_owned() });
    }
    let kept = files.supersede("damaged", &stamp()).map_err(|e| OpenError::io(path, &e))?;
    let kept = kept.unwrap_or_default();
    tracing::error!(damage, records, kept = %kept.display(),
        "the store was damaged; what could be read of it was put into a new file, and the damaged one is kept");
    connect(path).map_err(refused)
}

/// The time, as it stands in a file's name.
pub(super) fn stamp() -> String {
    Clock::system().now().rfc3339().replace([':', '-'], "")
}

/// Without the right key everything would look lost.
fn key_is_at_hand(damaged: &Connection, path: &Path, sealer: &Sealer) -> Result<(), OpenError> {
    if let Ok(Some(Err(Broken::UnknownKey(sealed_with)))) = Pepper::read(damaged, sealer) {
        return Err(OpenError::WrongKey { path: path.to_owned(), sealed_with, at_hand: sealer.key_ids() });
    }
    Ok(())
}

/// Copies what can be read, sealed as it is. Returns how many accounts' records that were.
fn rescue(damaged: &Connection, rebuilt: &Connection) -> rusqlite::Result<i64> {
    let transaction = rebuilt.unchecked_transaction()?;
    let sealed = Table { name: "sealed_values", columns: "name, key_id, sealed" };
    for table in TABLES.iter().chain([&sealed]) {
        // From both ends: what lies between two damaged places is all that is missed.
        for order in ["ASC", "DESC"] {
            copy(damaged, rebuilt, table, &format!("ORDER BY 1 {order}"), &[])?;
        }
    }
    for name in without_record(rebuilt)? {
        copy(damaged, rebuilt, &TABLES[0], "WHERE app = ?1 AND account = ?2", &name)?;
    }
    transaction.commit()?;
    rebuilt.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))
}

/// Copies the rows of a table up to the first that is damaged.
fn copy(
    from: &Connection,
    to: &Connection,
    table: &Table,
    which: &str,
    values: &[String],
) -> rusqlite::Result<()> {
    let Table { name, columns } = table;
    let width = columns.split(',').count();
    let places = vec!["?"; width].join(", ");
    let mut insert = to.prepare(&format!("INSERT OR REPLACE INTO {name} ({columns}) VALUES ({places})"))?;
    // An older file, or one whose schema is damaged, may not have the table.
    let Ok(mut asked) = from.prepare(&format!("SELECT {columns} FROM {name} {which}")) else { return Ok(()) };
    let mut rows = asked.query(params_from_iter(values))?;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let values = (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>();
                // A row that does not fit its table is damaged too.
                let _ = values.and_then(|values| insert.execute(params_from_iter(values)));
            }
            Ok(None) => return Ok(()),
            Err(error) if is_damage(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn without_record(rebuilt: &Connection) -> rusqlite::Result<Vec<[String; 2]>> {
    let sql =
        "SELECT app, account FROM marks WHERE (app, account) NOT IN (SELECT app, account FROM accounts)";
    let mut asked = rebuilt.prepare(sql)?;
    asked.query_map([], |row| Ok([row.get(0)?, row.get(1)?]))?.collect()
}
