//! A plain GET of the API, outside the proxy's path: whose a token is, and whether it works. The one rule: it is sent once,
//! to a URL below the configured API, and never follows a redirect with a token on it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::ACCEPT};
use zeroize::Zeroizing;

use super::{
    answer::coding,
    client::TokenClient,
    exchange::{Exchange, NoAnswer},
};
use crate::provider::HttpUrl;

/// What the API answered.
pub struct Fetched {
    /// Its status; a redirect's is passed on like any other.
    pub status: StatusCode,
    /// The whole body; None when it has more than 1 MiB, broke off or cannot be decoded.
    pub body: Option<Zeroizing<Vec<u8>>>,
}

/// Bodies are sellers' data.
impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("status", &self.status).finish_non_exhaustive()
    }
}

impl TokenClient {
    /// Gets `url` with `headers`: the account's own ([`crate::provider::Dressing::dress`]) and the token's. Asks for JSON
    /// unless they say otherwise.
    ///
    /// # Errors
    /// When no answer came within `limit`.
    pub async fn get(
        &self,
        url: &HttpUrl,
        mut headers: HeaderMap,
        limit: Duration,
    ) -> Result<Fetched, NoAnswer> {
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        let body = Zeroizing::default();
        let received = self.exchange(Exchange { method: Method::GET, url, headers, body, limit }).await?;
        let decoded = coding::decode(&received.headers, &received.body);
        let whole = received.cut.is_none() && decoded.trouble.is_none();
        Ok(Fetched { status: received.status, body: whole.then_some(decoded.bytes) })
    }
}
