//! Why an attempt gave no token, whoever's fault it was. The one rule: it says what it takes for another one to help.

use std::time::Duration;

use crate::{
    oauth::{Class, TokenError},
    secret::SecretError,
    store::StoreError,
};

/// What it takes for another attempt to help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Time. `perhaps_own`: the fault may be this account's alone, though the endpoint is well.
    Passing {
        /// Whether it may.
        perhaps_own: bool,
    },
    /// Time: the store did not do what it was asked for.
    Store,
    /// Another client secret, or another client.
    Client,
    /// A change of the call, or of what the server makes of it.
    Call,
    /// A change of the configuration: no call was made.
    Configuration,
}

impl Cause {
    /// Whether asking again may help by itself.
    pub fn passes(self) -> bool {
        matches!(self, Self::Passing { .. } | Self::Store)
    }
}

/// One failed attempt.
#[derive(Debug, Clone)]
pub struct Setback {
    /// Its name in metrics.
    pub outcome: &'static str,
    /// What it takes for another one to help.
    pub cause: Cause,
    /// What happened; holds no secret.
    pub detail: String,
    /// What mends it.
    pub action: String,
    /// How much patience the token endpoint asked for.
    pub retry_after: Option<Duration>,
}

impl From<TokenError> for Setback {
    fn from(error: TokenError) -> Self {
        Self {
            outcome: error.class.outcome(),
            cause: cause(&error),
            detail: error.to_string(),
            action: error.action().to_owned(),
            retry_after: error.retry_after,
        }
    }
}

impl From<SecretError> for Setback {
    fn from(error: SecretError) -> Self {
        Self::configuration(
            error.to_string(),
            "put the secret there, as one line; it is read again at the next request",
        )
    }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self {
            outcome: "store",
            cause: Cause::Store,
            detail: error.to_string(),
            action: error.action().to_owned(),
            retry_after: None,
        }
    }
}

impl Setback {
    /// Something only the operator can change.
    pub fn configuration(detail: impl Into<String>, action: &str) -> Self {
        let (detail, action) = (detail.into(), action.to_owned());
        Self { outcome: "configuration", cause: Cause::Configuration, detail, action, retry_after: None }
    }
}

/// A defect of the server (500) and an answer of success without a token may come from one account; a connection that is
/// refused and the answer of a gateway (502, 503, 504) never do.
fn cause(error: &TokenError) -> Cause {
    match error.class {
        Class::InvalidClient => Cause::Client,
        Class::InvalidGrant | Class::Refused | Class::Misconfigured => Cause::Call,
        Class::NotSent | Class::Throttled | Class::ServerTrouble | Class::Ambiguous => {
            Cause::Passing { perhaps_own: matches!(error.status, Some(200..=299 | 500 | 501)) }
        }
    }
}
