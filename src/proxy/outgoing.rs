//! The request as it goes to the marketplace: built anew for each time that it is sent, and when it may be sent again.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, request::Parts, uri::PathAndQuery};

use super::{
    body::{Kept, RequestBody},
    explanation::Explanation,
    headers, reply,
    route::Route,
    shortlist::Way,
    upstream::{Cause, Lane, SendFailure},
};
use crate::{
    grant::{Credential, LiveAccount},
    http::problem::{Code, Problem},
    provider::Replay,
};

/// A request ready to be sent, as often as needed.
pub(super) struct Outgoing<'a> {
    pub(super) head: &'a Parts,
    target: Uri,
    pub(super) live: &'a LiveAccount,
    pub(super) lane: &'a Lane<RequestBody>,
    pub(super) explanation: &'a Explanation,
    /// The credential that took the place of the one the request was built with.
    exchanged: RefCell<Option<Arc<Credential>>>,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(
        head: &'a Parts,
        route: &Route<'_>,
        way: &'a Way,
        explanation: &'a Explanation,
    ) -> Result<Self, Problem> {
        let Way { live, lane } = way;
        let target = target(live.app().api().base_path(), route.rest).ok_or_else(|| {
            Problem::new(
                Code::BadRequest,
                "the target is too long or holds bytes no URL may hold",
                "shorten or encode it",
            )
        })?;
        Ok(Self { head, target, live, lane, explanation, exchanged: RefCell::default() })
    }

    pub(super) fn request(&self, body: RequestBody, credential: &Credential) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.target.clone();
        let (profile, dressing) = (&self.live.app().profile, self.live.dressing());
        *request.headers_mut() = headers::clean_request(&self.head.headers, profile, dressing);
        headers::dress(request.headers_mut(), profile, dressing, credential);
        request
    }

    /// A token that expired while the request waited for a connection is exchanged for the present one; without one,
    /// nothing may be sent.
    pub(super) fn keep_valid(&self, headers: &mut HeaderMap, credential: &Credential) -> bool {
        if self.live.is_valid(credential) {
            return true;
        }
        let present = self.live.borrow_token();
        if let Some(present) = &present {
            headers.insert(self.live.app().profile.token_header.clone(), present.header.clone());
            self.note_exchanged(present);
        }
        present.is_some()
    }

    /// Notes that another credential was sent than the request was built with.
    pub(super) fn note_exchanged(&self, credential: &Arc<Credential>) {
        self.exchanged.replace(Some(credential.clone()));
    }

    /// Cuts what was sent of ours out of the head of the answer.
    pub(super) fn cut_out<B>(&self, response: &mut Response<B>, credential: &Credential) {
        let dressing = self.live.dressing();
        reply::cut_out(response, credential, dressing);
        if let Some(exchanged) = &*self.exchanged.borrow() {
            reply::cut_out(response, exchanged, dressing);
        }
    }

    pub(super) fn may_repeat(&self) -> bool {
        match self.live.app().profile.replay {
            Replay::All => true,
            Replay::Idempotent => self.head.method.is_idempotent(),
            Replay::Off => false,
        }
    }
}

/// A request that was not sent because there was no valid token at that moment.
pub(super) fn untokened(failure: &mut SendFailure<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    matches!(failure.error.cause(), Cause::NotReady).then(|| failure.request.take()).flatten()
}

/// The body to send once more. Either the upstream says that it has not processed the request (RFC 9113 §8.7), as servers do
/// that say goodbye to a connection in use. Or a connection kept from before was closed just as the request went out, or one that
/// others share ended because of one of them: nobody knows whether it arrived, so only an idempotent one is repeated
/// (RFC 9110 §9.2.2). Once in all.
pub(super) fn repeatable(
    failure: &SendFailure<RequestBody>,
    method: &Method,
    kept: &RefCell<Kept>,
) -> Option<Bytes> {
    let may_be = match failure.error.cause() {
        Cause::RefusedStream | Cause::Http11Required => true,
        Cause::Closed { .. } => failure.reused && method.is_idempotent(),
        Cause::ConnectionError { .. } => method.is_idempotent(),
        _ => false,
    };
    kept.borrow().whole().filter(|_| may_be)
}

/// Base path and rest, joined as text: neither is parsed, so nothing in them can change.
pub fn target(base: &str, rest: &str) -> Option<Uri> {
    let mut joined = Vec::with_capacity(1 + base.len() + rest.len());
    let first = if base.is_empty() { rest } else { base };
    if !first.starts_with('/') {
        joined.push(b'/');
    }
    joined.extend_from_slice(base.as_bytes());
    joined.extend_from_slice(rest.as_bytes());
    PathAndQuery::from_maybe_shared(Bytes::from(joined)).ok().map(Uri::from)
}
