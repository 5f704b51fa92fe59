//! What a token call asks for, and to whose account that entitles. The one rule: a token endpoint reads its request,
//! authenticates the client, and then asks here; no endpoint decides about grants itself.
//!
//! Codes from a consent and refresh tokens with their rotation families belong behind `entitled`.

use serde_json::{Value, json};

use super::form::Form;

/// The grant of a token call (RFC 6749 §4.4, §4.1.3, §6).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    ClientCredentials,
    Code(String),
    Refresh(String),
}

/// Why a token call asks for nothing that could be granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    NoGrantType,
    UnknownGrantType(String),
    /// The grant's own parameter is missing.
    Lacks(&'static str),
}

/// The grant is invalid, expired, revoked or somebody else's.
#[derive(Debug)]
pub(super) struct InvalidGrant;

/// Whose tokens may be issued.
#[derive(Debug)]
pub(super) struct Entitled {
    pub(super) account: String,
    /// Handed out beside the access token, where the grant makes or rotates one.
    pub(super) refresh_token: Option<String>,
}

impl Entitled {
    /// Adds the refresh token, if there is one, to a JSON answer.
    pub(super) fn complete(&self, mut answer: Value) -> Value {
        if let Some(token) = &self.refresh_token {
            answer["refresh_token"] = json!(token);
        }
        answer
    }
}

impl Asked {
    pub(super) fn of(form: &Form) -> Result<Self, Unasked> {
        let parameter = |name: &'static str| form.value(name).map(str::to_owned).ok_or(Unasked::Lacks(name));
        match form.value("grant_type") {
            None => Err(Unasked::NoGrantType),
            Some("client_credentials") => Ok(Self::ClientCredentials),
            Some("authorization_code") => Ok(Self::Code(parameter("code")?)),
            Some("refresh_token") => Ok(Self::Refresh(parameter("refresh_token")?)),
            Some(other) => Err(Unasked::UnknownGrantType(other.to_owned())),
        }
    }

    /// The word of the wire.
    pub(super) fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Code(_) => "authorization_code",
            Self::Refresh(_) => "refresh_token",
        }
    }
}

/// Whose account a genuine client may have tokens for.
pub(super) fn entitled(client: &str, asked: &Asked) -> Result<Entitled, InvalidGrant> {
    match asked {
        Asked::ClientCredentials => Ok(Entitled { account: client.to_owned(), refresh_token: None }),
        Asked::Code(_) | Asked::Refresh(_) => Err(InvalidGrant),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Form, Unasked};

    #[test]
    fn a_grant_without_its_own_parameter_is_told_what_it_lacks() {
        let asked = |form: &str| Asked::of(&Form::parse(form.as_bytes()).unwrap());
        assert_eq!(asked("grant_type=client_credentials"), Ok(Asked::ClientCredentials));
        assert_eq!(asked("grant_type=refresh_token"), Err(Unasked::Lacks("refresh_token")));
        assert_eq!(asked("grant_type=authorization_code&code="), Err(Unasked::Lacks("code")));
        assert_eq!(asked("grant_type="), Err(Unasked::NoGrantType));
        assert_eq!(asked("grant_type=x"), Err(Unasked::UnknownGrantType("x".into())));
    }
}
