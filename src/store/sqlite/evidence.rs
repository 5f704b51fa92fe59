//! What a damaged file still says, and which records of it may be used.
//!
//! A record that opens was written by us, but perhaps long ago: remains of older rows lie in unused parts of pages. One that
//! is not the newest may hold a refresh token that is spent, and showing it may end the grant. So a record is used only if
//!
//! - an account's generation mark names its generation; or
//! - its page lists it as a row, no mark names a newer generation, and the digests of refresh tokens do not name a newer token
//!   of this account. (Deleted rows are overwritten, so what a page lists was not deleted.)
//!
//! Every other account that anything names is listed as corrupt, at the newest generation that is known of it.

use std::collections::BTreeMap;

use rusqlite::types::Value;

use super::{
    super::{
        Grant, Record, document,
        mark::Progress,
        seal::{Broken, Sealer},
    },
    accounts,
    carve::{Pages, Row, Tree},
    pepper::Pepper,
};
use crate::names::AccountId;

/// A row as it will be written again.
pub(super) type Values = Vec<Value>;

/// All that was found in a file.
#[derive(Default)]
pub(super) struct Evidence {
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) pepper: Option<(Pepper, Values)>,
    /// Digests of refresh tokens, calls and consents: of these only what a page lists.
    pub(super) holders: Vec<Values>,
    pub(super) calls: Vec<Values>,
    pub(super) consents: Vec<Values>,
    pub(super) intents: Vec<(AccountId, u64, Values)>,
    pub(super) progress: Option<Progress>,
    /// The program that wrote last.
    pub(super) written_by: Option<String>,
    /// The id of a key that sealed something and is not at hand.
    pub(super) missing_key: Option<String>,
    store: Option<String>,
    commits: Option<u64>,
}

/// What was found of one account.
#[derive(Default)]
pub(super) struct Account {
    /// Records that open, by generation, and whether a page lists them.
    records: BTreeMap<u64, (Record, bool)>,
    /// The newest generation a mark names.
    mark: Option<u64>,
    /// The newest generation anything else names.
    named: u64,
    /// The digests of its refresh tokens, by serial number.
    tokens: BTreeMap<i64, Vec<u8>>,
}

impl Evidence {
    /// Reads a whole file.
    pub(super) fn gather(file: &[u8], sealer: &Sealer) -> Self {
        let mut evidence = Self::default();
        Pages::of(file).rows(|row| evidence.take(row, sealer));
        let (store, commits) = (evidence.store.take(), evidence.commits.take());
        evidence.progress = store.zip(commits).map(|(store, commits)| Progress { store, commits });
        evidence
    }

    /// Whether anything in it was sealed with a key at hand: then it is a store of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.pepper.is_some()
            || self.accounts.values().any(|account| account.mark.is_some() || !account.records.is_empty())
    }

    fn take(&mut self, row: Row, sealer: &Sealer) {
        use Value::{Blob, Integer, Text};
        let listed = row.is_listed;
        match (row.tree, row.values.as_slice()) {
            (
                Tree::Table,
                [
                    Text(app),
                    Text(account),
                    Text(provider),
                    Text(environment),
                    Integer(generation),
                    Text(key),
                    Blob(sealed),
                    ..,
                ],
            ) => {
                let Some(id) = document::account_id(app, account) else { return };
                let row = accounts::Account::of(provider, environment, *generation, key, sealed);
                self.take_record(id, &row, sealer, listed);
            }
            (Tree::Index, [Text(app), Text(account), Text(key), Blob(sealed), ..]) => {
                let Some(id) = document::account_id(app, account) else { return };
                match accounts::open_mark(sealer, &id, key, sealed) {
                    Ok(mark) => {
                        let account = self.accounts.entry(id).or_default();
                        account.mark = account.mark.max(mark);
                    }
                    Err(broken) => self.note_broken(id, broken, listed),
                }
            }
            (Tree::Index, [Text(app), Text(account), Integer(generation), Integer(_), Integer(_)])
                if listed =>
            {
                let Some(id) = document::account_id(app, account) else { return };
                let generation = accounts::plausible(*generation);
                let known = self.accounts.entry(id.clone()).or_default();
                known.named = known.named.max(generation);
                self.intents.push((id, generation, row.values));
            }
            (Tree::Index, [Blob(digest), Text(app), Text(account), Integer(_), Integer(serial)])
                if listed =>
            {
                let Some(id) = document::account_id(app, account) else { return };
                self.accounts.entry(id).or_default().tokens.insert(*serial, digest.clone());
                self.holders.push(row.values);
            }
            // An index of accounts or of their tokens: it names them.
            (
                Tree::Index,
                [Text(app), Text(account), Integer(_)] | [Text(app), Text(account), Integer(_), Blob(_)],
            ) if listed => {
                let Some(id) = document::account_id(app, account) else { return };
                self.accounts.entry(id).or_default();
            }
            (Tree::Index, [Text(name), Text(key), Blob(sealed)]) => {
                self.take_pepper(name, key, sealed, &row.values, sealer);
            }
            (Tree::Index, [Text(_), Integer(_), Text(_), Blob(_)]) if listed => {
                self.consents.push(row.values);
            }
            (Tree::Table, [Value::Null, Text(_), Text(_), Text(_), Integer(_), Integer(_) | Value::Null])
                if listed =>
            {
                self.calls.push(row.values);
            }
            (Tree::Index, [Text(name), Text(value)]) if listed => match name.as_str() {
                "store" => self.store = Some(value.clone()),
                "commits" => self.commits = value.parse().ok(),
                "written_by" => self.written_by = Some(value.clone()),
                _ => {}
            },
            _ => {}
        }
    }

    fn take_record(&mut self, id: AccountId, row: &accounts::Account, sealer: &Sealer, listed: bool) {
        match row.open(&id, sealer) {
            // There, but not to be understood: corrupt.
            Ok(None) => drop(self.accounts.entry(id).or_default()),
            Ok(Some(record)) => {
                let account = self.accounts.entry(id).or_default();
                let found = account.records.entry(record.generation).or_insert((record, false));
                found.1 |= listed;
            }
            Err(broken) => self.note_broken(id, broken, listed),
        }
    }

    fn take_pepper(&mut self, name: &str, key: &str, sealed: &[u8], values: &[Value], sealer: &Sealer) {
        match Pepper::open(name, key, sealed, sealer) {
            Some(Ok(pepper)) => self.pepper = Some((pepper, values.to_vec())),
            Some(Err(Broken::UnknownKey(key))) => self.missing_key = Some(key),
            Some(Err(Broken::Altered)) | None => {}
        }
    }

    /// Something of an account that does not open: it is named all the same, if a page lists it.
    fn note_broken(&mut self, id: AccountId, broken: Broken, listed: bool) {
        if !listed {
            return;
        }
        self.accounts.entry(id).or_default();
        if let Broken::UnknownKey(key) = broken {
            self.missing_key.get_or_insert(key);
        }
    }

    /// How many accounts have a record that may be used.
    pub(super) fn usable(&self) -> usize {
        self.accounts.values().filter(|account| account.current(self.pepper.as_ref()).is_some()).count()
    }
}

impl Account {
    /// The record that may be used.
    pub(super) fn current(&self, pepper: Option<&(Pepper, Values)>) -> Option<&Record> {
        let (generation, (record, listed)) = self.records.last_key_value()?;
        if self.mark == Some(*generation) {
            return Some(record);
        }
        let is_newest = self.mark.is_none_or(|mark| mark < *generation) && *generation >= self.named;
        (*listed && is_newest && self.holds_newest_token(record, pepper)).then_some(record)
    }

    /// The newest generation that is known.
    pub(super) fn generation(&self) -> u64 {
        let recorded = self.records.last_key_value().map_or(0, |(generation, _)| *generation);
        self.mark.unwrap_or(0).max(recorded).max(self.named)
    }

    /// False where a newer refresh token is known than the one in this record. One that is not known at all is newer than all
    /// that are, and its digest was lost.
    fn holds_newest_token(&self, record: &Record, pepper: Option<&(Pepper, Values)>) -> bool {
        let (Some(Grant::Refresh { token, .. }), Some((pepper, _))) = (&record.grant, pepper) else {
            return true;
        };
        let digest = pepper.digest(token.expose());
        let serial =
            self.tokens.iter().find(|(_, known)| known.as_slice() == digest).map(|(serial, _)| serial);
        serial.is_none_or(|serial| self.tokens.last_key_value().map(|(newest, _)| newest) == Some(serial))
    }
}
