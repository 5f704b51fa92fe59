//! What an account can be in, and what its keeper publishes. The one rule: the same words in commands, the admin door,
//! metrics and refusals.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use http::HeaderValue;

use super::{refusal::tells_of_another_use, timing};
use crate::{
    clock::Moment,
    config::Credentials,
    names::AccountId,
    secret::Fingerprint,
    store::{LoginReason, ParkReason},
    token::Token,
};

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
    /// The token endpoint refused the grant, in words that are not known to mean its end: a person has to read them.
    Refused,
    /// The grant is over or was never there: the seller must be connected (again).
    LoginRequired(LoginReason),
    /// What the store holds of it is not what was written there.
    StoreCorrupt,
    /// The marketplace named somebody else than the seller it is pinned to.
    IdentityMismatch,
    /// Set aside until a person resumes it.
    Parked(ParkReason),
}

impl AccountState {
    /// Every state, with every reason it may have.
    const ALL: [Self; 15] = [
        Self::Ready,
        Self::Refreshing,
        Self::Degraded,
        Self::Misconfigured,
        Self::Refused,
        Self::LoginRequired(LoginReason::Revoked),
        Self::LoginRequired(LoginReason::Expired),
        Self::LoginRequired(LoginReason::RotationResponseLost),
        Self::LoginRequired(LoginReason::LoggedOut),
        Self::LoginRequired(LoginReason::Exported),
        Self::LoginRequired(LoginReason::NeverConnected),
        Self::StoreCorrupt,
        Self::IdentityMismatch,
        Self::Parked(ParkReason::Restored),
        Self::Parked(ParkReason::EnvironmentChanged),
    ];

    /// The words of all states and of all reasons, by which accounts may be looked for.
    pub fn words() -> BTreeSet<&'static str> {
        Self::ALL.iter().flat_map(|state| std::iter::once(state.as_str()).chain(state.reason())).collect()
    }

    /// The state's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Refreshing => "refreshing",
            Self::Degraded => "degraded",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::LoginRequired(_) => "login_required",
            Self::StoreCorrupt => "store_corrupt",
            Self::IdentityMismatch => "identity_mismatch",
            Self::Parked(_) => "parked",
        }
    }

    /// Why, for the states that have reasons: `revoked`, `restored`, …
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::LoginRequired(reason) => Some(reason.as_str()),
            Self::Parked(reason) => Some(reason.as_str()),
            _ => None,
        }
    }

    /// What a person is to do about `id`.
    pub fn action(self, id: &AccountId) -> String {
        match self {
            Self::Ready | Self::Refreshing | Self::Degraded => {
                "nothing to do: Marketgate keeps trying".to_owned()
            }
            Self::Misconfigured => "correct what the detail names in the configuration".to_owned(),
            Self::Refused => format!(
                "{self}: correct what the marketplace names, then `marketgate accounts refresh {id}`; or connect the \
                 seller again with `marketgate login {id}`"
            ),
            Self::LoginRequired(LoginReason::Revoked) => format!(
                "{self}: `marketgate accounts refresh {id}` asks once more, in case the marketplace was mistaken; else \
                 connect the seller again with `marketgate login {id}`"
            ),
            Self::LoginRequired(_) => {
                format!("{self}: connect the seller again with `marketgate login {id}`")
            }
            Self::StoreCorrupt => format!(
                "{self}: put back the store or its keys ([store] key, old_keys), or connect the seller again with \
                 `marketgate login {id}`"
            ),
            Self::IdentityMismatch => format!(
                "{self}: if the account is to belong to that seller, `marketgate login {id} --replace-identity`; if two \
                 accounts of one seller are meant, `marketgate login {id} --again`; else `marketgate login {id}` as the \
                 right one"
            ),
            Self::Parked(ParkReason::Restored) => format!(
                "{self}: connect the seller again with `marketgate login {id}`; or, if the backup is known to be newer \
                 than the last refresh, `marketgate accounts resume {id}`"
            ),
            Self::Parked(ParkReason::EnvironmentChanged) => format!(
                "{self}: set the app's provider and environment back, or connect the seller in the new one with \
                 `marketgate login {id}`"
            ),
        }
    }

    /// Whether a person may have its grant tried once more: the last refresh token is still there, and it is ours to spend.
    pub fn may_be_tried_again(self) -> bool {
        use LoginReason::{Expired, Revoked, RotationResponseLost};
        matches!(self, Self::Refused | Self::LoginRequired(Revoked | Expired | RotationResponseLost))
    }

    /// Whether a person is needed to bring the account out of it: a request does not have the token endpoint asked.
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::LoginRequired(_)
                | Self::StoreCorrupt
                | Self::IdentityMismatch
                | Self::Parked(_)
        )
    }
}

/// What a person is to do about `id`, given what was said of it.
pub fn advice(state: AccountState, id: &AccountId, detail: &str) -> String {
    let action = state.action(id);
    if state.may_be_tried_again() && tells_of_another_use(detail) {
        return format!("stop the other program that uses this refresh token first; then {action}");
    }
    action
}

impl fmt::Display for AccountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "{} ({reason})", self.as_str()),
            None => f.pad(self.as_str()),
        }
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
    /// The scope it was granted with, where that is narrower than what was asked for: a 403 may come from that.
    pub narrower_scope: Option<Arc<str>>,
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
    /// How many of them after another account had got a token from the same endpoint.
    pub alone: u32,
    /// How long to wait after the last one.
    pub pauses: timing::Pauses,
    /// The credentials that were refused; empty when none were.
    pub refused: Vec<Fingerprint>,
    /// Whether the last attempt failed because the server refused the grant, though that is not believed yet.
    pub grant_refused: bool,
}

impl Trouble {
    /// Whether refused credentials have been replaced since: then there is no reason to wait.
    pub fn is_mended(&self, credentials: &Credentials) -> bool {
        !self.refused.is_empty() && self.refused != credentials.fingerprints()
    }

    /// When the token endpoint is asked again: sooner while callers wait without a token.
    pub fn next_try(&self, callers_wait: bool) -> Moment {
        self.last.plus(if callers_wait { self.pauses.pressed } else { self.pauses.calm })
    }
}

/// What a keeper publishes to requests.
#[derive(Debug, Clone)]
pub struct Published {
    /// The current state.
    pub state: AccountState,
    /// The newest token, expired or not.
    pub credential: Option<Arc<Credential>>,
    /// The one before it, as long as it may be of use.
    pub previous: Option<Arc<Credential>>,
    /// Why there is no newer one.
    pub trouble: Option<Arc<Trouble>>,
}

impl Published {
    /// The credential, if the marketplace should still accept it.
    pub fn usable(&self, now: Moment) -> Option<&Arc<Credential>> {
        self.credential.as_ref().filter(|credential| credential.token.usable_at(now))
    }

    /// Whether the keeper has found out anything yet.
    pub fn is_known(&self) -> bool {
        self.credential.is_some() || self.trouble.is_some()
    }

    /// Failed attempts in a row.
    pub fn failures(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failures)
    }

    /// The scope of the newest token, where it is narrower than what the app asks for.
    pub fn narrower_scope(&self) -> Option<&str> {
        self.credential.as_ref()?.narrower_scope.as_deref()
    }

    /// Counts this account's tokens; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.credential.as_ref().map_or(0, |credential| credential.token.generation)
    }
}
