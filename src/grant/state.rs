//! What an account can be in, and what its keeper publishes. The one rule: the same words in commands, the admin door,
//! metrics and refusals.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

use super::timing;
use crate::{clock::Moment, config::Credentials, secret::Fingerprint, token::Token};

/// The state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountState {
    /// It has a token, or will get one at the first request.
    Ready,
    /// A token call is under way.
    Refreshing,
    /// The last token call failed for a reason that passes; it is tried again.
    Degraded,
    /// The token endpoint refused the credentials or the request: somebody must change something.
    Misconfigured,
}

impl AccountState {
    /// The state's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Refreshing => "refreshing",
            Self::Degraded => "degraded",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl fmt::Display for AccountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A token made ready to be put on requests.
#[derive(Debug)]
pub struct Credential {
    /// The token.
    pub token: Token,
    /// The whole value of the credential header, marked sensitive.
    pub header: HeaderValue,
    /// The age at which it is time for the next one; None: never.
    pub refresh_age: Option<Duration>,
}

impl Credential {
    /// Whether it is time for the next token.
    pub fn due_at(&self, now: Moment) -> bool {
        self.refresh_age.is_some_and(|age| self.token.age(now) >= age)
    }
}

/// Why the last attempts gave no token.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Whether asking again may help by itself.
    pub passes: bool,
    /// What happened, for a person; holds no secret.
    pub detail: String,
    /// What mends it.
    pub action: String,
    /// When the first of these failures was.
    pub since: Moment,
    /// When the last of them was.
    pub last: Moment,
    /// How many there were in a row, 1 at least.
    pub failures: u32,
    /// How much patience the token endpoint asked for.
    pub asked: Option<Duration>,
    /// The credentials that were refused; empty when none were.
    pub refused: Vec<Fingerprint>,
    /// Drawn once per failure, uniform in `0.0..1.0`, so that the time of the next try does not move when it is asked for.
    pub chance: f64,
}

impl Trouble {
    /// Whether refused credentials have been replaced since: then there is no reason to wait.
    pub fn is_mended(&self, credentials: &Credentials) -> bool {
        !self.refused.is_empty() && self.refused != credentials.fingerprints()
    }

    /// When the token endpoint is asked again: sooner while callers wait without a token.
    pub fn next_try(&self, callers_wait: bool) -> Moment {
        let after = if self.passes {
            timing::retry_after(self.failures, self.asked, callers_wait, self.chance)
        } else {
            timing::retry_after_refusal(self.failures, self.chance).max(self.asked.unwrap_or_default())
        };
        self.last.plus(after)
    }
}

/// What a keeper publishes to requests.
#[derive(Debug, Clone)]
pub struct Published {
    /// The current state.
    pub state: AccountState,
    /// The newest token, expired or not.
    pub credential: Option<Arc<Credential>>,
    /// Why there is no newer one.
    pub trouble: Option<Arc<Trouble>>,
}

impl Published {
    /// The credential, if the marketplace should still accept it.
    pub fn usable(&self, now: Moment) -> Option<&Arc<Credential>> {
        self.credential.as_ref().filter(|credential| credential.token.usable_at(now))
    }

    /// Failed attempts in a row.
    pub fn failures(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failures)
    }

    /// Counts this account's tokens; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.credential.as_ref().map_or(0, |credential| credential.token.generation)
    }
}
