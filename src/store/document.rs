//! What is sealed of a record: its content as JSON. The one rule: it is plain text only in buffers that are wiped.
//!
//! The names in it are a file format. A field that comes later needs `#[serde(default)]`; one that is unknown is ignored.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::{
    Grant, KeptToken, LoginReason, Notes, ParkReason, PendingConsent, Record, Refusal, Standing, StoreError,
    Unrevoked, error::Trouble, stamp,
};
use crate::{
    names::{AccountId, AccountName, AppName},
    secret::Secret,
};

/// The sealed part of an account's row. What names the row is not in it: it is authenticated along with it.
#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    grant: Option<SealedGrant>,
    standing: SealedStanding,
    token: Option<SealedToken>,
    identity: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared_seller: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unrevoked: Vec<SealedUnrevoked>,
    settings: BTreeMap<String, String>,
    #[serde(with = "stamp::perhaps")]
    consented_at: Option<SystemTime>,
    #[serde(with = "stamp::whole")]
    created_at: SystemTime,
    #[serde(with = "stamp::whole")]
    changed_at: SystemTime,
    #[serde(default)]
    notes: SealedNotes,
}

/// A whole record with its names, for a place without columns.
#[derive(Serialize, Deserialize)]
pub(super) struct Spilled {
    app: String,
    account: String,
    provider: String,
    environment: String,
    generation: u64,
    content: Document,
}

/// A consent under way.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedConsent {
    id: String,
    state: Text,
    verifier: Option<Text>,
    app: String,
    account: String,
    redirect_uri: String,
    replace_identity: bool,
    #[serde(default)]
    again: bool,
    #[serde(with = "stamp::whole")]
    begun_at: SystemTime,
    #[serde(with = "stamp::whole")]
    ends_at: SystemTime,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SealedGrant {
    Refresh {
        token: Text,
        #[serde(with = "stamp::whole")]
        obtained_at: SystemTime,
        #[serde(with = "stamp::perhaps")]
        ends_at: Option<SystemTime>,
    },
    Client {
        id: String,
        secret: Text,
    },
    Key(Text),
}

#[derive(Serialize, Deserialize)]
struct SealedToken {
    secret: Text,
    #[serde(with = "stamp::whole")]
    asked_at: SystemTime,
    lifetime: Duration,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct SealedNotes {
    after_lost_answer: bool,
    end_is_fixed: Option<bool>,
    narrower_scope: Option<String>,
    access_subject: Option<String>,
    refusal: Option<SealedRefusal>,
}

#[derive(Serialize, Deserialize)]
struct SealedRefusal {
    words: String,
    #[serde(with = "stamp::whole")]
    since: SystemTime,
    times: u32,
    #[serde(with = "stamp::perhaps")]
    next: Option<SystemTime>,
}

#[derive(Serialize, Deserialize)]
struct SealedUnrevoked {
    token: Text,
    #[serde(with = "stamp::whole")]
    since: SystemTime,
    #[serde(with = "stamp::perhaps")]
    ends_at: Option<SystemTime>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SealedStanding {
    Active,
    LoginRequired(#[serde(with = "SealedLoginReason")] LoginReason),
    Parked(#[serde(with = "SealedParkReason")] ParkReason),
    IdentityMismatch { found: String },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LoginReason", rename_all = "snake_case")]
enum SealedLoginReason {
    Revoked,
    Expired,
    RotationResponseLost,
    LoggedOut,
    Exported,
    NeverConnected,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ParkReason", rename_all = "snake_case")]
enum SealedParkReason {
    Restored,
    EnvironmentChanged,
}

/// A secret in a document: the one place where it becomes text, which is sealed at once.
struct Text(Secret);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

/// The JSON of a document, in memory that is wiped.
pub(super) fn encode(document: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut out = Wiped(Zeroizing::new(Vec::with_capacity(8 * 1024)));
    match serde_json::to_writer(&mut out, document) {
        Ok(()) => Ok(out.0),
        Err(error) => Err(StoreError::new(Trouble::Io, format!("a record is no document: {error}"))),
    }
}

/// Reads a document. None when it is none that this version knows.
pub(super) fn decode<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Option<T> {
    serde_json::from_slice(text).ok()
}

/// A buffer that leaves nothing behind when it grows.
struct Wiped(Zeroizing<Vec<u8>>);

impl Write for Wiped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.0.capacity() - self.0.len() < more.len() {
            let mut larger = Vec::with_capacity(2 * (self.0.len() + more.len()));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = Zeroizing::new(larger);
        }
        self.0.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<&Record> for Document {
    fn from(record: &Record) -> Self {
        Self {
            grant: record.grant.as_ref().map(SealedGrant::from),
            standing: SealedStanding::from(&record.standing),
            token: record.token.as_ref().map(SealedToken::from),
            identity: record.identity.clone(),
            shared_seller: record.shared_seller,
            unrevoked: record.unrevoked.iter().map(SealedUnrevoked::from).collect(),
            settings: record.settings.clone(),
            consented_at: record.consented_at,
            created_at: record.created_at,
            changed_at: record.changed_at,
            notes: SealedNotes::from(&record.notes),
        }
    }
}

impl Document {
    /// The record again, without an intent.
    pub(super) fn into_record(
        self,
        id: AccountId,
        provider: String,
        environment: String,
        generation: u64,
    ) -> Record {
        Record {
            id,
            provider,
            environment,
            generation,
            grant: self.grant.map(Grant::from),
            standing: self.standing.into(),
            token: self.token.map(KeptToken::from),
            identity: self.identity,
            shared_seller: self.shared_seller,
            unrevoked: self.unrevoked.into_iter().map(Unrevoked::from).collect(),
            settings: self.settings,
            consented_at: self.consented_at,
            created_at: self.created_at,
            changed_at: self.changed_at,
            notes: self.notes.into(),
            intent: None,
        }
    }
}

impl From<&Record> for Spilled {
    fn from(record: &Record) -> Self {
        Self {
            app: record.id.app.as_str().to_owned(),
            account: record.id.account.as_str().to_owned(),
            provider: record.provider.clone(),
            environment: record.environment.clone(),
            generation: record.generation,
            content: record.into(),
        }
    }
}

impl Spilled {
    /// The record again; None when its names are none.
    pub(super) fn into_record(self) -> Option<Record> {
        let id = account_id(&self.app, &self.account)?;
        Some(self.content.into_record(id, self.provider, self.environment, self.generation))
    }
}

impl From<&PendingConsent> for SealedConsent {
    fn from(consent: &PendingConsent) -> Self {
        Self {
            id: consent.id.clone(),
            state: Text(consent.state.clone()),
            verifier: consent.verifier.clone().map(Text),
            app: consent.account.app.as_str().to_owned(),
            account: consent.account.account.as_str().to_owned(),
            redirect_uri: consent.redirect_uri.clone(),
            replace_identity: consent.replace_identity,
            again: consent.again,
            begun_at: consent.begun_at,
            ends_at: consent.ends_at,
        }
    }
}

impl SealedConsent {
    /// The consent again; None when its names are none.
    pub(super) fn into_consent(self) -> Option<PendingConsent> {
        Some(PendingConsent {
            account: account_id(&self.app, &self.account)?,
            id: self.id,
            state: self.state.0,
            verifier: self.verifier.map(|text| text.0),
            redirect_uri: self.redirect_uri,
            replace_identity: self.replace_identity,
            again: self.again,
            begun_at: self.begun_at,
            ends_at: self.ends_at,
        })
    }
}

/// An account's name out of two texts; None when one is no name.
pub(super) fn account_id(app: &str, account: &str) -> Option<AccountId> {
    let (app, account): (AppName, AccountName) = (app.parse().ok()?, account.parse().ok()?);
    Some(AccountId { app, account })
}

impl From<&Grant> for SealedGrant {
    fn from(grant: &Grant) -> Self {
        match grant {
            Grant::Refresh { token, obtained_at, ends_at } => {
                Self::Refresh { token: Text(token.clone()), obtained_at: *obtained_at, ends_at: *ends_at }
            }
            Grant::Client { id, secret } => Self::Client { id: id.clone(), secret: Text(secret.clone()) },
            Grant::Key(key) => Self::Key(Text(key.clone())),
        }
    }
}

impl From<SealedGrant> for Grant {
    fn from(grant: SealedGrant) -> Self {
        match grant {
            SealedGrant::Refresh { token, obtained_at, ends_at } => {
                Self::Refresh { token: token.0, obtained_at, ends_at }
            }
            SealedGrant::Client { id, secret } => Self::Client { id, secret: secret.0 },
            SealedGrant::Key(key) => Self::Key(key.0),
        }
    }
}

impl From<&KeptToken> for SealedToken {
    fn from(token: &KeptToken) -> Self {
        Self { secret: Text(token.secret.clone()), asked_at: token.asked_at, lifetime: token.lifetime }
    }
}

impl From<SealedToken> for KeptToken {
    fn from(token: SealedToken) -> Self {
        Self { secret: token.secret.0, asked_at: token.asked_at, lifetime: token.lifetime }
    }
}

impl From<&Notes> for SealedNotes {
    fn from(notes: &Notes) -> Self {
        let refusal = notes.refusal.clone().map(|Refusal { words, since, times, next }| SealedRefusal {
            words,
            since,
            times,
            next,
        });
        Self {
            after_lost_answer: notes.after_lost_answer,
            end_is_fixed: notes.end_is_fixed,
            narrower_scope: notes.narrower_scope.clone(),
            access_subject: notes.access_subject.clone(),
            refusal,
        }
    }
}

impl From<SealedNotes> for Notes {
    fn from(notes: SealedNotes) -> Self {
        let refusal = notes.refusal.map(|SealedRefusal { words, since, times, next }| Refusal {
            words,
            since,
            times,
            next,
        });
        Self {
            after_lost_answer: notes.after_lost_answer,
            end_is_fixed: notes.end_is_fixed,
            narrower_scope: notes.narrower_scope,
            access_subject: notes.access_subject,
            refusal,
        }
    }
}

impl From<&Unrevoked> for SealedUnrevoked {
    fn from(unrevoked: &Unrevoked) -> Self {
        let Unrevoked { token, since, ends_at } = unrevoked;
        Self { token: Text(token.clone()), since: *since, ends_at: *ends_at }
    }
}

impl From<SealedUnrevoked> for Unrevoked {
    fn from(SealedUnrevoked { token, since, ends_at }: SealedUnrevoked) -> Self {
        Self { token: token.0, since, ends_at }
    }
}

impl From<&Standing> for SealedStanding {
    fn from(standing: &Standing) -> Self {
        match standing {
            Standing::Active => Self::Active,
            Standing::LoginRequired(reason) => Self::LoginRequired(*reason),
            Standing::Parked(reason) => Self::Parked(*reason),
            Standing::IdentityMismatch { found } => Self::IdentityMismatch { found: found.clone() },
        }
    }
}

impl From<SealedStanding> for Standing {
    fn from(standing: SealedStanding) -> Self {
        match standing {
            SealedStanding::Active => Self::Active,
            SealedStanding::LoginRequired(reason) => Self::LoginRequired(reason),
            SealedStanding::Parked(reason) => Self::Parked(reason),
            SealedStanding::IdentityMismatch { found } => Self::IdentityMismatch { found },
        }
    }
}
