//! Which account holds or held a refresh token. The one rule: only keyed digests of tokens are remembered.

use rusqlite::{OptionalExtension, params};

use super::{
    super::{Origin, StoreError},
    db::Db,
    listing,
};
use crate::{names::AccountId, secret::Secret};

/// How many rotated tokens of an account are remembered; those brought from outside are all of them.
const ROTATED: u32 = 32;

impl Db {
    pub(super) fn remember(&self, token: &Secret, id: &AccountId, origin: Origin) -> rusqlite::Result<()> {
        let (app, account) = (id.app.as_str(), id.account.as_str());
        let digest = self.pepper.digest(token.expose());
        self.connection
            .prepare_cached(
                "INSERT INTO holders (digest, app, account, brought, serial) VALUES (?1, ?2, ?3, ?4, \
                 (SELECT coalesce(max(serial), 0) + 1 FROM holders WHERE app = ?2 AND account = ?3)) \
                 ON CONFLICT (digest) DO UPDATE SET app = ?2, account = ?3, serial = excluded.serial, \
                 brought = max(?4, (app = ?2 AND account = ?3) * brought)",
            )?
            .execute(params![digest, app, account, origin == Origin::Brought])?;
        self.connection
            .prepare_cached(
                "DELETE FROM holders WHERE app = ?1 AND account = ?2 AND brought = 0 AND serial NOT IN (SELECT serial \
                 FROM holders WHERE app = ?1 AND account = ?2 AND brought = 0 ORDER BY serial DESC LIMIT ?3)",
            )?
            .execute(params![app, account, ROTATED])?;
        Ok(())
    }

    pub(super) fn holder(&self, token: &Secret) -> Result<Option<AccountId>, StoreError> {
        let digest = self.pepper.digest(token.expose());
        let mut asked =
            self.connection.prepare_cached("SELECT app, account FROM holders WHERE digest = ?1")?;
        let holder = asked.query_row([digest], |row| Ok(listing::name(row))).optional()?.flatten();
        match holder {
            Some(holder) => Ok(Some(holder)),
            None => Ok(self.bearers(token)?.into_iter().next().map(|record| record.id)),
        }
    }
}
