//! What the store keeps. The one rule: a record is whole; it is written as one and read as one.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{names::AccountId, secret::Secret};

/// One account.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its full name.
    pub id: AccountId,
    /// The provider it was connected with.
    pub provider: String,
    /// That provider's environment.
    pub environment: String,
    /// Counts the durable changes of this account, from 1.
    pub generation: u64,
    /// What entitles us to tokens; None after a logout.
    pub grant: Option<Grant>,
    /// Whether it may be used.
    pub standing: Standing,
    /// The newest access token.
    pub token: Option<KeptToken>,
    /// Whom it is connected to, as the marketplace names him; pinned when first learnt.
    pub identity: Option<String>,
    /// Whether another account may belong to the same seller: a person said so.
    pub shared_seller: bool,
    /// Former refresh tokens that the server has not yet confirmed to be revoked.
    pub unrevoked: Vec<Unrevoked>,
    /// `market`, `partner_id`, …: laid over the app's settings.
    pub settings: BTreeMap<String, String>,
    /// When the seller first consented: some consents end a fixed time after that.
    pub consented_at: Option<SystemTime>,
    /// When the record was made.
    pub created_at: SystemTime,
    /// When it was last changed.
    pub changed_at: SystemTime,
    /// What was learnt of its grant while it was used.
    pub notes: Notes,
    /// The open intent to show its refresh token. Kept apart from the record: [`super::Store::begin`] sets it, and
    /// [`super::Store::replace`] ignores what stands here.
    pub intent: Option<OpenIntent>,
}

/// What was learnt of a grant while it was used: it decides what becomes of the grant, so it survives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Whether the refresh token came from a repetition after a lost answer: what the lost call did may still spoil it.
    pub after_lost_answer: bool,
    /// Whether a refresh leaves the refresh token's end where it was; None: that was not seen yet.
    pub end_is_fixed: Option<bool>,
    /// The granted scope, where it is narrower than what was asked for.
    pub narrower_scope: Option<String>,
    /// Whom access tokens name, where that is another name than the ID token's for the same person (OpenID Connect Core §8.1).
    pub access_subject: Option<String>,
    /// That the token endpoint refused the refresh token, though no answer was lost; None once it accepts one.
    pub refusal: Option<Refusal>,
}

/// A refused refresh token that is still kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The server's words, cleaned.
    pub words: String,
    /// When it was refused first.
    pub since: SystemTime,
    /// How often in a row.
    pub times: u32,
    /// When it is tried again; None: only at a person's word.
    pub next: Option<SystemTime>,
}

/// What entitles us to tokens for an account.
#[derive(Debug, Clone)]
pub enum Grant {
    /// A refresh token (RFC 6749 §1.5), which may be replaced at every use.
    Refresh {
        /// The token.
        token: Secret,
        /// When this very token was obtained, or its end last told.
        obtained_at: SystemTime,
        /// When it ends by itself, as far as that is known.
        ends_at: Option<SystemTime>,
    },
    /// A client's own credentials (RFC 6749 §4.4).
    Client {
        /// `client_id`.
        id: String,
        /// `client_secret`.
        secret: Secret,
    },
    /// A static key, used as the token.
    Key(Secret),
}

/// A refresh token that is used no more and is still to be revoked at the server (RFC 7009).
#[derive(Debug, Clone)]
pub struct Unrevoked {
    /// The token.
    pub token: Secret,
    /// Since when it is to be revoked.
    pub since: SystemTime,
    /// When it ends by itself, as far as that is known.
    pub ends_at: Option<SystemTime>,
}

/// An access token that outlives the process.
#[derive(Debug, Clone)]
pub struct KeptToken {
    /// The token.
    pub secret: Secret,
    /// When it was asked for.
    pub asked_at: SystemTime,
    /// How long it lives from then on.
    pub lifetime: Duration,
}

/// Whether an account may be used, as far as that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// A person must connect it again.
    LoginRequired(LoginReason),
    /// It is set aside until a person resumes it.
    Parked(ParkReason),
    /// The marketplace named somebody else than the one it is pinned to.
    IdentityMismatch {
        /// Whom it named.
        found: String,
    },
}

/// Why a login is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LoginReason {
    /// The marketplace no longer accepts the grant.
    Revoked,
    /// The grant has reached its end.
    Expired,
    /// The answer that carried the successor of the refresh token never arrived, or was never stored.
    RotationResponseLost,
    /// Somebody logged it out here.
    LoggedOut,
    /// The grant was handed out to another program.
    Exported,
    /// It has never been connected.
    NeverConnected,
}

/// Why an account is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParkReason {
    /// It came out of a backup, and its refresh token may have been spent since.
    Restored,
    /// The app's environment or provider is another one than it was connected in.
    EnvironmentChanged,
}

/// That a refresh token is about to be shown.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Whose.
    pub id: AccountId,
    /// The record's generation.
    pub generation: u64,
    /// When.
    pub at: SystemTime,
    /// The token endpoint, and how long calls to it count; None: they are not counted.
    pub counted: Option<(String, Duration)>,
}

/// An intent that was not closed: the refresh token may have been spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenIntent {
    /// How often the refresh token may have been shown.
    pub showings: u32,
    /// When it was last about to be.
    pub at: SystemTime,
}

/// Calls to one token endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallLog {
    /// When those that ended did so.
    pub ended: Vec<SystemTime>,
    /// How many are not known to have ended.
    pub open: usize,
}

/// What was read of an account.
#[derive(Debug, Clone)]
pub enum Stored {
    /// All of it, as it was written.
    Whole(Box<Record>),
    /// Something else than what was written, or sealed with a key that is not at hand: not to be used.
    Corrupt {
        /// Its name.
        id: AccountId,
        /// The generation that stands there, to replace it by a newer one.
        generation: u64,
        /// What is wrong with it; holds no secret.
        detail: String,
    },
}

impl Stored {
    /// Whose record it is.
    pub fn id(&self) -> &AccountId {
        match self {
            Self::Whole(record) => &record.id,
            Self::Corrupt { id, .. } => id,
        }
    }

    /// Its generation.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Whole(record) => record.generation,
            Self::Corrupt { generation, .. } => *generation,
        }
    }
}

/// A consent that was begun and waits for its callback.
#[derive(Debug, Clone)]
pub struct PendingConsent {
    /// Names it to whoever waits for its outcome; no secret.
    pub id: String,
    /// The `state` parameter (RFC 6749 §4.1.1).
    pub state: Secret,
    /// The PKCE verifier (RFC 7636 §4.1), where one is used.
    pub verifier: Option<Secret>,
    /// The account that will be connected.
    pub account: AccountId,
    /// The redirect address of the authorization request, byte for byte.
    pub redirect_uri: String,
    /// Whether the account may be connected to somebody else than before.
    pub replace_identity: bool,
    /// Whether another account may belong to the same seller.
    pub again: bool,
    /// When it was begun.
    pub begun_at: SystemTime,
    /// When its `state` is no longer accepted.
    pub ends_at: SystemTime,
}

impl Record {
    /// Whether both are accounts of one app that are pinned to one seller.
    pub fn is_same_seller(&self, other: &Self) -> bool {
        self.id.app == other.id.app && self.identity.is_some() && self.identity == other.identity
    }

    /// The SHA-256 of its refresh token, if it has one: tells whether two records hold the same.
    pub fn refresh_digest(&self) -> Option<[u8; 32]> {
        match self.grant.as_ref()? {
            Grant::Refresh { token, .. } => Some(crate::secret::sha256(token.expose())),
            Grant::Client { .. } | Grant::Key(_) => None,
        }
    }
}

impl LoginReason {
    /// The reason's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::RotationResponseLost => "rotation_response_lost",
            Self::LoggedOut => "logged_out",
            Self::Exported => "exported",
            Self::NeverConnected => "never_connected",
        }
    }

    /// The reason for a person.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Revoked => "the marketplace no longer accepts the grant",
            Self::Expired => "the grant has reached its end",
            Self::RotationResponseLost => {
                "the answer that carried the next refresh token was lost, and the marketplace takes the old one no more"
            }
            Self::LoggedOut => "it was logged out here",
            Self::Exported => "its grant was exported to another program",
            Self::NeverConnected => "it has never been connected",
        }
    }
}

impl ParkReason {
    /// The reason's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::EnvironmentChanged => "environment_changed",
        }
    }

    /// The reason for a person.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Restored => "it came out of a backup, and its refresh token may have been spent since",
            Self::EnvironmentChanged => "the app's environment is another one than it was connected in",
        }
    }
}
