//! Accounts' rows and their generation marks. The one rule: a record is whole only if its row opens for its name, provider,
//! environment and generation, and its mark says that this generation is the newest.
//!
//! The mark lies in a table of its own, sealed without the generation: an older row put back in its place still opens, but
//! no longer agrees with the mark. And since every account stands in both tables, one that was lost from either is noticed.

use rusqlite::{OptionalExtension, Row, params};

use super::{
    super::{
        Grant, OpenIntent, Origin, Record, Replaced, StoreError, Stored,
        document::{self, Document},
        seal::{Binding, Broken, Sealer},
        stamp,
    },
    db::Db,
    fault::{is_damage, tolerate},
};
use crate::names::AccountId;

/// A generation beyond this was never written by us.
const PLAUSIBLE: i64 = 1 << 48;

/// What was found in one of the two places.
pub(super) enum Found<T> {
    Nothing,
    Whole(T),
    Damaged(String),
}

/// An account's row as it stands there.
pub(super) struct Account {
    provider: String,
    environment: String,
    generation: u64,
    pub(super) key_id: String,
    sealed: Vec<u8>,
}

impl Account {
    /// The columns after the name.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            provider: row.get(2)?,
            environment: row.get(3)?,
            generation: plausible(row.get(4)?),
            key_id: row.get(5)?,
            sealed: row.get(6)?,
        })
    }

    /// The same columns, found elsewhere than in a table.
    pub(super) fn of(
        provider: &str,
        environment: &str,
        generation: i64,
        key_id: &str,
        sealed: &[u8],
    ) -> Self {
        Self {
            provider: provider.to_owned(),
            environment: environment.to_owned(),
            generation: plausible(generation),
            key_id: key_id.to_owned(),
            sealed: sealed.to_vec(),
        }
    }

    /// The record, if it is what was written for this account. None: of a version that knows more than this one.
    pub(super) fn open(&self, id: &AccountId, sealer: &Sealer) -> Result<Option<Record>, Broken> {
        let binding = Binding::account(id, &self.provider, &self.environment, self.generation);
        let text = sealer.open(binding, &self.key_id, &self.sealed)?;
        let document = document::decode::<Document>(&text);
        let (provider, environment) = (self.provider.clone(), self.environment.clone());
        Ok(document.map(|document| document.into_record(id.clone(), provider, environment, self.generation)))
    }
}

/// A generation as it stands in the clear; 0 when it cannot be one.
pub(super) fn plausible(generation: i64) -> u64 {
    if (1..=PLAUSIBLE).contains(&generation) { generation.unsigned_abs() } else { 0 }
}

/// What a generation mark says; None: it opens and is no number.
pub(super) fn open_mark(
    sealer: &Sealer,
    id: &AccountId,
    key_id: &str,
    sealed: &[u8],
) -> Result<Option<u64>, Broken> {
    Ok(number(&sealer.open(Binding::mark(id), key_id, sealed)?))
}

/// A generation mark as it stands there.
pub(super) struct SealedMark {
    key_id: String,
    sealed: Vec<u8>,
}

impl SealedMark {
    /// The columns after the name.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { key_id: row.get(2)?, sealed: row.get(3)? })
    }
}

impl<T> Found<T> {
    fn of(outcome: rusqlite::Result<Option<T>>) -> Result<Self, StoreError> {
        match outcome {
            Ok(Some(whole)) => Ok(Self::Whole(whole)),
            Ok(None) => Ok(Self::Nothing),
            Err(error) if is_damage(&error) => Ok(Self::Damaged(format!("its place is damaged: {error}"))),
            Err(error) => Err(error.into()),
        }
    }
}

impl Db {
    /// One account.
    pub(super) fn stored(&self, id: &AccountId) -> Result<Option<Stored>, StoreError> {
        let (row, mark) = (self.account_row(id)?, self.mark(id)?);
        let generation = newest(&row, &mark);
        let corrupt = |detail: String| Ok(Some(Stored::Corrupt { id: id.clone(), generation, detail }));
        let row = match (row, mark) {
            (Found::Nothing, Found::Nothing) => return Ok(None),
            (Found::Whole(row), Found::Whole(mark)) if row.generation == mark => row,
            (Found::Whole(_), Found::Whole(_)) => {
                return corrupt("a record of another generation stands in its place".to_owned());
            }
            (Found::Damaged(detail), _) | (_, Found::Damaged(detail)) => return corrupt(detail),
            (Found::Nothing, _) => return corrupt("its record is missing".to_owned()),
            (_, Found::Nothing) => return corrupt("its generation mark is missing".to_owned()),
        };
        match self.unseal(id, &row) {
            Ok(mut record) => {
                record.intent = self.intent(id, generation)?;
                Ok(Some(Stored::Whole(Box::new(record))))
            }
            Err(detail) => corrupt(detail),
        }
    }

    /// The newest generation of an account, 0 if there is none: what a change is compared with.
    pub(super) fn generation(&self, id: &AccountId) -> Result<u64, StoreError> {
        match self.mark(id)? {
            Found::Whole(mark) => Ok(mark),
            mark => Ok(newest(&self.account_row(id)?, &mark)),
        }
    }

    pub(super) fn replace(&self, record: &Record, origin: Origin) -> Result<Replaced, StoreError> {
        if self.generation(&record.id)?.checked_add(1) != Some(record.generation) {
            return Ok(Replaced::Newer);
        }
        self.take(record, origin)
    }

    /// Takes in a record that was spilled. Any newer one follows the stored one, even if changes between them are missing:
    /// the database may be older than it was.
    pub(super) fn adopt(&self, record: &Record) -> Result<Replaced, StoreError> {
        if self.generation(&record.id)? >= record.generation {
            return Ok(Replaced::Newer);
        }
        self.take(record, Origin::Rotated)
    }

    fn take(&self, record: &Record, origin: Origin) -> Result<Replaced, StoreError> {
        // What came with an answer is kept even if this list is damaged.
        let held = self.other_holder(record, origin).unwrap_or_else(|error| {
            tracing::error!(account = %record.id, %error, "whose tokens these are could not be looked up");
            None
        });
        if let Some(holder) = held {
            return Ok(Replaced::Held(holder));
        }
        self.write(record)?;
        tolerate("whose tokens there are", self.note_owner(record))?;
        self.end_intent(&record.id, record.changed_at)?;
        if let (Some(Grant::Refresh { token, .. }), true) = (&record.grant, origin != Origin::Kept) {
            tolerate("refresh tokens seen", self.remember(token, &record.id, origin))?;
        }
        Ok(Replaced::Durable)
    }

    pub(super) fn remove(&self, id: &AccountId, generation: u64) -> Result<Replaced, StoreError> {
        let exists = !matches!((self.account_row(id)?, self.mark(id)?), (Found::Nothing, Found::Nothing));
        if !exists || self.generation(id)? != generation {
            return Ok(Replaced::Newer);
        }
        self.forget_intent(id)?;
        for table in ["accounts", "marks", "holders", "owners"] {
            let sql = format!("DELETE FROM {table} WHERE app = ?1 AND account = ?2");
            self.connection.prepare_cached(&sql)?.execute([id.app.as_str(), id.account.as_str()])?;
        }
        Ok(Replaced::Durable)
    }

    /// Writes a record's row and its mark, whatever stands there.
    pub(super) fn write(&self, record: &Record) -> Result<(), StoreError> {
        let (id, generation) = (&record.id, record.generation);
        let text = document::encode(&Document::from(record))?;
        let binding = Binding::account(id, &record.provider, &record.environment, generation);
        let sealed = self.sealer.seal(binding, &text)?;
        self.connection
            .prepare_cached(
                "INSERT INTO accounts (app, account, provider, environment, generation, key_id, sealed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (app, account) DO UPDATE SET \
                 provider = ?3, environment = ?4, generation = ?5, key_id = ?6, sealed = ?7",
            )?
            .execute(params![
                id.app.as_str(),
                id.account.as_str(),
                record.provider,
                record.environment,
                generation.cast_signed(),
                sealed.key_id.to_string(),
                sealed.bytes
            ])?;
        self.write_mark(id, generation)
    }

    /// Writes an account's generation mark.
    pub(super) fn write_mark(&self, id: &AccountId, generation: u64) -> Result<(), StoreError> {
        let sealed = self.sealer.seal(Binding::mark(id), &generation.to_le_bytes())?;
        let (app, account) = (id.app.as_str(), id.account.as_str());
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO marks (app, account, key_id, sealed) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![app, account, sealed.key_id.to_string(), sealed.bytes])?;
        Ok(())
    }

    pub(super) fn account_row(&self, id: &AccountId) -> Result<Found<Account>, StoreError> {
        let mut asked = self.connection.prepare_cached(
            "SELECT app, account, provider, environment, generation, key_id, sealed FROM accounts \
             WHERE app = ?1 AND account = ?2",
        )?;
        Found::of(asked.query_row([id.app.as_str(), id.account.as_str()], Account::read).optional())
    }

    fn mark(&self, id: &AccountId) -> Result<Found<u64>, StoreError> {
        let mut asked = self.connection.prepare_cached(
            "SELECT app, account, key_id, sealed FROM marks WHERE app = ?1 AND account = ?2",
        )?;
        let row = asked.query_row([id.app.as_str(), id.account.as_str()], SealedMark::read).optional();
        Ok(match Found::of(row)? {
            Found::Nothing => Found::Nothing,
            Found::Damaged(detail) => Found::Damaged(detail),
            Found::Whole(mark) => self.open_mark(id, &mark).map_or_else(Found::Damaged, Found::Whole),
        })
    }

    fn open_mark(&self, id: &AccountId, mark: &SealedMark) -> Result<u64, String> {
        let mark = open_mark(&self.sealer, id, &mark.key_id, &mark.sealed);
        let mark = mark.map_err(|broken| format!("its generation mark does not open: {broken}"))?;
        mark.ok_or_else(|| "its mark is none".to_owned())
    }

    /// The record, if what stands in its places is whole.
    pub(super) fn whole(
        &self,
        id: &AccountId,
        row: &Account,
        mark: &SealedMark,
        intent: Option<(u64, OpenIntent)>,
    ) -> Option<Box<Record>> {
        let generation = self.open_mark(id, mark).ok().filter(|newest| *newest == row.generation)?;
        let record = self.unseal(id, row).ok()?;
        let intent = intent.filter(|(of, _)| *of == generation).map(|(_, intent)| intent);
        Some(Box::new(Record { intent, ..record }))
    }

    fn unseal(&self, id: &AccountId, row: &Account) -> Result<Record, String> {
        let record =
            row.open(id, &self.sealer).map_err(|broken| format!("its record does not open: {broken}"))?;
        record.ok_or_else(|| "its record was written by a version that knows more than this one".to_owned())
    }
}

/// A mark that opens is what was written; a plain number may have been edited.
fn newest(row: &Found<Account>, mark: &Found<u64>) -> u64 {
    match (row, mark) {
        (_, Found::Whole(mark)) => *mark,
        (Found::Whole(row), _) => row.generation,
        _ => 0,
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

impl Db {
    /// The newest change ended what was open.
    fn end_intent(&self, id: &AccountId, at: std::time::SystemTime) -> Result<(), StoreError> {
        tolerate("open intents", self.forget_intent(id))?;
        tolerate("calls", self.end_calls(id, stamp::to_number(at)))?;
        Ok(())
    }
}
