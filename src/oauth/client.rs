//! Sends token calls. The rule: one call is one request on one fresh connection, never repeated, never redirected, and
//! its answer is read to at most 64 KiB.
//!
//! Every call opens a connection of its own, whatever its grant. For grants that rotate that takes the doubt out of a
//! reset: a pooled connection that the server had already closed cannot be told from one that broke after the refresh
//! token was spent. For client credentials a kept connection would save one handshake per token lifetime and bring a
//! second way of failing.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Proxy, Response, Url, redirect, retry};
use zeroize::Zeroizing;

use super::{
    answer::{Answer, Granted, sort},
    detail,
    request::TokenRequest,
    token_error::{Class, TokenError},
};
use crate::{clock::Clock, config::settings::ForwardProxy};

/// Name lookup, TCP, forward proxy and TLS together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The most that is read of an answer; real ones have a few KiB.
const LONGEST_BODY: usize = 64 * 1024;

const USER_AGENT: &str = concat!("marketgate/", env!("CARGO_PKG_VERSION"));

/// Calls token endpoints.
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
    /// Makes one call and sorts its answer; see [`TokenClient::call`].
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a>;
}

/// A token call under way.
pub type Calling<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Granted, TokenError>> + Send + 'a>>;

impl TokenCalls for TokenClient {
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a> {
        Box::pin(async move { Self::call(self, &request).await })
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

    /// Makes one call and sorts its answer.
    ///
    /// Dropping the future breaks the call off, and for a grant that rotates its outcome is then unknown: run it to its
    /// end.
    ///
    /// # Errors
    /// Whatever kept tokens from arriving; see the table in [`crate::oauth`].
    pub async fn call(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let place = request.endpoint.url.authority.as_str();
        let url = request.endpoint.url.to_string();
        let headers = request.headers()?;
        // The buffer is wiped when the last reader lets go of it.
        let body = Bytes::from_owner(request.body());
        let call = self.http.post(url).headers(headers).body(body);
        let exchange = async {
            let response = call.send().await.map_err(|error| broken(&error, place))?;
            Received::read(response).await?.sort(request)
        };
        tokio::time::timeout(request.limit, exchange).await.unwrap_or_else(|_| {
            let detail = format!("no whole answer from {place} within {} s", request.limit.as_secs_f32());
            Err(TokenError::new(Class::Ambiguous, detail))
        })
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

/// An answer read as far as it will be.
struct Received {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
    /// Why the body is not whole.
    cut: Option<String>,
}

impl Received {
    /// Reads on only while there is room, so that an endless body costs 64 KiB and the connection.
    async fn read(mut response: Response) -> Result<Self, TokenError> {
        let (status, headers) = (response.status(), response.headers().clone());
        // Room for all at once: a growing buffer would leave copies of tokens behind.
        let mut body = Zeroizing::new(Vec::with_capacity(LONGEST_BODY));
        let cut = loop {
            match response.chunk().await {
                Ok(Some(piece)) if body.len() + piece.len() > LONGEST_BODY => {
                    break Some(format!("a body of more than {} KiB", LONGEST_BODY / 1024));
                }
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break None,
                Err(error) => break Some(format!("a body that broke off ({})", reason(&error))),
            }
        };
        Ok(Self { status, headers, body, cut })
    }

    fn sort(self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        match self.cut {
            Some(cut) if self.status.is_success() => Err(TokenError {
                status: Some(self.status.as_u16()),
                ..TokenError::new(Class::Ambiguous, format!("the answer is {cut}"))
            }),
            // An error's status says enough without its whole body.
            _ => {
                let Self { status, headers, body, .. } = &self;
                let answer = Answer { status: *status, headers, body, received: Clock::system().now().wall };
                sort(&answer, &request.grant, request.client_secret)
            }
        }
    }
}

/// A call without an answer. Only a connection that never stood is proof that nothing was sent.
fn broken(error: &reqwest::Error, place: &str) -> TokenError {
    let why = reason(error);
    if error.is_connect() {
        TokenError::new(Class::NotSent, format!("no connection to {place}: {why}"))
    } else if error.is_builder() {
        TokenError::new(Class::Misconfigured, format!("{place} cannot be called: {why}"))
    } else {
        TokenError::new(
            Class::Ambiguous,
            format!("the connection to {place} broke before an answer came: {why}"),
        )
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
    detail::clean(&innermost, &[])
}
