//! Sends token calls. One call is one request on one fresh connection, never repeated and never redirected; its answer is read
//! to its end, or to 1 MiB, whatever its status.
//!
//! Every call opens a connection of its own, whatever its grant. For grants that rotate that takes the doubt out of a
//! reset: a pooled connection that the server had already closed cannot be told from one that broke after the refresh
//! token was spent. For client credentials a kept connection would save one handshake per token lifetime and bring a
//! second way of failing.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::{
    answer::{Answer, Granted, More, judge, judge_beyond, more},
    exchange::{Exchange, NoAnswer, Received},
    fetch::Fetched,
    request::TokenRequest,
    token_error::TokenError,
};
use crate::{
    clock::Clock,
    net::Dialer,
    provider::{ForwardProxy, HttpUrl},
    tls::Client,
};

/// Calls token endpoints, and what stands beside them: revocation, and plain GETs with a token ([`TokenClient::get`]).
#[derive(Debug, Clone)]
pub struct TokenClient {
    dialer: Dialer,
}

/// Makes token calls: over the network, or played by a test that decides what each brings.
pub trait TokenCalls: std::fmt::Debug + Send + Sync {
    /// Makes one call and judges its answer; see [`TokenClient::call`].
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a>;

    /// Gets what an API says of a token; see [`TokenClient::get`]. Nothing, unless it is implemented.
    fn get<'a>(&'a self, _url: &'a HttpUrl, _headers: HeaderMap, _limit: Duration) -> Getting<'a> {
        Box::pin(std::future::ready(Err(NoAnswer::unsent("there is nothing to ask here".to_owned()))))
    }
}

/// A question about a token under way.
pub type Getting<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Fetched, NoAnswer>> + Send + 'a>>;

/// A token call under way.
pub type Calling<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Granted, TokenError>> + Send + 'a>>;

impl TokenCalls for TokenClient {
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a> {
        Box::pin(async move { Self::call(self, &request).await })
    }

    fn get<'a>(&'a self, url: &'a HttpUrl, headers: HeaderMap, limit: Duration) -> Getting<'a> {
        Box::pin(Self::get(self, url, headers, limit))
    }
}

impl TokenClient {
    /// A client that trusts what `tls` trusts, and reaches all but loopback through `forward_proxy`.
    pub fn new(tls: impl Into<Client>, forward_proxy: Option<&ForwardProxy>) -> Self {
        Self { dialer: Dialer::new(tls, forward_proxy) }
    }

    /// Makes one call and judges its answer.
    ///
    /// Dropping the future breaks the call off, and for a grant that rotates its outcome is then unknown: run it to its
    /// end.
    ///
    /// # Errors
    /// Whatever kept tokens from arriving; see the table in [`crate::oauth`].
    pub async fn call(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (url, limit) = (&request.endpoint.url, request.limit);
        let (headers, body) = (request.headers()?, request.body());
        let exchange = Exchange { method: Method::POST, url, headers, body, limit };
        let mut received = match self.exchange(exchange).await {
            Ok(received) => received,
            Err(none) => return Err(search_for_successor(none, request)),
        };
        let (at, now) = (received.at, Clock::system().now().wall);
        let mut outcome = judge(&received.as_answer(now), request);
        let more = match request.grant.spends() {
            true => more(&received.as_answer(now), &outcome),
            false => More::Nothing,
        };
        if more != More::Nothing
            && let Some(beyond) = received.beyond(more == More::OnItsWay).await
        {
            outcome = judge_beyond(&received.as_answer(now), &beyond, request).unwrap_or(outcome);
        }
        outcome
            .map(|granted| Granted { received: at, ..granted })
            .map_err(|error| TokenError { received: at, ..error })
    }

    pub(super) async fn exchange(&self, exchange: Exchange<'_>) -> Result<Received, NoAnswer> {
        exchange.run(&self.dialer).await
    }
}

/// What came may hold a successor though it is no HTTP.
fn search_for_successor(mut none: NoAnswer, request: &TokenRequest<'_>) -> TokenError {
    let came = std::mem::take(&mut none.beyond);
    let (headers, received) = (&HeaderMap::new(), Clock::system().now().wall);
    let answer = Answer { status: StatusCode::BAD_GATEWAY, headers, body: &[], cut: None, received };
    let judged = judge_beyond(&answer, &came, request);
    TokenError { successor: judged.and_then(Result::err).and_then(|error| error.successor), ..none.into() }
}
