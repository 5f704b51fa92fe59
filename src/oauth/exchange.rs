//! One HTTP exchange: a request sent once, its answer read to its end or its bound. What was read before an answer broke off
//! is kept, and an exchange without an answer says whether the server may have seen it.

use std::{
    error::Error as _,
    fmt, io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Response};
use zeroize::Zeroizing;

use super::{
    answer::coding::LONGEST,
    detail,
    token_error::{Class, TokenError},
};
use crate::provider::HttpUrl;

/// Name lookup, TCP, forward proxy and TLS together.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

const PROXY_CREDENTIALS: &str = "the forward proxy wants credentials: write them into upstream.proxy_url";

/// Room for nearly every answer.
const USUAL_BODY: usize = 16 * 1024;

/// A request.
pub(super) struct Exchange<'a> {
    pub method: Method,
    pub url: &'a HttpUrl,
    pub headers: HeaderMap,
    /// Wiped from memory when it was sent.
    pub body: Zeroizing<String>,
    /// From name lookup to the last byte.
    pub limit: Duration,
}

impl Exchange<'_> {
    pub(super) async fn run(self, http: &Client) -> Result<Received, NoAnswer> {
        let place = self.url.authority.as_str();
        let request = http.request(self.method, self.url.to_string()).headers(self.headers);
        // The buffer is wiped when the last reader lets go of it.
        let request = if self.body.is_empty() { request } else { request.body(Bytes::from_owner(self.body)) };
        let late = format!("no whole answer from {place} within {} s", self.limit.as_secs_f32());
        let end = tokio::time::Instant::now() + self.limit;
        match tokio::time::timeout_at(end, request.send()).await {
            Ok(Ok(response)) => Ok(Received::read(response, end, &late).await),
            Ok(Err(error)) => Err(NoAnswer::of(&error, place)),
            Err(_) => Err(NoAnswer { class: Class::Ambiguous, detail: late }),
        }
    }
}

/// An answer read as far as it will be.
pub(super) struct Received {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// In its content coding.
    pub body: Zeroizing<Vec<u8>>,
    /// Why the body is not whole.
    pub cut: Option<String>,
    /// When its last byte was read.
    pub at: Instant,
}

impl Received {
    /// Reads on only while there is room, so that an endless body costs its bound and the connection.
    async fn read(mut response: Response, end: tokio::time::Instant, late: &str) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Zeroizing::new(Vec::with_capacity(USUAL_BODY));
        let cut = loop {
            match tokio::time::timeout_at(end, response.chunk()).await {
                Ok(Ok(Some(piece))) => {
                    let room = LONGEST - body.len();
                    push(&mut body, &piece[..piece.len().min(room)]);
                    if piece.len() > room {
                        break Some(format!("a body of more than {} KiB", LONGEST / 1024));
                    }
                }
                Ok(Ok(None)) => break None,
                Ok(Err(error)) => break Some(format!("a body that broke off ({})", reason(&error))),
                Err(_) => break Some(format!("a body that did not end ({late})")),
            }
        };
        Self { status, headers, body, cut, at: Instant::now() }
    }
}

/// Grows the buffer without leaving a copy of what it holds behind.
fn push(body: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    let length = body.len() + piece.len();
    if length > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(piece);
}

/// An exchange that brought no answer.
#[derive(Debug, Clone)]
pub struct NoAnswer {
    /// `NotSent` or `Misconfigured`: nothing reached the server; `Ambiguous`: something may have.
    pub class: Class,
    /// What happened, for a person.
    pub detail: String,
}

impl NoAnswer {
    /// Only a connection that never stood is proof that nothing was sent.
    fn of(error: &reqwest::Error, place: &str) -> Self {
        let why = reason(error);
        let (class, detail) = if error.is_connect() {
            (Class::NotSent, format!("no connection to {place}: {why}"))
        } else if error.is_builder() {
            (Class::Misconfigured, format!("{place} cannot be called: {why}"))
        } else {
            (Class::Ambiguous, format!("the connection to {place} broke before an answer came: {why}"))
        };
        Self { class, detail }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for NoAnswer {}

impl From<NoAnswer> for TokenError {
    fn from(none: NoAnswer) -> Self {
        let proxy_wants_credentials = none.detail.contains("proxy authorization required");
        let advice = proxy_wants_credentials.then_some(PROXY_CREDENTIALS.into());
        Self { advice, ..Self::new(none.class, none.detail) }
    }
}

/// The plainest words for what went wrong: the innermost cause, with those that have a remedy of their own said outright.
fn reason(error: &reqwest::Error) -> String {
    if error.is_dns() {
        return "its name cannot be resolved".to_owned();
    }
    if error.is_connect() && error.is_timeout() {
        return format!("nothing within {} s", CONNECT_LIMIT.as_secs());
    }
    let mut innermost = "no cause given".to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        innermost = inner.map_or_else(|| cause.to_string(), ToString::to_string);
        next = cause.source();
    }
    if error.is_connect() { detail::plain(&innermost) } else { detail::clean(&innermost, &[]) }
}
