//! Consents under way. The one rule: one is found by its `state` alone, and only once.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, Row, params};

use super::{
    super::{
        PendingConsent, StoreError,
        document::{self, SealedConsent},
        seal::Binding,
        stamp,
    },
    db::Db,
};
use crate::secret::{self, Secret};

/// A consent's row: key id and sealed text.
type Kept = (String, Vec<u8>);

impl Db {
    pub(super) fn put_consent(&self, consent: &PendingConsent, now: SystemTime) -> Result<(), StoreError> {
        let ended = "DELETE FROM consents WHERE ends_at <= ?1";
        self.connection.prepare_cached(ended)?.execute([stamp::to_number(now)])?;
        let (digest, text) = (name(&consent.state), document::encode(&SealedConsent::from(consent))?);
        let sealed = self.sealer.seal(Binding::consent(&digest), &text)?;
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO consents (digest, ends_at, key_id, sealed) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                digest,
                stamp::to_number(consent.ends_at),
                sealed.key_id.to_string(),
                sealed.bytes
            ])?;
        Ok(())
    }

    pub(super) fn take_consent(&self, state: &Secret) -> Result<Option<PendingConsent>, StoreError> {
        let digest = name(state);
        let mut taken = self
            .connection
            .prepare_cached("DELETE FROM consents WHERE digest = ?1 RETURNING key_id, sealed")?;
        let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let row: Option<Kept> = taken.query_row([&digest], columns).optional()?;
        Ok(row.and_then(|row| self.open_consent(&digest, &row)))
    }

    /// One that does not open is as good as none: the seller consents again.
    fn open_consent(&self, digest: &str, (key_id, sealed): &Kept) -> Option<PendingConsent> {
        match self.sealer.open(Binding::consent(digest), key_id, sealed) {
            Ok(text) => document::decode::<SealedConsent>(&text)?.into_consent(),
            Err(broken) => {
                tracing::warn!(%broken, "a consent under way cannot be used; it must be begun anew");
                None
            }
        }
    }

    /// Seals with the active key what another one sealed; what no longer opens is dropped. Returns how many are sealed anew.
    pub(super) fn reseal_consents(&self) -> Result<u64, StoreError> {
        let active = self.sealer.active().to_string();
        let mut asked = self
            .connection
            .prepare_cached("SELECT digest, key_id, sealed FROM consents WHERE key_id <> ?1")?;
        let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?)));
        let rows = asked.query_map([active], columns)?.collect::<rusqlite::Result<Vec<(String, Kept)>>>()?;
        let mut sealed_anew = 0;
        for (digest, row) in rows {
            self.connection.prepare_cached("DELETE FROM consents WHERE digest = ?1")?.execute([&digest])?;
            if let Some(consent) = self.open_consent(&digest, &row) {
                self.put_consent(&consent, SystemTime::UNIX_EPOCH)?;
                sealed_anew += 1;
            }
        }
        Ok(sealed_anew)
    }
}

/// A `state` is random enough for a plain digest.
fn name(state: &Secret) -> String {
    secret::sha256(state.expose()).iter().fold(String::with_capacity(64), |mut name, byte| {
        name.push_str(&format!("{byte:02x}"));
        name
    })
}
