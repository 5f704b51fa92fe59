//! What a seller's browser brought back (RFC 6749 §4.1.2), read from whatever a person pastes or a server receives. The one
//! rule: a callback that can be read in two ways is none; and what the marketplace says is shown only cleaned.
//!
//! A callback says by its `state` which consent it answers, so it is read first and held against that consent afterwards:
//! [`Callback::check_address`], then [`Callback::check_issuer`], and only then is its code worth anything.

use std::fmt;

use super::{detail, identity, redirect::Arrival};
use crate::{provider::Authorization, secret::Secret};

/// The longest callback that is read, in bytes.
pub const LONGEST: usize = 8 * 1024;

/// Parameters that decide what a callback means: each at most once.
const DECISIVE: [&str; 5] = ["state", "code", "iss", "error", "error_description"];

/// A callback.
pub struct Callback {
    /// Which consent it answers.
    pub state: Secret,
    /// Who says so (RFC 9207).
    pub iss: Option<String>,
    /// What the seller decided.
    pub outcome: Outcome,
    arrival: Arrival,
    parameters: Vec<(String, String)>,
}

/// What the seller decided.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The seller consented: a code for the token call.
    Code(Secret),
    /// The seller did not, or the marketplace would not ask (§4.1.2.1).
    Denied {
        /// The marketplace's error code, cleaned: `access_denied`.
        error: String,
        /// What it says about it, cleaned.
        description: Option<String>,
    },
}

/// Why a text is no callback, or not the one that was waited for. Holds nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// No query with `state` and `code` or `error` in it.
    #[error(
        "this is no callback: paste the whole address at which the browser ended up, from https:// to its end"
    )]
    NotOne,
    /// More than [`LONGEST`] bytes.
    #[error(
        "this is too long for a callback: paste the address of the page at which the browser ended up, and nothing else"
    )]
    TooLong,
    /// A line break or another control character.
    #[error("there is a line break or a control character in it: paste the address as one line")]
    ControlCharacter,
    /// `&amp;` where `&` should stand.
    #[error(
        "`&` is written as `&amp;`: copy the address from the browser's address bar, not from a page's source"
    )]
    HtmlEscaped,
    /// A decisive parameter stands twice.
    #[error("`{0}` stands there twice: start the login again")]
    Twice(&'static str),
    /// A decisive parameter is missing.
    #[error("`{0}` is missing: paste the address up to its very end, or start the login again")]
    Missing(&'static str),
    /// A decisive parameter holds what it cannot hold.
    #[error("`{0}` holds characters that cannot be part of it: start the login again")]
    Unusable(&'static str),
    /// Both a code and an error.
    #[error("it holds both a code and an error: start the login again")]
    Contradictory,
    /// It arrived elsewhere.
    #[error(
        "this is not the address that was waited for, {expected}: check `redirect_uri`, and what the app is registered with"
    )]
    WrongAddress {
        /// The redirect address.
        expected: String,
    },
    /// It does not say who issued it, though the marketplace promises that.
    #[error("the answer does not say that it comes from {expected}, and was not used: start the login again")]
    IssuerMissing {
        /// The issuer.
        expected: String,
    },
    /// It comes from another issuer: a mix-up (RFC 9700 §4.4).
    #[error("the answer comes from somebody else than {expected}, and was not used: start the login again")]
    WrongIssuer {
        /// The issuer.
        expected: String,
    },
}

impl Callback {
    /// Reads a whole URL, a path with its query, or a query alone. Space and quotes around it are forgiven, and a fragment,
    /// which some servers append, is not looked at. Parameters that nobody knows are ignored.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &str) -> Result<Self, CallbackError> {
        let text = without_quotes(text.trim());
        if text.len() > LONGEST {
            return Err(CallbackError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(CallbackError::ControlCharacter);
        }
        let (arrival, query) = split(text).ok_or(CallbackError::NotOne)?;
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let mut parameters: Vec<(String, String)> = pairs.into_owned().collect();
        check_names(&parameters)?;
        let state = usable("state", &parameters)?.ok_or(CallbackError::Missing("state"))?;
        let iss = usable("iss", &parameters)?.map(str::to_owned);
        let (state, outcome) = (Secret::new(state), outcome(&parameters, state)?);
        // From here on code and state stand in their own types alone.
        parameters.retain(|(name, _)| !DECISIVE.contains(&name.as_str()));
        Ok(Self { state, iss, outcome, arrival, parameters })
    }

    /// Whether it arrived at `redirect_uri`, byte for byte, as far as the text said where it arrived.
    ///
    /// # Errors
    /// When it arrived elsewhere.
    pub fn check_address(&self, redirect_uri: &str) -> Result<(), CallbackError> {
        let expected = || CallbackError::WrongAddress { expected: redirect_uri.to_owned() };
        if self.arrival.is_at(redirect_uri, &self.parameters) { Ok(()) } else { Err(expected()) }
    }

    /// Whether it comes from the issuer that was asked (RFC 9207 §2.4), by plain comparison of texts.
    ///
    /// # Errors
    /// When it names another one, or none though the marketplace promises to.
    pub fn check_issuer(&self, authorization: &Authorization) -> Result<(), CallbackError> {
        let Some(expected) = authorization.issuer.clone() else { return Ok(()) };
        match &self.iss {
            Some(iss) if *iss != expected => Err(CallbackError::WrongIssuer { expected }),
            None if authorization.iss_promised => Err(CallbackError::IssuerMissing { expected }),
            _ => Ok(()),
        }
    }

    /// Another parameter, such as Walmart's `sellerId`: there once, and fit to be shown and sent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut values = self.parameters.iter().filter(|(other, _)| other == name);
        let (_, value) = values.next().filter(|_| values.next().is_none())?;
        identity::name(value)
    }
}

/// The address at which a form arrived, with what it held, as one callback (OAuth 2.0 Form Post Response Mode): what is said
/// in both stands there twice.
pub fn with_form(url: &str, form: &str) -> String {
    if form.is_empty() {
        return url.to_owned();
    }
    let url = url.split_once('#').map_or(url, |(url, _fragment)| url);
    let between = if url.contains('?') { '&' } else { '?' };
    format!("{url}{between}{form}")
}

/// What else a marketplace sends (`session_state`) is nobody's to read in a log.
impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, iss, outcome, .. } = self;
        f.debug_struct("Callback")
            .field("state", state)
            .field("iss", iss)
            .field("outcome", outcome)
            .finish_non_exhaustive()
    }
}

fn without_quotes(text: &str) -> &str {
    const QUOTES: [(char, char); 5] = [('"', '"'), ('\'', '\''), ('`', '`'), ('<', '>'), ('“', '”')];
    let quoted = |(open, close): (char, char)| text.strip_prefix(open)?.strip_suffix(close);
    QUOTES.into_iter().find_map(quoted).map_or(text, str::trim)
}

/// What stands before the query, and the query. A text whose first sign is that of a pair has nothing before it: its values
/// may hold `?`, `/` and `:` themselves.
fn split(text: &str) -> Option<(Arrival, &str)> {
    let text = text.split_once('#').map_or(text, |(text, _fragment)| text);
    let first = text.chars().find(|c| "=&?/:".contains(*c))?;
    if matches!(first, '=' | '&') {
        return Some((Arrival::Unsaid, text));
    }
    let (before, query) = text.split_once('?')?;
    let arrival = match before.as_bytes().first() {
        None => Arrival::Unsaid,
        Some(b'/') => Arrival::Path(before.to_owned()),
        Some(_) => Arrival::Url(before.to_owned()),
    };
    Some((arrival, query))
}

fn check_names(parameters: &[(String, String)]) -> Result<(), CallbackError> {
    let count = |name: &str| parameters.iter().filter(|(other, _)| other == name).count();
    if parameters.iter().any(|(name, _)| name.starts_with("amp;")) {
        return Err(CallbackError::HtmlEscaped);
    }
    if ["state", "code", "error"].into_iter().all(|name| count(name) == 0) {
        return Err(CallbackError::NotOne);
    }
    let twice = DECISIVE.into_iter().find(|name| count(name) > 1);
    twice.map_or(Ok(()), |name| Err(CallbackError::Twice(name)))
}

/// A parameter that is not empty.
fn value<'a>(name: &str, parameters: &'a [(String, String)]) -> Option<&'a str> {
    let mut values = parameters.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
    values.find(|value| !value.is_empty())
}

/// One that holds visible ASCII and spaces only (RFC 6749 appendix A.5 and A.11).
fn usable<'a>(
    name: &'static str,
    parameters: &'a [(String, String)],
) -> Result<Option<&'a str>, CallbackError> {
    match value(name, parameters) {
        Some(value) if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
            Err(CallbackError::Unusable(name))
        }
        value => Ok(value),
    }
}

fn outcome(parameters: &[(String, String)], state: &str) -> Result<Outcome, CallbackError> {
    let clean = |text: &str| detail::clean(text, &[state]);
    match (usable("code", parameters)?, value("error", parameters)) {
        (Some(_), Some(_)) => Err(CallbackError::Contradictory),
        (Some(code), None) => Ok(Outcome::Code(Secret::new(code))),
        (None, Some(error)) => Ok(Outcome::Denied {
            error: clean(error),
            description: value("error_description", parameters).map(clean).filter(|text| !text.is_empty()),
        }),
        (None, None) => Err(CallbackError::Missing("code")),
    }
}

#[cfg(test)]
mod tests;
