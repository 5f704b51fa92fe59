//! What a token call asks for, and to whose account that entitles. The one rule: a token endpoint reads its request,
//! authenticates the client, and then asks here; no endpoint decides about grants itself.
//!
//! `codes` are what consents bring, `families` what codes bring; `policy` says how strict both are, `servers` how real
//! servers are, `refusal` in which words they say no; `users` are what administrators act upon; `pkce` compares proof keys. Asking is the commit: once `entitled` has said yes, the old refresh token is spent.

mod codes;
mod families;
mod family;
mod pkce;
mod policy;
mod refusal;
mod servers;
mod users;

pub(super) use codes::{Authorized, Codes, Redemption};
pub(super) use families::{Families, Found, Shown};
pub(super) use family::Consented;
pub use family::{Ended, Family};
pub(super) use pkce::is_challenge;
pub(super) use policy::Policies;
pub use policy::{Policy, Simultaneous, Successor};
pub use refusal::{Cause, Refusal};
pub(super) use servers::SERVERS;
pub use users::User;
pub(super) use users::Users;

use serde_json::{Value, json};
use std::sync::Arc;

use super::arrival::Arrival;
use super::clock::Moment;
use super::form::Form;
use super::lock::locked;
use super::tokens::Bond;
use super::world::World;

/// Codes and families, behind one lock: a code that is shown twice at once founds one family.
#[derive(Default)]
pub(super) struct Grants {
    pub(super) codes: Codes,
    pub(super) families: Families,
}

/// The grant of a token call (RFC 6749 §4.4, §4.1.3, §6).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    ClientCredentials,
    Code { code: String, redirect_uri: Option<String>, verifier: Option<String> },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidGrant {
    Code(BadCode),
    Refresh(BadRefresh),
}

/// What is wrong with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadCode {
    Unknown,
    Expired,
    /// Shown before; with the family it founded then.
    Used(Option<u64>),
    OtherClient,
    OtherRedirect,
    OtherSeller,
    NoVerifier,
    WrongVerifier,
}

/// What is wrong with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRefresh {
    Unknown,
    OtherClient,
    OtherSeller,
    /// The consent is over.
    Over,
    /// Spent before; this ended its family.
    Reused,
    /// The family ended before.
    Ended(Ended),
    /// The user is disabled.
    Disabled,
    /// The server fails for this user.
    Broken,
    /// Another use of it is under way.
    Simultaneous,
    /// The server refuses everybody.
    Everybody,
}

/// Whose tokens may be issued, and how.
pub(super) struct Entitled {
    pub(super) account: String,
    pub(super) client: String,
    pub(super) scope: String,
    /// How long the access token lives where that is not the policy's to say, seconds.
    pub(super) lifetime: Option<u64>,
    pub(super) bond: Option<Arc<Bond>>,
    /// Handed out beside the access token, where the grant makes or rotates one.
    pub(super) refresh_token: Option<String>,
    /// When the refresh token stops working, milliseconds on the simulator's clock.
    pub(super) ends_at: Option<u64>,
    /// The member that says so in the answer, and its value in seconds.
    pub(super) end_said: Option<(String, u64)>,
    /// The access token that the same grant brought before.
    pub(super) earlier: Option<String>,
}

impl Entitled {
    /// A client with tokens of its own account.
    pub(super) fn itself(client: &str) -> Self {
        Self {
            account: client.to_owned(),
            client: client.to_owned(),
            scope: String::new(),
            lifetime: None,
            bond: None,
            refresh_token: None,
            ends_at: None,
            end_said: None,
            earlier: None,
        }
    }

    /// Adds the refresh token, if there is one, and its end, if that is said, to a JSON answer.
    pub(super) fn complete(&self, mut answer: Value) -> Value {
        if let Some((member, seconds)) = &self.end_said {
            answer[member] = json!(seconds);
        }
        if let Some(token) = &self.refresh_token {
            answer["refresh_token"] = json!(token);
        }
        answer
    }
}

impl Asked {
    pub(super) fn of(form: &Form) -> Result<Self, Unasked> {
        let optional = |name: &str| form.value(name).map(str::to_owned);
        let parameter = |name: &'static str| optional(name).ok_or(Unasked::Lacks(name));
        match form.value("grant_type") {
            None => Err(Unasked::NoGrantType),
            Some("client_credentials") => Ok(Self::ClientCredentials),
            Some("authorization_code") => Ok(Self::Code {
                code: parameter("code")?,
                redirect_uri: optional("redirect_uri"),
                verifier: optional("code_verifier"),
            }),
            Some("refresh_token") => Ok(Self::Refresh(parameter("refresh_token")?)),
            Some(other) => Err(Unasked::UnknownGrantType(other.to_owned())),
        }
    }

    /// The word of the wire.
    pub(super) fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Code { .. } => "authorization_code",
            Self::Refresh(_) => "refresh_token",
        }
    }
}

/// Whose account a genuine client may have tokens for. This commits: codes and refresh tokens are spent by it.
pub(super) fn entitled(
    world: &World,
    arrival: &Arrival,
    client: &str,
    asked: &Asked,
) -> Result<Entitled, InvalidGrant> {
    let (marketplace, moment) = (arrival.marketplace, arrival.moment());
    let partner = if marketplace.is_walmart_seller() { arrival.header("wm_partner.id") } else { None };
    let policy = world.policies.of(marketplace);
    let mut grants = locked(&world.grants);
    match asked {
        Asked::ClientCredentials => Ok(Entitled::itself(client)),
        Asked::Code { code, redirect_uri, verifier } => {
            let (redirect_uri, verifier) = (redirect_uri.as_deref(), verifier.as_deref());
            let shown = Redemption { marketplace, client, partner, code, redirect_uri, verifier };
            grants.redeem(&shown, &policy, moment).map_err(InvalidGrant::Code)
        }
        Asked::Refresh(token) => {
            if policy.refuses_everybody {
                return Err(InvalidGrant::Refresh(BadRefresh::Everybody));
            }
            let seller = grants.families.seller(marketplace, token).unwrap_or_default();
            world.users.admits(marketplace, seller).map_err(InvalidGrant::Refresh)?;
            let shown = Shown { marketplace, client, partner, token, found: arrival.found };
            grants.families.renew(&shown, &policy, moment).map_err(InvalidGrant::Refresh)
        }
    }
}

impl Grants {
    fn redeem(
        &mut self,
        shown: &Redemption<'_>,
        policy: &Policy,
        moment: Moment,
    ) -> Result<Entitled, BadCode> {
        let consented = self.codes.redeem(shown, policy, moment.now).inspect_err(|bad| {
            if let BadCode::Used(Some(family)) = bad {
                self.families.end(*family, Ended::CodeReplayed);
            }
        })?;
        let entitled = self.families.found(consented, policy, moment);
        if let Some(bond) = &entitled.bond {
            self.codes.note_founded(shown.code, bond.family);
        }
        Ok(entitled)
    }
}

#[cfg(test)]
mod tests;
