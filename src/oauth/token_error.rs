//! Why a token call brought no tokens. A class says what may be done next; the detail is for a person and holds no secret.

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, Instant},
};

use crate::secret::Secret;

/// What kind of failure it was: all that the keeper decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing reached the server: no name, no connection, no TLS.
    NotSent,
    /// The server asks for fewer calls.
    Throttled,
    /// The server is in trouble: 5xx, 408, 425, or words that say so.
    ServerTrouble,
    /// The call may or may not have been executed: a time limit, a broken connection, an unreadable 200.
    Ambiguous,
    /// The refresh token or code is no longer accepted: RFC 6749 §5.2 `invalid_grant`, what `grant_ended` names, or words
    /// that are known to mean it.
    InvalidGrant,
    /// The refresh token or code was refused in words that are neither standard nor known: a person has to read them.
    Refused,
    /// The client's credentials are refused.
    InvalidClient,
    /// The call itself is wrong: URL, grant type, scope, redirect, header.
    Misconfigured,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::NotSent,
        Self::Throttled,
        Self::ServerTrouble,
        Self::Ambiguous,
        Self::InvalidGrant,
        Self::Refused,
        Self::InvalidClient,
        Self::Misconfigured,
    ];

    /// Whether the server has judged the call and refused it: asking again unchanged brings the same answer.
    pub fn is_definite(self) -> bool {
        matches!(self, Self::InvalidGrant | Self::Refused | Self::InvalidClient | Self::Misconfigured)
    }

    /// Its name in metrics, logs and events.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Throttled => "throttled",
            Self::ServerTrouble => "server_trouble",
            Self::Ambiguous => "ambiguous",
            Self::InvalidGrant => "invalid_grant",
            Self::Refused => "refused",
            Self::InvalidClient => "invalid_client",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// What helps, where nothing more is known; see [`TokenError::action`].
    fn action(self) -> &'static str {
        match self {
            Self::NotSent => {
                "check the network, name resolution, upstream.proxy_url and upstream.ca_file; \
                 Marketgate keeps trying"
            }
            Self::Throttled => {
                "nothing to do: Marketgate waits; if it lasts, lower token_budget or stop other programs \
                 that ask the same token endpoint"
            }
            Self::ServerTrouble => "nothing to do: Marketgate keeps trying; the marketplace may be down",
            Self::Ambiguous => {
                "nothing to do at first: Marketgate tries again; if it lasts, check token_url and what \
                 stands between here and it"
            }
            Self::InvalidGrant => "log in again: marketgate login APP@ACCOUNT",
            Self::Refused => {
                "correct what the marketplace names, then `marketgate accounts refresh APP@ACCOUNT`; if these words mean \
                 that the grant is over, add them to grant_ended and log in again"
            }
            Self::InvalidClient => {
                "check client_id and client_secret, and that they belong to this environment"
            }
            Self::Misconfigured => {
                "check token_url, grant, scopes and how the app is registered at the marketplace"
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "the token endpoint was not reached",
            Self::Throttled => "the token endpoint asks for fewer calls",
            Self::ServerTrouble => "the token endpoint is in trouble",
            Self::Ambiguous => "the token call's outcome is unknown",
            Self::InvalidGrant => "the grant is no longer accepted",
            Self::Refused => "the grant was refused",
            Self::InvalidClient => "the client's credentials were refused",
            Self::Misconfigured => "the token call was refused as wrong",
        })
    }
}

/// Why a grant is over, in the server's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// It has reached its end.
    Expired,
    /// It was used before, here or elsewhere.
    Reused,
}

/// A token call that brought no usable access token.
#[derive(Debug, Clone)]
pub struct TokenError {
    /// What kind of failure.
    pub class: Class,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// What exactly happened, for a person: our own words, the server's error code and its cleaned description.
    pub detail: String,
    /// How long the server asked us to wait; at most [`super::retry_after::LONGEST`].
    pub retry_after: Option<Duration>,
    /// The new refresh token of an answer that is unusable otherwise. The old one is spent: whoever drops this loses the
    /// grant.
    pub successor: Option<Secret>,
    /// Why the grant is over, where the server says so.
    pub reason: Option<EndReason>,
    /// What helps in this very case, where that is known.
    pub advice: Option<Cow<'static, str>>,
    /// When the answer's last byte was read, or the call failed.
    pub received: Instant,
}

impl TokenError {
    /// A failure without an HTTP answer.
    pub fn new(class: Class, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            class,
            status: None,
            detail,
            retry_after: None,
            successor: None,
            reason: None,
            advice: None,
            received: Instant::now(),
        }
    }

    /// What helps.
    pub fn action(&self) -> &str {
        self.advice.as_deref().unwrap_or_else(|| self.class.action())
    }

    /// Whether the server may have spent a rotating refresh token (or a code) and its successor is unknown to us.
    ///
    /// Meaningful for grants that rotate: client credentials may always be shown again.
    pub fn may_have_rotated(&self) -> bool {
        matches!(self.class, Class::ServerTrouble | Class::Ambiguous) && self.successor.is_none()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class)?;
        if let Some(status) = self.status {
            write!(f, " (status {status})")?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl std::error::Error for TokenError {}
