//! What a refusal means. RFC 6749 §5.2 has few codes, and servers have their own; what is known of those is data, in one table.
//! A grant is called over only where the standard, the table or the configuration says so.

use crate::{
    oauth::token_error::{Class, EndReason},
    provider::GrantEnd,
};

/// A refusal, ready to be judged.
pub(super) struct Refusal<'a> {
    pub(super) status: u16,
    /// The error code, if there is exactly one.
    pub(super) code: Option<&'a str>,
    /// What the server says beside it, each piece by itself.
    pub(super) pieces: Vec<&'a str>,
    /// The whole body as text.
    pub(super) body: &'a str,
    pub(super) is_html: bool,
    /// Whether the call spent a refresh token or a code.
    pub(super) spends: bool,
    /// Whether it was a refresh: a call of this form has worked before.
    pub(super) refreshes: bool,
}

/// What a known saying means.
#[derive(Clone, Copy)]
enum Meaning {
    GrantEnded,
    Throttled,
    Transient,
}

/// What servers say in words of their own. A code is compared without case; a text is looked for in what the server says,
/// without case. Of the first that fits the meaning counts.
struct Saying {
    status: Option<u16>,
    code: Option<&'static str>,
    contains: Option<&'static str>,
    means: Meaning,
}

const fn code(code: &'static str, means: Meaning) -> Saying {
    Saying { status: None, code: Some(code), contains: None, means }
}

const fn text(contains: &'static str, means: Meaning) -> Saying {
    Saying { status: None, code: None, contains: Some(contains), means }
}

#[rustfmt::skip]
const SAYINGS: &[Saying] = &[
    // Asked too often, or at a bad moment.
    text("too many requests", Meaning::Throttled), // Zoho, with 400 or 200 and `Access Denied`
    text("rate limit", Meaning::Throttled),
    code("rate_limit_exceeded", Meaning::Throttled),
    code("too_many_requests", Meaning::Throttled),
    text("retry the request", Meaning::Transient), // Ory Hydra, two uses at once: `invalid_request`
    text("try again later", Meaning::Transient),
    text("try later", Meaning::Transient),
    text("temporarily unavailable", Meaning::Transient),
    code("internal_error", Meaning::Transient),
    code("internal_server_error", Meaning::Transient),
    code("service_unavailable", Meaning::Transient),
    // A refresh token or a code that is over.
    code("invalid_grant", Meaning::GrantEnded), // in capitals
    code("bad_refresh_token", Meaning::GrantEnded), // GitHub with 200, HubSpot in capitals with 400
    code("invalid_refresh_token", Meaning::GrantEnded), // Slack with 200, Twitch
    code("invalidrefreshtoken", Meaning::GrantEnded),
    code("illegalrefreshtoken", Meaning::GrantEnded), // Alibaba
    code("refresh_token_expired", Meaning::GrantEnded),
    code("expired_refresh_token", Meaning::GrantEnded),
    code("refresh_token_revoked", Meaning::GrantEnded),
    code("refresh_token_invalid", Meaning::GrantEnded),
    code("refresh_token_not_found", Meaning::GrantEnded), // Supabase
    code("refresh_token_already_used", Meaning::GrantEnded), // Supabase
    code("token_expired", Meaning::GrantEnded), // Slack
    code("token_revoked", Meaning::GrantEnded), // Slack
    code("expired_token", Meaning::GrantEnded),
    code("token_inactive", Meaning::GrantEnded), // Ory Hydra
    code("invalid_code", Meaning::GrantEnded), // Zoho, for codes and refresh tokens, with 200
    code("bad_verification_code", Meaning::GrantEnded), // GitHub, for codes, with 200
    Saying { status: Some(401), code: Some("invalid_token"), contains: None, means: Meaning::GrantEnded }, // Spring Security OAuth
    Saying { status: Some(400), code: Some("invalid_token"), contains: None, means: Meaning::GrantEnded }, // Cloud Foundry UAA
    text("refresh token expired", Meaning::GrantEnded), // Dex, `invalid_request`
    text("refresh token has expired", Meaning::GrantEnded),
    text("refresh token is expired", Meaning::GrantEnded),
    text("refresh_token expired", Meaning::GrantEnded),
    text("refresh_token has expired", Meaning::GrantEnded),
    text("expired refresh token", Meaning::GrantEnded),
    text("refresh token is invalid", Meaning::GrantEnded), // League's OAuth 2.0 server, `invalid_request`
    text("invalid refresh token", Meaning::GrantEnded),
    text("invalid refresh_token", Meaning::GrantEnded), // WeChat, 200 with `errcode`
    text("refresh_token is invalid", Meaning::GrantEnded),
    text("refresh token is not valid", Meaning::GrantEnded),
    text("refresh token not found", Meaning::GrantEnded),
    text("refresh token revoked", Meaning::GrantEnded),
    text("refresh token has been revoked", Meaning::GrantEnded),
    text("refresh token does not exist", Meaning::GrantEnded),
    text("unknown refresh token", Meaning::GrantEnded),
    text("active refresh_token", Meaning::GrantEnded), // Shopify, 401 `invalid_request`
    text("already been claimed", Meaning::GrantEnded), // Dex, `invalid_request`
    text("refresh token has already been used", Meaning::GrantEnded),
    text("refresh token already used", Meaning::GrantEnded),
    text("refresh token reuse", Meaning::GrantEnded), // Keycloak, Auth0
];

/// Codes of the client's, not of the grant's: what is said beside them does not end a grant.
const OF_THE_CLIENT: [&str; 4] =
    ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"];

impl Refusal<'_> {
    /// The class. `ended`: what the configuration knows of the ends of grants.
    pub(super) fn class(&self, ended: &[GrantEnd]) -> Class {
        if self.spends && ended.iter().any(|end| self.is_named_by(end)) {
            return Class::InvalidGrant;
        }
        match self.status {
            429 => return Class::Throttled,
            408 | 425 => return Class::ServerTrouble,
            200..=299 | 400..=499 => {}
            _ => return Class::ServerTrouble,
        }
        self.of_code().or_else(|| self.of_saying()).unwrap_or_else(|| self.of_status())
    }

    /// A refusal with a status that leaves the outcome open ends a grant only if the configuration names that status.
    fn is_named_by(&self, end: &GrantEnd) -> bool {
        let is_open = !matches!(self.status, 200..=299 | 400..=407 | 409..=424 | 426..=428 | 430..=499);
        let contains = |text: &str| {
            let text = text.to_lowercase();
            self.pieces.iter().any(|piece| piece.to_lowercase().contains(&text))
                || self.body.to_lowercase().contains(&text)
        };
        end.status.map_or(!is_open, |status| status == self.status)
            && end.error.as_deref().is_none_or(|error| self.code == Some(error))
            && end.contains.as_deref().is_none_or(contains)
    }

    /// RFC 6749 §5.2, RFC 8707 §2, RFC 8628 §3.5, RFC 9449 §5, OpenID Connect.
    fn of_code(&self) -> Option<Class> {
        Some(match self.code? {
            "invalid_grant" if self.spends => Class::InvalidGrant,
            "invalid_grant" | "invalid_client" => Class::InvalidClient,
            // Keycloak says this for a wrong secret, with 401; the RFC means a grant type that is not allowed, with 400.
            "unauthorized_client" if self.status == 401 => Class::InvalidClient,
            "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_target"
            | "invalid_redirect_uri"
            | "redirect_uri_mismatch"
            | "unsupported_token_type"
            | "invalid_dpop_proof"
            | "use_dpop_nonce" => Class::Misconfigured,
            "slow_down" => Class::Throttled,
            "server_error" | "temporarily_unavailable" => Class::ServerTrouble,
            _ => return None,
        })
    }

    fn of_saying(&self) -> Option<Class> {
        let known = SAYINGS.iter().find(|saying| self.says(saying))?;
        match known.means {
            Meaning::Throttled => Some(Class::Throttled),
            Meaning::Transient => Some(Class::ServerTrouble),
            Meaning::GrantEnded => self.spends.then_some(Class::InvalidGrant),
        }
    }

    fn says(&self, saying: &Saying) -> bool {
        let code = self.code.unwrap_or_default();
        let said = |text: &str| {
            code.to_ascii_lowercase().contains(text)
                || self.pieces.iter().any(|piece| piece.to_lowercase().contains(text))
        };
        saying.status.is_none_or(|status| status == self.status)
            && saying.code.is_none_or(|known| code.eq_ignore_ascii_case(known))
            && saying.contains.is_none_or(said)
    }

    /// For words that are neither standard nor known. RFC 6749 §5.2: 401 is for the client's credentials.
    fn of_status(&self) -> Class {
        let says_nothing = self.code.is_none() && self.pieces.is_empty();
        let mentions = |word: &str| {
            self.pieces.iter().chain(&self.code).any(|piece| piece.to_lowercase().contains(word))
        };
        let of_grant = self.spends && (mentions("refresh") || mentions("grant"));
        let standard = matches!(self.code, Some("invalid_request" | "access_denied"));
        match self.status {
            401 if of_grant && !self.is_html => Class::Refused,
            401 => Class::InvalidClient,
            // glewlwyd, for a wrong secret.
            403 if says_nothing && self.body.is_empty() => Class::InvalidClient,
            // Not the token endpoint: a page, or no such endpoint.
            _ if self.is_html => Class::Misconfigured,
            404 | 405 | 406 | 407 | 410 | 411 | 413..=415 | 421 | 426 if !of_grant => Class::Misconfigured,
            _ if self.spends && (self.refreshes || !standard) => Class::Refused,
            // Walmart refuses credentials with a bare 400.
            400 if says_nothing => Class::InvalidClient,
            400 if self.code.is_none() && !self.body.starts_with(['{', '[', '<']) => Class::InvalidClient,
            _ => Class::Misconfigured,
        }
    }

    /// Why the grant is over, where the server's words say so plainly. Fixed texts that name every possible reason do not.
    pub(super) fn reason(&self) -> Option<EndReason> {
        const REUSED: [&str; 8] = [
            "reuse",
            "already been used",
            "already used",
            "already been claimed",
            "already been exchanged",
            "stale token",
            "used more than once",
            "already_used",
        ];
        const EXPIRED: [&str; 3] = ["expired", "token is not active", "has reached its end"];
        if OF_THE_CLIENT.iter().any(|code| self.code == Some(code)) {
            return None;
        }
        self.pieces.iter().copied().chain(self.code).find_map(|piece| {
            let piece = piece.to_lowercase();
            let names_many = ["revoked", " or ", "invalid,"].iter().any(|other| piece.contains(other));
            let says = |words: &[&str]| !names_many && words.iter().any(|word| piece.contains(word));
            if says(&REUSED) { Some(EndReason::Reused) } else { says(&EXPIRED).then_some(EndReason::Expired) }
        })
    }
}
