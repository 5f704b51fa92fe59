//! A token endpoint's answer: tokens, or why there are none. It is searched before it is judged: whatever came, with whatever
//! status, in whatever coding and however broken, is looked through for a new refresh token, and that is in the outcome.
//!
//! `coding` takes content codings off, `document` reads the body as a tree (`node`) whether it is `json`, `xml`, a
//! form or a page (`html`), `search` finds the tokens by their `members`, `value`s and `lifetime`s, `fault` the server's
//! words, `refusal` says what those mean and `advice` what helps. All of it is pure.

mod advice;
pub(in crate::oauth) mod coding;
mod document;
pub(in crate::oauth) mod fault;
mod html;
mod json;
mod lifetime;
mod members;
mod node;
mod redirect;
mod refusal;
mod search;
mod text;
mod value;
mod xml;

use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{DATE, WWW_AUTHENTICATE},
};

use self::{
    advice::{Case, advise},
    document::{Document, Kind},
    fault::Fault,
    lifetime::Said,
    redirect::Redirect,
    refusal::Refusal,
    search::{Access, Found, Search, Successor},
};
use super::{
    detail,
    request::{GrantRequest, TokenRequest},
    retry_after,
    token_error::{Class, TokenError},
};
use crate::{
    provider::{TokenMember, TokenTypes},
    secret::Secret,
};

/// An answer as it came.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Its body, or as much of it as was read, in its content coding.
    pub body: &'a [u8],
    /// Why the body is not whole, in words that go on from "the answer is".
    pub cut: Option<&'a str>,
    /// When it came, for dates in it where it has no `Date` of its own.
    pub received: SystemTime,
}

/// Tokens that can be used as they stand.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The access token: visible ASCII, not empty.
    pub access_token: Secret,
    /// How long it lives: what the answer says, else the app's `token_lifetime`, else the token itself where it is a JWT;
    /// whole seconds, never zero. None: nobody knows; RFC 6749 §5.1 leaves the default to the client.
    pub lifetime: Option<Duration>,
    /// The refresh token of the answer, a new one or the one that was shown. None: it has none, and the old one stays (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// How long the refresh token lives. None: the answer does not say.
    pub refresh_lifetime: Option<RefreshLifetime>,
    /// The ID token (OpenID Connect Core §3.1.3.3, §12.2).
    pub id_token: Option<Secret>,
    /// The granted `scope`, when it was said: it may be less than was asked for (RFC 6749 §3.3).
    pub scope: Option<String>,
    /// `token_type` as written, when it was said.
    pub token_type: Option<String>,
    /// When the answer's last byte was read.
    pub received: Instant,
}

/// What an answer says of the life of its refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshLifetime {
    /// 0: it names no end. Keycloak says so for offline tokens, for which it may still enforce an idle limit.
    Unlimited,
    /// This long from now; whole seconds, never zero.
    For(Duration),
}

impl RefreshLifetime {
    /// None where no end was named.
    pub fn known(self) -> Option<Duration> {
        match self {
            Self::Unlimited => None,
            Self::For(life) => Some(life),
        }
    }
}

/// Judges the answer to `request`.
///
/// # Errors
/// Everything that is no usable token; see the table in [`crate::oauth`].
pub fn judge(answer: &Answer<'_>, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
    let decoded = coding::decode(answer.headers, answer.body);
    let cut = answer.cut.or(decoded.trouble.as_deref());
    let document = Document::read(&decoded.bytes, cut.is_some());
    let success = answer.status.is_success();
    let search = Search::new(&document, &request.endpoint.answers, success);
    let judging = Judging { answer, request, cut, document: &document, search: &search };
    judging.outcome()
}

/// Judges the answer by all that came behind its head until the connection ended or fell silent, where that is more than its
/// framing says. None: no refresh token there.
pub(super) fn judge_beyond(
    answer: &Answer<'_>,
    beyond: &[u8],
    request: &TokenRequest<'_>,
) -> Option<Result<Granted, TokenError>> {
    let outcome = judge(&Answer { body: beyond, cut: None, ..*answer }, request);
    // A line's end within a token is the framing's.
    let is_whole = brought(&outcome).is_some_and(|token| !token.expose().contains(['\r', '\n']));
    is_whole.then_some(outcome)
}

/// The refresh token of an answer.
fn brought(outcome: &Result<Granted, TokenError>) -> Option<&Secret> {
    outcome.as_ref().map_or_else(|error| &error.successor, |granted| &granted.refresh_token).as_ref()
}

/// What more may come of an answer than its framing says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// Nothing that matters.
    Nothing,
    /// Perhaps what has come already.
    Here,
    /// Perhaps what is still on its way.
    OnItsWay,
}

/// Whether an answer that was judged may be more than its framing says. Only JSON and XML have an end of their own: of a form
/// the last value may be cut. A failure is not waited on where nothing speaks for more.
pub(super) fn more(answer: &Answer<'_>, outcome: &Result<Granted, TokenError>) -> More {
    let (document, is_decoded) = read(answer.headers, answer.body);
    let is_form = document.kind == Kind::Form;
    if brought(outcome).is_some() && !is_form {
        return More::Nothing;
    }
    let has_no_end = is_form || (matches!(document.kind, Kind::Empty | Kind::Text) && !document.embedded);
    let goes_on = document.cut || !is_decoded || (has_no_end && answer.status.is_success());
    if goes_on { More::OnItsWay } else { More::Here }
}

/// Whether a body has come to an end of its own, whatever its framing says.
pub(super) fn has_ended(headers: &HeaderMap, body: &[u8]) -> bool {
    let (document, is_decoded) = read(headers, body);
    matches!(document.kind, Kind::Json | Kind::Xml) && !document.cut && is_decoded
}

/// The body as far as it tells itself, and whether its coding could be taken off whole.
fn read(headers: &HeaderMap, body: &[u8]) -> (Document, bool) {
    let decoded = coding::decode(headers, body);
    (Document::read(&decoded.bytes, false), decoded.trouble.is_none())
}

/// What a server says in its answer to another kind of call, uncleaned.
pub(super) fn words(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let decoded = coding::decode(headers, body);
    let document = Document::read(&decoded.bytes, decoded.trouble.is_some());
    Fault::of(&document, true, false).map(|fault| fault.words())
}

struct Judging<'a, 'r> {
    answer: &'a Answer<'a>,
    request: &'a TokenRequest<'r>,
    /// Why the body is not whole.
    cut: Option<&'a str>,
    document: &'a Document,
    search: &'a Search<'a>,
}

impl Judging<'_, '_> {
    fn outcome(&self) -> Result<Granted, TokenError> {
        let access = self.search.access_token();
        let spends = self.request.grant.spends();
        let sent = self.request.secrets();
        let sent: Vec<&str> = sent.iter().map(|secret| secret.as_str()).collect();
        let shown = match self.request.grant {
            GrantRequest::RefreshToken(token) => Some(token.expose()),
            _ => None,
        };
        let successor = self.search.successor(&access, shown, &sent);
        let outcome = match self.answer.status.as_u16() {
            200..=299 => self.success(&access, &successor),
            300..=399 => Err(self.redirect()),
            _ => Err(self.refusal(self.fault(true, false).as_ref())),
        };
        match successor {
            Successor::New(token) if spends => outcome.map_err(|error| with_successor(error, token)),
            _ => outcome,
        }
    }

    fn success(&self, access: &Access<'_>, successor: &Successor<'_>) -> Result<Granted, TokenError> {
        let has_tokens = !matches!(access, Access::None) || matches!(successor, Successor::New(_));
        match self.fault(false, has_tokens) {
            Some(fault) if !has_tokens => return Err(self.refusal(Some(&fault))),
            Some(fault) if fault.is_explicit => {
                let words = self.words("an error beside tokens in an answer of success", Some(&fault));
                return Err(self.error(Class::Ambiguous, words));
            }
            _ => {}
        }
        match access {
            Access::Token(token, found) => self.granted(token, *found, successor),
            Access::Unusable(why) => Err(self.ambiguous(why)),
            Access::None => Err(self.ambiguous(self.cut.unwrap_or(match self.document.kind {
                Kind::Empty => "an empty body",
                Kind::Html => "an HTML page: a login page, an error page or a program in between answered",
                Kind::Text => "neither JSON nor XML nor a form",
                Kind::Json | Kind::Xml | Kind::Form if self.document.cut => "a body that is cut",
                Kind::Json | Kind::Xml | Kind::Form => "without an access token",
            }))),
        }
    }

    fn granted(&self, token: &str, found: Found, successor: &Successor<'_>) -> Result<Granted, TokenError> {
        let refresh_token = match successor {
            Successor::New(token) | Successor::Same(token) => Some(Secret::new(*token)),
            // Client credentials have no use for one (RFC 6749 §4.4.3).
            _ if !self.request.grant.spends() => None,
            Successor::Unusable(why) => return Err(self.ambiguous(why)),
            // It may have been in the part that is missing.
            Successor::None if self.document.cut => {
                return Err(self.ambiguous(self.cut.unwrap_or("a body that is cut")));
            }
            Successor::None => None,
        };
        let token_type = self.search.text(found, TokenMember::TokenType);
        if let Some(kind) = token_type.as_deref().filter(|kind| !self.takes(kind)) {
            return Err(self.another_scheme(kind));
        }
        let now = self.servers_now();
        let lifetime = match self.search.lifetime(found, now) {
            Some(Said::For(life)) => Some(life),
            Some(Said::Zero) | None => {
                self.request.endpoint.answers.token_lifetime.or_else(|| lifetime::of_jwt(token, now))
            }
        };
        let refresh_lifetime = self.search.refresh_lifetime(found, now).map(|said| match said {
            Said::For(life) => RefreshLifetime::For(life),
            Said::Zero => RefreshLifetime::Unlimited,
        });
        Ok(Granted {
            access_token: Secret::new(token),
            lifetime,
            refresh_token,
            refresh_lifetime,
            id_token: self.search.text(found, TokenMember::IdToken).map(Secret::new),
            scope: self.search.scope(found),
            token_type,
            received: Instant::now(),
        })
    }

    fn takes(&self, kind: &str) -> bool {
        match &self.request.endpoint.answers.token_type {
            TokenTypes::Any => true,
            TokenTypes::Only(meant) => kind.eq_ignore_ascii_case(meant),
            TokenTypes::Usual => !names_another_scheme(kind),
        }
    }

    fn another_scheme(&self, kind: &str) -> TokenError {
        let kind = self.clean(kind);
        let mut error = self.error(Class::Misconfigured, format!("the token is of type {kind}, not Bearer"));
        error.advice = Some(if kind.to_ascii_lowercase().contains("dpop") {
            Cow::Borrowed(
                "the server binds its tokens to a key (DPoP, RFC 9449), which Marketgate cannot do: have the client registered \
                 for plain bearer tokens",
            )
        } else {
            Cow::Borrowed(
                "have the client registered for plain bearer tokens; if the API takes this one behind token_prefix, write \
                 token_type = \"any\"",
            )
        });
        error
    }

    fn redirect(&self) -> TokenError {
        let redirect = Redirect::of(self.answer.headers, &self.request.endpoint.url);
        let target = self.clean(&redirect.target);
        let detail = format!("redirected to {target} and not followed: token_url may be wrong");
        let advice = Some(Cow::Owned(self.clean(&redirect.advice)));
        TokenError { advice, ..self.error(Class::Misconfigured, detail) }
    }

    fn refusal(&self, fault: Option<&Fault>) -> TokenError {
        let status = self.answer.status.as_u16();
        let is_html = self.document.kind == Kind::Html;
        let code = fault.and_then(|fault| fault.code.as_deref());
        let refusal = Refusal {
            status,
            code,
            pieces: fault.map(|fault| fault.pieces().collect()).unwrap_or_default(),
            body: &self.document.text,
            is_html,
            spends: self.request.grant.spends(),
            refreshes: matches!(self.request.grant, GrantRequest::RefreshToken(_)),
        };
        let class = refusal.class(&self.request.endpoint.answers.grant_ended);
        let reason = refusal.reason().filter(|_| matches!(class, Class::InvalidGrant | Class::Refused));
        let words = fault.map(Fault::words).unwrap_or_default();
        let advice = advise(&Case { class, status, code, words: &words, is_html }, self.request);
        TokenError { reason, advice, ..self.error(class, self.words(own_words(self.answer.status), fault)) }
    }

    /// The error that the body tells, or the challenge beside it.
    fn fault(&self, is_error: bool, has_tokens: bool) -> Option<Fault> {
        let challenges =
            self.answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = || challenges.filter(|_| is_error).find_map(Fault::of_challenge);
        Fault::of(self.document, is_error, has_tokens).or_else(challenge)
    }

    fn error(&self, class: Class, detail: impl Into<String>) -> TokenError {
        TokenError {
            status: Some(self.answer.status.as_u16()),
            retry_after: retry_after::read(self.answer.headers, self.answer.received),
            ..TokenError::new(class, detail)
        }
    }

    fn ambiguous(&self, what: &str) -> TokenError {
        let (class, status, is_html) =
            (Class::Ambiguous, self.answer.status.as_u16(), self.document.kind == Kind::Html);
        let advice = advise(&Case { class, status, code: None, words: "", is_html }, self.request);
        TokenError { advice, ..self.error(class, format!("the answer is {what}")) }
    }

    fn words(&self, own: &str, fault: Option<&Fault>) -> String {
        match self.clean(&fault.map(Fault::words).unwrap_or_default()) {
            server if server.is_empty() => own.to_owned(),
            server => format!("{own}: {server}"),
        }
    }

    /// Without the secrets of the call and the tokens of the answer.
    fn clean(&self, text: &str) -> String {
        let sent = self.request.secrets();
        let secrets: Vec<&str> = sent
            .iter()
            .map(|secret| secret.as_str())
            .chain(self.search.secrets().into_iter().take(50))
            .collect();
        detail::clean(text, &secrets)
    }

    /// By the server's clock, which its dates follow.
    fn servers_now(&self) -> SystemTime {
        let date = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
        self.answer.headers.get(DATE).and_then(date).unwrap_or(self.answer.received)
    }
}

/// A refusal beside a successor is none: the server did rotate. So nobody takes the grant for over or shows the old one again.
fn with_successor(error: TokenError, token: &str) -> TokenError {
    let class = match error.class {
        Class::InvalidGrant | Class::InvalidClient | Class::Refused => Class::Ambiguous,
        class => class,
    };
    TokenError { class, successor: Some(Secret::new(token)), reason: None, ..error }
}

/// Types of tokens that are of no use by themselves: RFC 9449, the drafts of MAC and HOK, RFC 8693 §2.2.1, and the schemes of
/// RFC 7617, 7616, 4559. Others (`User Access Token`, `BearerToken`) are Bearer under another name.
fn names_another_scheme(kind: &str) -> bool {
    const SCHEMES: [&str; 13] = [
        "mac",
        "dpop",
        "na",
        "hok",
        "holderofkey",
        "pop",
        "basic",
        "digest",
        "negotiate",
        "ntlm",
        "hmac",
        "signature",
        "mutual",
    ];
    let plain: String = kind.chars().filter(char::is_ascii_alphanumeric).collect();
    SCHEMES.contains(&plain.to_ascii_lowercase().as_str())
}

fn own_words(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "an error in an answer of success",
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
