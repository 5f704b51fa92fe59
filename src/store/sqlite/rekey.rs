//! Changing the key. The one rule: at every moment every row opens with the keys at hand, so it may be cut off and begun
//! again at any point; the pepper is sealed anew last, and until then the store does not open without the old key.

use rusqlite::params;

use super::{
    super::{StoreError, Stored},
    db::Db,
    listing,
};
use crate::names::AccountId;

/// How many accounts are sealed anew in one transaction: others wait for no more than that.
const BATCH: u32 = 64;

/// What one batch did.
pub(super) struct Batch {
    /// How many accounts were sealed anew.
    pub(super) sealed: u64,
    /// The last one looked at; None: there are no more.
    pub(super) last: Option<AccountId>,
}

impl Db {
    /// Seals with the active key what others sealed, a batch of accounts after `after`.
    pub(super) fn reseal_accounts(&self, after: Option<&AccountId>) -> Result<Batch, StoreError> {
        let names = self.sealed_with_others(after)?;
        let mut batch = Batch { sealed: 0, last: names.last().cloned() };
        for id in names {
            match self.stored(&id)? {
                Some(Stored::Whole(record)) => {
                    self.write(&record)?;
                    batch.sealed += 1;
                }
                // Already said; there is nothing in it to seal.
                Some(Stored::Corrupt { .. }) | None => {}
            }
        }
        Ok(batch)
    }

    fn sealed_with_others(&self, after: Option<&AccountId>) -> rusqlite::Result<Vec<AccountId>> {
        let (app, account) = after.map_or(("", ""), |id| (id.app.as_str(), id.account.as_str()));
        let mut asked = self.connection.prepare_cached(
            "SELECT app, account FROM accounts WHERE (app, account) > (?1, ?2) AND key_id <> ?3 \
             ORDER BY app, account LIMIT ?4",
        )?;
        let row = params![app, account, self.sealer.active().to_string(), BATCH];
        let names =
            asked.query_map(row, |row| Ok(listing::name(row)))?.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(names.into_iter().flatten().collect())
    }

    /// The last step.
    pub(super) fn reseal_pepper(&self) -> Result<(), StoreError> {
        self.pepper.write(&self.connection, &self.sealer)
    }
}
