//! How a token endpoint's answers are read: data of the provider or the app, since servers differ in everything RFC 6749
//! leaves open and in much that it does not. The defaults fit most servers.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

/// How the answers of one token endpoint are read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerRules {
    /// Which `token_type` is accepted (RFC 6749 §7.1).
    pub token_type: TokenTypes,
    /// How long an access token lives where the answer does not say, or says that it never ends.
    pub token_lifetime: Option<Duration>,
    /// Where the members of an answer lie that has them elsewhere than RFC 6749 §5 says.
    pub members: BTreeMap<TokenMember, MemberPath>,
    /// Refusals that mean that the grant is over, beside `invalid_grant`.
    pub grant_ended: Vec<GrantEnd>,
}

/// Which `token_type` of an answer is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TokenTypes {
    /// Every one but those that name a scheme which needs more than the token (`mac`, `DPoP`, `N_A`).
    #[default]
    Usual,
    /// Every one.
    Any,
    /// This one, in any case.
    Only(String),
}

/// A member of a token answer that `token_members` can look for elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenMember {
    /// The access token.
    AccessToken,
    /// The refresh token.
    RefreshToken,
    /// The ID token (OpenID Connect Core §3.1.3.3).
    IdToken,
    /// The access token's lifetime in seconds.
    ExpiresIn,
    /// When the access token ends: seconds or milliseconds since 1970, or RFC 3339.
    ExpiresAt,
    /// The refresh token's lifetime in seconds.
    RefreshExpiresIn,
    /// When the refresh token ends, written as [`TokenMember::ExpiresAt`].
    RefreshExpiresAt,
    /// The kind of token.
    TokenType,
    /// The granted scope.
    Scope,
    /// The error code.
    Error,
    /// What the server says about the error.
    ErrorDescription,
}

/// Every member with the name by which `token_members` calls it.
pub const TOKEN_MEMBERS: [(&str, TokenMember); 11] = [
    ("access_token", TokenMember::AccessToken),
    ("refresh_token", TokenMember::RefreshToken),
    ("id_token", TokenMember::IdToken),
    ("expires_in", TokenMember::ExpiresIn),
    ("expires_at", TokenMember::ExpiresAt),
    ("refresh_expires_in", TokenMember::RefreshExpiresIn),
    ("refresh_expires_at", TokenMember::RefreshExpiresAt),
    ("token_type", TokenMember::TokenType),
    ("scope", TokenMember::Scope),
    ("error", TokenMember::Error),
    ("error_description", TokenMember::ErrorDescription),
];

/// Where a member lies: the names of objects and the indexes of lists on the way to it, joined by dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPath(Vec<String>);

impl MemberPath {
    /// Its steps, outermost first; never empty.
    pub fn steps(&self) -> &[String] {
        &self.0
    }
}

impl std::str::FromStr for MemberPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let steps: Vec<String> = text.split('.').map(str::to_owned).collect();
        if steps.iter().any(|step| step.is_empty() || step.chars().any(char::is_whitespace)) {
            return Err(format!(
                "`{text}` is not a path: join the names with dots, such as \"data.access_token\""
            ));
        }
        Ok(Self(steps))
    }
}

/// A refusal that means that a grant is over. What is not set here matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrantEnd {
    /// Its HTTP status.
    pub status: Option<u16>,
    /// Its error code, compared as it is written.
    pub error: Option<String>,
    /// A text that its body holds, in any case.
    pub contains: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_joined_by_dots() {
        assert_eq!("data.token".parse::<MemberPath>().unwrap().steps(), ["data", "token"]);
        assert_eq!("token".parse::<MemberPath>().unwrap().steps(), ["token"]);
        for bad in ["", ".", "a.", ".a", "a..b", "a b"] {
            assert!(bad.parse::<MemberPath>().is_err(), "{bad}");
        }
    }
}
