//! The admin door's answers. The one rule: no cache keeps them, and no browser guesses what they are.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// An answer, whole in memory.
pub(super) type Answer = Response<Full<Bytes>>;

/// A JSON document.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    // Strings, numbers and lists of them always serialise.
    let body = serde_json::to_string_pretty(document).unwrap_or_default() + "\n";
    with_body(status, "application/json", body)
}

/// Plain text.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    with_body(status, "text/plain; charset=utf-8", body.into())
}

/// Done, and nothing to say.
pub(super) fn nothing() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A body of some type.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
