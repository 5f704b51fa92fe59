//! Intents to show a refresh token, and the calls that count against a token endpoint's budget. The one rule: both are
//! written before the token is shown, in one transaction.

use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension, Row, params};

use super::{
    super::{Begun, CallLog, Intent, OpenIntent, StoreError, stamp},
    db::Db,
    fault::tolerate,
    listing,
};
use crate::names::AccountId;

impl Db {
    pub(super) fn begin_intent(&self, intent: &Intent) -> Result<Begun, StoreError> {
        let stored = self.generation(&intent.id)?;
        if stored == 0 || stored != intent.generation {
            return Ok(Begun::Newer);
        }
        if let Some(spill) = &self.spill {
            spill.promise(&intent.id, self.size(&intent.id)?)?;
        }
        self.connection
            .prepare_cached(
                "INSERT INTO intents (app, account, generation, showings, at) VALUES (?1, ?2, ?3, 1, ?4) \
                 ON CONFLICT (app, account) DO UPDATE SET generation = ?3, at = ?4, \
                 showings = CASE generation WHEN ?3 THEN showings + 1 ELSE 1 END",
            )?
            .execute(params![
                intent.id.app.as_str(),
                intent.id.account.as_str(),
                intent.generation.cast_signed(),
                stamp::to_number(intent.at)
            ])?;
        if let Some((endpoint, window)) = &intent.counted {
            self.count_call(&intent.id, endpoint, intent.at, *window)?;
        }
        Ok(Begun::Durable)
    }

    pub(super) fn close_intent(
        &self,
        id: &AccountId,
        generation: u64,
        at: SystemTime,
    ) -> Result<(), StoreError> {
        if self.generation(id)? == generation {
            self.forget_intent(id)?;
            self.end_calls(id, stamp::to_number(at))?;
        }
        Ok(())
    }

    /// How many bytes an account's record takes, sealed.
    fn size(&self, id: &AccountId) -> rusqlite::Result<u64> {
        let sql = "SELECT length(sealed) FROM accounts WHERE app = ?1 AND account = ?2";
        let mut asked = self.connection.prepare_cached(sql)?;
        let size =
            asked.query_row([id.app.as_str(), id.account.as_str()], |row| row.get::<_, i64>(0)).optional()?;
        Ok(size.map_or(0, i64::unsigned_abs))
    }

    /// Promises room again for refreshes that an earlier process had begun.
    pub(super) fn promise_again(&self) -> Result<(), StoreError> {
        let Some(spill) = &self.spill else { return Ok(()) };
        self.open_intents()?.iter().try_for_each(|id| spill.promise(id, self.size(id)?))
    }

    pub(super) fn forget_intent(&self, id: &AccountId) -> rusqlite::Result<()> {
        if let Some(spill) = &self.spill {
            spill.settle(id);
        }
        let sql = "DELETE FROM intents WHERE app = ?1 AND account = ?2";
        self.connection.prepare_cached(sql)?.execute([id.app.as_str(), id.account.as_str()]).map(drop)
    }

    /// The open intent of that generation. One that cannot be read is taken for none: the record matters more.
    pub(super) fn intent(&self, id: &AccountId, generation: u64) -> rusqlite::Result<Option<OpenIntent>> {
        let mut found = None;
        tolerate("open intents", self.read_intent(id, generation).map(|intent| found = intent))?;
        Ok(found)
    }

    fn read_intent(&self, id: &AccountId, generation: u64) -> rusqlite::Result<Option<OpenIntent>> {
        let sql = "SELECT app, account, generation, showings, at FROM intents \
                   WHERE app = ?1 AND account = ?2 AND generation = ?3";
        let row = params![id.app.as_str(), id.account.as_str(), generation.cast_signed()];
        self.connection
            .prepare_cached(sql)?
            .query_row(row, |row| read(row).map(|(_, intent)| intent))
            .optional()
    }

    pub(super) fn open_intents(&self) -> Result<Vec<AccountId>, StoreError> {
        let mut asked =
            self.connection.prepare_cached("SELECT app, account FROM intents ORDER BY app, account")?;
        let names = asked.query_map([], |row| Ok(listing::name(row)))?;
        Ok(names.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Adds a call and forgets those that no longer count: ended more than a window ago, or sent more than two ago.
    fn count_call(
        &self,
        id: &AccountId,
        endpoint: &str,
        at: SystemTime,
        window: Duration,
    ) -> rusqlite::Result<()> {
        let (at, window) = (stamp::to_number(at), stamp::length_to_number(window));
        let (ended, sent) = (at.saturating_sub(window), at.saturating_sub(window.saturating_mul(2)));
        self.connection
            .prepare_cached("DELETE FROM calls WHERE endpoint = ?1 AND (ended < ?2 OR sent < ?3)")?
            .execute(params![endpoint, ended, sent])?;
        self.connection
            .prepare_cached("INSERT INTO calls (endpoint, app, account, sent) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![endpoint, id.app.as_str(), id.account.as_str(), at])?;
        Ok(())
    }

    pub(super) fn end_calls(&self, id: &AccountId, at: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE calls SET ended = ?3 WHERE app = ?1 AND account = ?2 AND ended IS NULL")?
            .execute(params![id.app.as_str(), id.account.as_str(), at])
            .map(drop)
    }

    pub(super) fn calls(&self, endpoint: &str) -> Result<CallLog, StoreError> {
        let mut asked =
            self.connection.prepare_cached("SELECT ended FROM calls WHERE endpoint = ?1 ORDER BY id")?;
        let calls = asked.query_map([endpoint], |row| row.get::<_, Option<i64>>(0))?;
        let mut log = CallLog::default();
        for ended in calls {
            match ended? {
                Some(ended) => log.ended.push(stamp::from_number(ended)),
                None => log.open += 1,
            }
        }
        Ok(log)
    }
}

/// The columns after the name: the generation an intent is of, and the intent.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(u64, OpenIntent)> {
    let (generation, showings): (i64, i64) = (row.get(2)?, row.get(3)?);
    let showings = u32::try_from(showings).unwrap_or(u32::MAX);
    Ok((generation.cast_unsigned(), OpenIntent { showings, at: stamp::from_number(row.get(4)?) }))
}
