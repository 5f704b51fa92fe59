//! Many accounts at once. The one rule: only what is whole in both its places is taken as it passes; an account that is not
//! is looked at by itself, and where a list is damaged all are.
//!
//! Three lists in one order are read side by side, so that an account costs a step in each instead of three searches.

use rusqlite::{Row, Rows};

use super::{
    super::{OpenIntent, PageQuery, StoreError, Stored},
    accounts::{Account, SealedMark},
    db::Db,
    fault::is_damage,
    intents, listing,
};
use crate::names::AccountId;

/// An account with what stands in each of its places.
type Passed = (AccountId, Option<Account>, Option<SealedMark>, Option<(u64, OpenIntent)>);

/// One list on its way.
struct List<'s, T> {
    rows: Rows<'s>,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
    /// Whose row it stands at.
    at: Option<(AccountId, T)>,
    /// Whether all rows so far could be read and came in order.
    is_sound: bool,
}

impl Db {
    /// Accounts in the order of app and account.
    pub(super) fn page(&self, query: &PageQuery) -> Result<Vec<Stored>, StoreError> {
        let Some(passed) = self.pass(query)? else { return self.one_by_one(query) };
        let mut page = Vec::with_capacity(passed.len());
        for (id, row, mark, intent) in passed {
            let whole = row.zip(mark).and_then(|(row, mark)| self.whole(&id, &row, &mark, intent));
            match whole {
                Some(record) => page.push(Stored::Whole(record)),
                None => page.extend(self.stored(&id)?),
            }
        }
        Ok(page)
    }

    fn one_by_one(&self, query: &PageQuery) -> Result<Vec<Stored>, StoreError> {
        let mut page = Vec::new();
        for id in self.names(query)? {
            page.extend(self.stored(&id)?);
        }
        Ok(page)
    }

    /// The accounts a query asks for; None when a list is damaged.
    fn pass(&self, query: &PageQuery) -> rusqlite::Result<Option<Vec<Passed>>> {
        let Some(after) = listing::after(query) else { return Ok(Some(Vec::new())) };
        let asked = |columns, table| self.connection.prepare_cached(&listing::select(columns, table, query));
        let mut of_accounts =
            asked("app, account, provider, environment, generation, key_id, sealed", "accounts")?;
        let mut of_marks = asked("app, account, key_id, sealed", "marks")?;
        let mut of_intents = asked("app, account, generation, showings, at", "intents")?;
        let mut accounts = List::begin(of_accounts.query(after)?, Account::read)?;
        let mut marks = List::begin(of_marks.query(after)?, SealedMark::read)?;
        let mut intents = List::begin(of_intents.query(after)?, intents::read)?;
        let mut passed = Vec::new();
        while passed.len() < query.limit
            && let Some(id) = accounts.name().into_iter().chain(marks.name()).min().cloned()
        {
            let (row, mark) = (accounts.take(&id)?, marks.take(&id)?);
            let intent = intents.take(&id)?;
            passed.push((id, row, mark, intent));
        }
        let all_sound = accounts.is_sound && marks.is_sound && intents.is_sound;
        Ok(all_sound.then_some(passed))
    }
}

impl<'s, T> List<'s, T> {
    fn begin(rows: Rows<'s>, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Self> {
        let mut list = Self { rows, read, at: None, is_sound: true };
        list.step()?;
        Ok(list)
    }

    fn name(&self) -> Option<&AccountId> {
        self.at.as_ref().map(|(id, _)| id)
    }

    /// What stands there of `id`; goes on to whoever comes after.
    fn take(&mut self, id: &AccountId) -> rusqlite::Result<Option<T>> {
        while self.name().is_some_and(|name| name < id) {
            self.step()?;
        }
        let found = if self.name() == Some(id) { self.step()? } else { None };
        Ok(found.map(|(_, found)| found))
    }

    /// Goes on to the next row and returns the one it stood at.
    fn step(&mut self) -> rusqlite::Result<Option<(AccountId, T)>> {
        let next = match self.rows.next() {
            Ok(None) => Ok(None),
            Ok(Some(row)) => (self.read)(row).map(|read| Some((listing::name(row), read))),
            Err(error) => Err(error),
        };
        let next = match next {
            Ok(None) => None,
            Ok(Some((Some(id), read))) if self.name().is_none_or(|before| *before < id) => Some((id, read)),
            Ok(Some(_)) => self.stop(),
            Err(error) if is_damage(&error) => self.stop(),
            Err(error) => return Err(error),
        };
        Ok(std::mem::replace(&mut self.at, next))
    }

    fn stop(&mut self) -> Option<(AccountId, T)> {
        self.is_sound = false;
        None
    }
}
