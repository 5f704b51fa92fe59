//! An answer before it is sent: plain data, so that marketplaces are pure functions from what arrived to this.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::body::{AnswerBody, Source};

/// Status, headers and where the body comes from.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) source: Source,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self::of(status, Source::Whole(Bytes::new()))
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    pub(super) fn text(status: u16, content_type: &str, text: impl Into<Bytes>) -> Self {
        Self::of(status, Source::Whole(text.into())).header("content-type", content_type)
    }

    /// Somebody's own words, of the type they look like.
    pub(super) fn literal(status: u16, body: &str) -> Self {
        let content_type = match body.trim_start().bytes().next() {
            Some(b'{' | b'[') => "application/json",
            Some(b'<') => "text/html",
            _ => "text/plain",
        };
        Self::text(status, content_type, body.to_owned())
    }

    pub(super) fn of(status: u16, source: Source) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: Vec::new(), source }
    }

    /// Adds a header; `name` in lower case. A value that cannot be one is left out.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    pub(super) fn headers(self, headers: &[(&'static str, &str)]) -> Self {
        headers.iter().fold(self, |answer, (name, value)| answer.header(name, value))
    }

    /// The body as text, where it is one; for turning one notation into another.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole(bytes) => Some(bytes),
            Source::Sample { .. } | Source::Paced { .. } => None,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == CONTENT_TYPE && value == "application/json")
    }

    pub(super) fn into_response(self, shape: impl FnOnce(AnswerBody) -> AnswerBody) -> Response<AnswerBody> {
        let mut response = Response::new(shape(AnswerBody::of(self.source)));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
