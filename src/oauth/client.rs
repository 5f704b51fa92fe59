//! Sends token calls. One call is one request on one fresh connection, never repeated and never redirected; its answer is read
//! to its end, or to 1 MiB, whatever its status.
//!
//! Every call opens a connection of its own, whatever its grant. For grants that rotate that takes the doubt out of a
//! reset: a pooled connection that the server had already closed cannot be told from one that broke after the refresh
//! token was spent. For client credentials a kept connection would save one handshake per token lifetime and bring a
//! second way of failing.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use reqwest::{Client, Proxy, Url, redirect, retry};

use super::{
    answer::{Answer, Granted, judge},
    exchange::{CONNECT_LIMIT, Exchange, NoAnswer, Received},
    fetch::Fetched,
    request::TokenRequest,
    token_error::{Class, TokenError},
};
use crate::{clock::Clock, config::settings::ForwardProxy, provider::HttpUrl};

const USER_AGENT: &str = concat!("marketgate/", env!("CARGO_PKG_VERSION"));

/// Calls token endpoints, and what stands beside them: revocation, and plain GETs with a token ([`TokenClient::get`]).
#[derive(Debug, Clone)]
pub struct TokenClient {
    http: Client,
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenClientError {
    /// `upstream.proxy_url` holds credentials that no header can carry.
    #[error("the credentials in upstream.proxy_url hold what no header can carry")]
    ProxyCredentials,
    /// `upstream.proxy_url` is no address.
    #[error("upstream.proxy_url is no address of a proxy")]
    ProxyAddress,
    /// The HTTP library refused the settings.
    #[error("the client for token calls cannot be made: {0}")]
    Library(#[from] reqwest::Error),
}

/// Makes token calls: over the network, or played by a test that decides what each brings.
pub trait TokenCalls: std::fmt::Debug + Send + Sync {
    /// Makes one call and judges its answer; see [`TokenClient::call`].
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a>;

    /// Gets what an API says of a token; see [`TokenClient::get`]. Nothing, unless it is implemented.
    fn get<'a>(&'a self, _url: &'a HttpUrl, _headers: HeaderMap, _limit: Duration) -> Getting<'a> {
        let detail = "there is nothing to ask here".to_owned();
        Box::pin(std::future::ready(Err(NoAnswer { class: Class::NotSent, detail })))
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
    ///
    /// # Errors
    /// When the forward proxy's address or credentials cannot be used.
    pub fn new(
        mut tls: rustls::ClientConfig,
        forward_proxy: Option<&ForwardProxy>,
    ) -> Result<Self, TokenClientError> {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Early data can be replayed by whoever records it (RFC 8446 §8): a token call must be sent once.
        tls.enable_early_data = false;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(USER_AGENT);
        if let Some(forward_proxy) = forward_proxy {
            builder = builder.proxy(proxy(forward_proxy)?);
        }
        Ok(Self { http: builder.build()? })
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
        let received = self.exchange(Exchange { method: Method::POST, url, headers, body, limit }).await?;
        let Received { status, headers, body, cut, at } = &received;
        let received = Clock::system().now().wall;
        judge(&Answer { status: *status, headers, body, cut: cut.as_deref(), received }, request)
            .map(|granted| Granted { received: *at, ..granted })
            .map_err(|error| TokenError { received: *at, ..error })
    }

    pub(super) async fn exchange(&self, exchange: Exchange<'_>) -> Result<Received, NoAnswer> {
        exchange.run(&self.http).await
    }
}

fn proxy(forward: &ForwardProxy) -> Result<Proxy, TokenClientError> {
    let host = if forward.host.contains(':') { format!("[{}]", forward.host) } else { forward.host.clone() };
    let address: Url =
        format!("http://{host}:{}", forward.port).parse().map_err(|_| TokenClientError::ProxyAddress)?;
    let proxy = Proxy::custom(move |target| (!is_loopback(target)).then(|| address.clone()));
    let Some(authorization) = &forward.authorization else { return Ok(proxy) };
    let mut value =
        HeaderValue::from_str(authorization.expose()).map_err(|_| TokenClientError::ProxyCredentials)?;
    value.set_sensitive(true);
    Ok(proxy.custom_http_auth(value))
}

fn is_loopback(target: &Url) -> bool {
    match target.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}
