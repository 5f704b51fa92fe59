//! Which account has which access token, and which seller it is: found by a keyed digest, then held against the account's
//! record, which alone decides. A row that an older program left behind says nothing.

use rusqlite::params;

use super::{
    super::{Origin, PageQuery, Record, StoreError, Stored},
    db::Db,
    listing,
};
use crate::{names::AccountId, secret::Secret};

/// How many records are read at once when rows are made for all of them.
const BATCH: usize = 500;

/// What a row's digest is of.
#[derive(Clone, Copy)]
enum Kind {
    AccessToken = 1,
    Identity = 2,
}

impl Db {
    /// Another account that a token of the record belongs to.
    pub(super) fn other_holder(
        &self,
        record: &Record,
        origin: Origin,
    ) -> Result<Option<AccountId>, StoreError> {
        if let (Some(super::super::Grant::Refresh { token, .. }), true) =
            (&record.grant, origin != Origin::Kept)
            && let Some(holder) = self.holder(token)?.filter(|holder| *holder != record.id)
        {
            return Ok(Some(holder));
        }
        let Some(token) = &record.token else { return Ok(None) };
        let others = self.bearers(&token.secret)?.into_iter();
        let mut others = others.filter(|other| other.id != record.id && !record.is_same_seller(other));
        Ok(others.next().map(|other| other.id))
    }

    /// The accounts whose current access token this is.
    pub(super) fn bearers(&self, token: &Secret) -> Result<Vec<Record>, StoreError> {
        let digest = self.pepper.digest(token.expose());
        let has = |record: &Record| {
            record.token.as_ref().is_some_and(|kept| kept.secret.expose() == token.expose())
        };
        self.found(Kind::AccessToken, &digest, has)
    }

    /// Another account of the app than `id` that is pinned to `identity`.
    pub(super) fn pinned(&self, id: &AccountId, identity: &str) -> Result<Option<AccountId>, StoreError> {
        let digest = self.identity_digest(id, identity);
        let is_it = |record: &Record| {
            record.id != *id && record.id.app == id.app && record.identity.as_deref() == Some(identity)
        };
        let found = self.found(Kind::Identity, &digest, is_it)?;
        Ok(found.into_iter().next().map(|record| record.id))
    }

    fn found(
        &self,
        kind: Kind,
        digest: &[u8],
        is_it: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Record>, StoreError> {
        let mut asked = self.connection.prepare_cached(
            "SELECT app, account FROM owners WHERE digest = ?1 AND kind = ?2 ORDER BY 1, 2",
        )?;
        let names = asked.query_map(params![digest, kind as u8], |row| Ok(listing::name(row)))?;
        let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut found = Vec::new();
        for id in names.into_iter().flatten() {
            if let Some(Stored::Whole(record)) = self.stored(&id)? {
                found.extend(Some(*record).filter(&is_it));
            }
        }
        Ok(found)
    }

    /// Notes whose the record's token is, and which seller the account is.
    pub(super) fn note_owner(&self, record: &Record) -> rusqlite::Result<()> {
        let access = record.token.as_ref().map(|token| self.pepper.digest(token.secret.expose()));
        self.note(&record.id, Kind::AccessToken, access)?;
        let identity = record.identity.as_ref().map(|name| self.identity_digest(&record.id, name));
        self.note(&record.id, Kind::Identity, identity)
    }

    fn note(&self, id: &AccountId, kind: Kind, digest: Option<[u8; 32]>) -> rusqlite::Result<()> {
        let (app, account) = (id.app.as_str(), id.account.as_str());
        let sql = match digest {
            // A row that would not change dirties no page.
            Some(_) => {
                "INSERT INTO owners (app, account, kind, digest) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (app, account, kind) \
                 DO UPDATE SET digest = excluded.digest WHERE digest <> excluded.digest"
            }
            None => "DELETE FROM owners WHERE app = ?1 AND account = ?2 AND kind = ?3 AND ?4 IS NULL",
        };
        self.connection.prepare_cached(sql)?.execute(params![app, account, kind as u8, digest]).map(drop)
    }

    /// Bound to the app: two apps may know different people by one name. No name holds a line break.
    fn identity_digest(&self, id: &AccountId, identity: &str) -> [u8; 32] {
        self.pepper.digest(&format!("identity\n{}\n{identity}", id.app))
    }

    /// Makes the rows of all accounts in a file that was written before there were any.
    pub(super) fn note_owners_once(&self) -> Result<(), StoreError> {
        let noted = "SELECT count(*) FROM about WHERE name = 'owners'";
        match self.connection.query_row(noted, [], |row| row.get::<_, i64>(0))? {
            0 => self.transact(Self::note_owners),
            _ => Ok(()),
        }
    }

    fn note_owners(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.page(&PageQuery { app: None, after: after.take(), limit: BATCH })?;
            for stored in &page {
                if let Stored::Whole(record) = stored {
                    self.note_owner(record)?;
                }
            }
            match page.last() {
                Some(last) if page.len() == BATCH => {
                    after = Some((last.id().app.clone(), last.id().account.clone()));
                }
                _ => break,
            }
        }
        self.connection.execute("INSERT INTO about VALUES ('owners', 'noted')", [])?;
        Ok(())
    }
}
