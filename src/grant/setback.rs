//! Why an attempt gave no token, whoever's fault it was. The one rule: it says whether asking again may help by itself.

use std::time::Duration;

use crate::{
    oauth::{Class, TokenError},
    secret::SecretError,
    store::StoreError,
};

/// One failed attempt.
#[derive(Debug, Clone)]
pub struct Setback {
    /// Its name in metrics.
    pub outcome: &'static str,
    /// Whether asking again may help by itself.
    pub passes: bool,
    /// Whether another client secret may be accepted.
    pub credentials_refused: bool,
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
            passes: !error.class.is_definite(),
            credentials_refused: error.class == Class::InvalidClient,
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
            passes: true,
            credentials_refused: false,
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
        Self {
            outcome: "configuration",
            passes: false,
            credentials_refused: false,
            detail,
            action,
            retry_after: None,
        }
    }
}
