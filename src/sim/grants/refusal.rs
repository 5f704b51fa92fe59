//! How authorization servers say no to a refresh: the causes for which real ones have different words, and literal answers.

use serde::{Deserialize, Serialize};

use super::BadRefresh;
use crate::sim::answer::Answer;

/// Why a refresh is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The refresh token is not this client's, or nobody's.
    Unknown,
    /// The refresh token, or the consent, is past its end.
    Expired,
    /// The refresh token was used before.
    Reused,
    /// The grant ended before.
    Ended,
    /// The user is disabled.
    Disabled,
    /// The server fails for this user.
    Broken,
    /// Another use of the same refresh token is under way.
    Simultaneous,
    /// The server refuses everybody.
    Everybody,
}

impl Cause {
    pub(super) const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Expired,
        Self::Reused,
        Self::Ended,
        Self::Disabled,
        Self::Broken,
        Self::Simultaneous,
        Self::Everybody,
    ];
}

impl From<BadRefresh> for Cause {
    fn from(bad: BadRefresh) -> Self {
        match bad {
            BadRefresh::Unknown | BadRefresh::OtherClient | BadRefresh::OtherSeller => Self::Unknown,
            BadRefresh::Over => Self::Expired,
            BadRefresh::Reused => Self::Reused,
            BadRefresh::Ended(_) => Self::Ended,
            BadRefresh::Disabled => Self::Disabled,
            BadRefresh::Broken => Self::Broken,
            BadRefresh::Simultaneous => Self::Simultaneous,
            BadRefresh::Everybody => Self::Everybody,
        }
    }
}

/// A refusal, literally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The whole body; it may be empty.
    #[serde(default)]
    pub body: String,
    /// The field `WWW-Authenticate`, where there is one.
    #[serde(default)]
    pub challenge: Option<String>,
}

impl Refusal {
    /// A status and nothing more.
    pub fn empty(status: u16) -> Self {
        Self { status, body: String::new(), challenge: None }
    }

    /// The form of RFC 6749 §5.2; an empty description is left out.
    pub fn error(status: u16, error: &str, description: &str) -> Self {
        let mut body = serde_json::json!({ "error": error });
        if !description.is_empty() {
            body["error_description"] = description.into();
        }
        Self { body: body.to_string(), ..Self::empty(status) }
    }

    pub(in crate::sim) fn answer(&self) -> Answer {
        let answer = match self.body.as_str() {
            "" => Answer::empty(self.status),
            body => Answer::literal(self.status, body),
        };
        match &self.challenge {
            Some(challenge) => answer.header("www-authenticate", challenge),
            None => answer,
        }
    }
}
