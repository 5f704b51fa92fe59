//! A token endpoint's answer sorted: tokens, or why not. The rule: pure, and on the safe side; what may have been executed
//! is never called refused, and only the standard `invalid_grant` says that a grant has ended.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, LOCATION},
};
use serde_json::Value;

use super::{
    detail,
    fault::Fault,
    members::{Member, Members, Unreadable},
    request::GrantRequest,
    retry_after,
    token_error::{Class, TokenError},
};
use crate::secret::Secret;

/// A lifetime beyond this is no lifetime but something else (milliseconds, a date) and counts as not said: 10 years.
const LONGEST_LIFETIME: f64 = 10.0 * 365.0 * 86_400.0;

/// An answer as it came.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Its body, or as much of it as was read of an error's.
    pub body: &'a [u8],
    /// When it came, for a `Retry-After` that is a date.
    pub received: SystemTime,
}

/// Tokens that can be used as they stand.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The access token: visible ASCII, not empty.
    pub access_token: Secret,
    /// `expires_in`, whole seconds rounded down, never zero. None: the server did not say, or said what cannot be a
    /// lifetime; RFC 6749 §5.1 leaves the default to the client.
    pub lifetime: Option<Duration>,
    /// A refresh token that replaces the one shown. None: the old one stays (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// `refresh_expires_in`. None: unknown; Keycloak says 0 for that.
    pub refresh_lifetime: Option<Duration>,
    /// `scope`, when it was said.
    pub scope: Option<String>,
    /// `token_type` as written, when it was said.
    pub token_type: Option<String>,
}

/// Sorts an answer to a call that showed `grant` and `client_secret`.
///
/// # Errors
/// Everything that is no usable token; see the table in [`crate::oauth`].
pub fn sort(
    answer: &Answer<'_>,
    grant: &GrantRequest<'_>,
    client_secret: &Secret,
) -> Result<Granted, TokenError> {
    let mut secrets = grant.secrets();
    secrets.push(client_secret.expose());
    let sorting = Sorting { answer, grant, secrets };
    let members = if is_encoded(answer.headers) { None } else { Some(Members::read(answer.body)) };
    match (answer.status.as_u16(), members) {
        (200..=299, None) => Err(sorting.ambiguous("a compressed body, which was not asked for")),
        (200..=299, Some(Err(unreadable))) => Err(sorting.ambiguous(&unreadable.to_string())),
        (200..=299, Some(Ok(members))) => sorting.success(&members),
        (300..=399, _) => Err(sorting.redirect()),
        (_, members) => Err(sorting.refusal(&members.unwrap_or(Err(Unreadable::Malformed)))),
    }
}

/// No encoding is ever asked for, so whatever it is, it was not made for us.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

struct Sorting<'a> {
    answer: &'a Answer<'a>,
    grant: &'a GrantRequest<'a>,
    secrets: Vec<&'a str>,
}

impl Sorting<'_> {
    fn error(&self, class: Class, detail: impl Into<String>) -> TokenError {
        TokenError {
            class,
            status: Some(self.answer.status.as_u16()),
            detail: detail.into(),
            retry_after: retry_after::read(self.answer.headers, self.answer.received),
            rescued: None,
        }
    }

    fn ambiguous(&self, what: &str) -> TokenError {
        self.error(Class::Ambiguous, format!("the answer is {what}"))
    }

    fn success(&self, members: &Members) -> Result<Granted, TokenError> {
        let refresh_token = self.refresh_token(members);
        let granted = match &refresh_token {
            Ok(refresh_token) => self.granted(members, refresh_token.clone()),
            Err(unusable) => Err(self.ambiguous(unusable)),
        };
        granted.map_err(|error| TokenError {
            rescued: refresh_token.ok().flatten().filter(|_| self.grant.spends()),
            ..error
        })
    }

    fn granted(&self, members: &Members, refresh_token: Option<Secret>) -> Result<Granted, TokenError> {
        if let Some(fault) = Fault::of(members) {
            return Err(self.fault_in_success(&fault, members));
        }
        let Some(access_token) = members.value(Member::AccessToken) else {
            return Err(self.ambiguous("without an access token"));
        };
        let access_token =
            usable(access_token).ok_or_else(|| self.ambiguous("an access token that no header can carry"))?;
        let token_type = members.text(Member::TokenType);
        if token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            let kind = detail::clean(token_type.unwrap_or_default(), &self.secrets);
            return Err(self.error(Class::Misconfigured, format!("the token is of type {kind}, not Bearer")));
        }
        let lifetime = members.value(Member::ExpiresIn).and_then(seconds);
        if lifetime.is_some_and(|seconds| seconds < 1.0) {
            return Err(self.ambiguous("a token without any lifetime left"));
        }
        Ok(Granted {
            access_token,
            lifetime: lifetime.and_then(whole_seconds),
            refresh_token,
            refresh_lifetime: members
                .value(Member::RefreshExpiresIn)
                .and_then(seconds)
                .and_then(whole_seconds),
            scope: members.value(Member::Scope).and_then(scope),
            token_type: token_type.map(str::to_owned),
        })
    }

    /// Client credentials have no use for a refresh token (RFC 6749 §4.4.3), so a broken one there does no harm.
    fn refresh_token(&self, members: &Members) -> Result<Option<Secret>, &'static str> {
        let Some(value) = members.value(Member::RefreshToken) else { return Ok(None) };
        match usable(value) {
            None if self.grant.spends() => Err("a refresh token that cannot be used"),
            token => Ok(token),
        }
    }

    /// Some servers report errors with status 200. Only a standard code without a token beside it is believed there;
    /// anything else may have been executed.
    fn fault_in_success(&self, fault: &Fault, members: &Members) -> TokenError {
        let tokens = members.value(Member::AccessToken).or_else(|| members.value(Member::RefreshToken));
        let code = fault.code.as_deref().filter(|_| tokens.is_none());
        let class = code.and_then(|code| self.class_of(code));
        self.error(
            class.unwrap_or(Class::Ambiguous),
            self.words("an error in an answer of success", Some(fault)),
        )
    }

    fn redirect(&self) -> TokenError {
        let location = self.answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|text| text.parse::<url::Url>().ok());
        let target = target.as_ref().and_then(url::Url::host_str).unwrap_or("another path");
        let target = detail::clean(target, &self.secrets);
        self.error(
            Class::Misconfigured,
            format!("redirected to {target} and not followed: token_url may be wrong"),
        )
    }

    fn refusal(&self, members: &Result<Members, Unreadable>) -> TokenError {
        let fault = members.as_ref().ok().and_then(Fault::of);
        let code = fault.as_ref().and_then(|fault| fault.code.as_deref());
        let class = match self.answer.status.as_u16() {
            429 => Class::Throttled,
            408 | 425 => Class::ServerTrouble,
            status @ 400..=499 => code
                .and_then(|code| self.class_of(code))
                .unwrap_or_else(|| by_status(status, fault.is_some(), members.as_ref().err())),
            _ => Class::ServerTrouble,
        };
        self.error(class, self.words(own_words(self.answer.status), fault.as_ref()))
    }

    /// The class of a standard error code (RFC 6749 §5.2, RFC 8707 §2, RFC 8628 §3.5, OpenID Connect).
    fn class_of(&self, code: &str) -> Option<Class> {
        Some(match code {
            "invalid_grant" if self.grant.spends() => Class::InvalidGrant,
            "invalid_grant" | "invalid_client" => Class::InvalidClient,
            // Keycloak says this for a wrong secret, with 401; the RFC means a grant type that is not allowed, with 400.
            "unauthorized_client" if self.answer.status == StatusCode::UNAUTHORIZED => Class::InvalidClient,
            "unauthorized_client"
            | "invalid_request"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_target"
            | "invalid_redirect_uri"
            | "redirect_uri_mismatch"
            | "access_denied"
            | "unsupported_token_type" => Class::Misconfigured,
            "slow_down" => Class::Throttled,
            "server_error" | "temporarily_unavailable" => Class::ServerTrouble,
            _ => return None,
        })
    }

    fn words(&self, own: &str, fault: Option<&Fault>) -> String {
        let server = fault.map(Fault::words).unwrap_or_default();
        match detail::clean(&server, &self.secrets) {
            server if server.is_empty() => own.to_owned(),
            server => format!("{own}: {server}"),
        }
    }
}

/// For a 4xx without a standard code. Walmart refuses credentials with a bare 400.
fn by_status(status: u16, has_code: bool, unreadable: Option<&Unreadable>) -> Class {
    match status {
        401 => Class::InvalidClient,
        400 if !has_code && unreadable != Some(&Unreadable::Html) => Class::InvalidClient,
        _ => Class::Misconfigured,
    }
}

fn own_words(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "the call was refused",
        401 => "the credentials were refused",
        403 => "the call was forbidden",
        404 => "there is no token endpoint at token_url",
        405 => "token_url takes no POST",
        407 => "the forward proxy asks for credentials",
        408 => "the server waited too long for the call",
        429 => "too many calls",
        _ if status.is_client_error() => "the call was refused with an unusual status",
        _ if status.is_server_error() => "the server failed",
        _ => "a status that is no answer",
    }
}

/// A token that a header can carry: a string of visible ASCII without spaces (narrower than RFC 6749 appendix A.12, which
/// allows spaces that RFC 6750 §2.1 then forbids).
fn usable(value: &Value) -> Option<Secret> {
    let token = value.as_str()?;
    let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    visible.then(|| Secret::new(token))
}

/// A number of seconds, written as a number or as text. None when it cannot be a lifetime: not a number, not finite,
/// beyond [`LONGEST_LIFETIME`].
fn seconds(value: &Value) -> Option<f64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (seconds.is_finite() && seconds <= LONGEST_LIFETIME).then_some(seconds)
}

/// Rounded down; None for less than one.
fn whole_seconds(seconds: f64) -> Option<Duration> {
    let whole = Duration::try_from_secs_f64(seconds.floor()).ok()?;
    Some(whole).filter(|whole| !whole.is_zero())
}

/// A scope as the RFC writes it, or a list of them.
fn scope(value: &Value) -> Option<String> {
    match value {
        Value::String(scope) => Some(scope.clone()),
        Value::Array(scopes) => Some(scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
            .filter(|scope| !scope.is_empty()),
        _ => None,
    }
}
