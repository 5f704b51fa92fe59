//! Which accounts there are. The one rule: an account is listed as long as any one of its two places still names it.

use rusqlite::{Row, Rows};

use super::{
    super::{PageQuery, StoreError, document},
    db::Db,
    fault::is_damage,
};
use crate::names::{AccountId, AppName};

const ONE_APP: &str = "app = ?1 AND account > ?2";
const ALL_APPS: &str = "(app, account) > (?1, ?2)";
const ORDER: &str = " ORDER BY app, account";

/// Names in order, and what kept us from reading more.
struct Names {
    read: Vec<AccountId>,
    damage: Option<rusqlite::Error>,
}

impl Db {
    pub(super) fn count(&self, app: Option<&AppName>) -> Result<u64, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM accounts WHERE ?1 IN ('', app)) \
                   + (SELECT count(*) FROM marks WHERE ?1 IN ('', app) AND NOT EXISTS \
                   (SELECT 1 FROM accounts a WHERE a.app = marks.app AND a.account = marks.account))";
        let count = self
            .connection
            .prepare_cached(sql)?
            .query_row([app.map_or("", AppName::as_str)], |row| row.get::<_, i64>(0));
        match count {
            Ok(count) => Ok(count.unsigned_abs()),
            Err(error) if is_damage(&error) => {
                let all = PageQuery { app: app.cloned(), after: None, limit: usize::MAX };
                Ok(self.names(&all)?.len() as u64)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The names a query asks for. When one of the two places is damaged, the other one names them.
    pub(super) fn names(&self, query: &PageQuery) -> Result<Vec<AccountId>, StoreError> {
        let [accounts, marks] = ["accounts", "marks"].map(|table| unordered("app, account", table, query));
        let both = self.list(&format!("{accounts} UNION {marks}{ORDER}"), query)?;
        let Some(damage) = both.damage else { return Ok(both.read) };
        tracing::error!(error = %damage, "the list of accounts is damaged; reading what else names them");
        let [accounts, marks] = [accounts, marks].map(|sql| self.list(&format!("{sql}{ORDER}"), query));
        let (accounts, marks) = (accounts?, marks?);
        if accounts.damage.is_some() && marks.damage.is_some() {
            return Err(damage.into());
        }
        let mut names: Vec<_> = accounts.read.into_iter().chain(marks.read).collect();
        names.sort();
        names.dedup();
        names.truncate(query.limit);
        Ok(names)
    }

    fn list(&self, sql: &str, query: &PageQuery) -> Result<Names, StoreError> {
        let Some(after) = after(query) else { return Ok(Names { read: Vec::new(), damage: None }) };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(after)?;
        Names::read(&mut rows, query.limit)
    }
}

impl Names {
    fn read(rows: &mut Rows<'_>, limit: usize) -> Result<Self, StoreError> {
        let mut names = Self { read: Vec::new(), damage: None };
        while names.read.len() < limit {
            match rows.next() {
                Ok(Some(row)) => names.read.extend(name(row)),
                Ok(None) => break,
                Err(error) if is_damage(&error) => {
                    names.damage = Some(error);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(names)
    }
}

/// The statement that reads `columns` of the rows a query asks for, in order; its values are those of [`after`].
pub(super) fn select(columns: &str, table: &str, query: &PageQuery) -> String {
    unordered(columns, table, query) + ORDER
}

fn unordered(columns: &str, table: &str, query: &PageQuery) -> String {
    let which = if query.app.is_some() { ONE_APP } else { ALL_APPS };
    format!("SELECT {columns} FROM {table} WHERE {which}")
}

/// App and account after which a query begins; None: there is nothing it asks for.
pub(super) fn after(query: &PageQuery) -> Option<[&str; 2]> {
    Some(match (&query.app, &query.after) {
        (Some(app), Some((after, account))) if app == after => [app.as_str(), account.as_str()],
        // A page of one app that begins after an earlier app begins at its first, and after a later one never.
        (Some(app), Some((after, _))) if after > app => return None,
        (Some(app), _) => [app.as_str(), ""],
        (None, Some((after, account))) => [after.as_str(), account.as_str()],
        (None, None) => ["", ""],
    })
}

/// The name in the first two columns; None when damage has made it none: the account's other place still has it.
pub(super) fn name(row: &Row<'_>) -> Option<AccountId> {
    let text = |at: usize| row.get_ref(at).ok()?.as_str().ok();
    document::account_id(text(0)?, text(1)?)
}
