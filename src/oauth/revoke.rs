//! Takes a refresh token back (RFC 7009). The one rule: only an answer of success means that it is revoked; anything else
//! says whether it may be.

use std::{fmt, time::Duration};

use http::{Method, StatusCode};
use zeroize::Zeroizing;

use super::{
    answer,
    client::TokenClient,
    detail,
    exchange::{Exchange, NoAnswer, Received},
    form,
    request::{GrantRequest, Lookup, TokenRequest},
    retry_after,
    token_error::Class,
};
use crate::{
    clock::Clock,
    provider::{HttpUrl, TokenEndpoint},
    secret::Secret,
};

/// One call to a revocation endpoint.
#[derive(Clone, Copy)]
pub struct RevocationRequest<'a> {
    /// The revocation endpoint: [`crate::provider::Profile::revoke_url`].
    pub url: &'a HttpUrl,
    /// The token endpoint beside it: the client authenticates as it does there (RFC 7009 §2.1).
    pub endpoint: &'a TokenEndpoint,
    /// The client's identifier.
    pub client_id: &'a str,
    /// The client's secret.
    pub client_secret: &'a Secret,
    /// What is to be revoked, and every access token that came of it with it (§2.1).
    pub refresh_token: &'a Secret,
    /// Values for the endpoint's header templates.
    pub settings: &'a Lookup<'a>,
    /// How long the whole call may take.
    pub limit: Duration,
}

/// A refresh token that is not known to be revoked.
#[derive(Debug, Clone)]
pub struct RevokeError {
    /// Whether it may be revoked nonetheless. RFC 7009 §2.2.1: after a 503 it is not.
    pub in_doubt: bool,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// What happened, for a person.
    pub detail: String,
    /// How long the server asked us to wait.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.in_doubt {
            "it is not known whether the refresh token is revoked"
        } else {
            "the refresh token is not revoked"
        };
        match self.status {
            Some(status) => write!(f, "{what} (status {status}): {}", self.detail),
            None => write!(f, "{what}: {}", self.detail),
        }
    }
}

impl std::error::Error for RevokeError {}

impl From<NoAnswer> for RevokeError {
    fn from(none: NoAnswer) -> Self {
        let in_doubt = none.class == Class::Ambiguous;
        Self { in_doubt, status: None, detail: none.detail, retry_after: None }
    }
}

impl TokenClient {
    /// Revokes a refresh token. One that the server no longer knows counts as revoked (§2.2).
    ///
    /// # Errors
    /// Whatever kept the server from confirming it.
    pub async fn revoke(&self, request: &RevocationRequest<'_>) -> Result<(), RevokeError> {
        let headers = request.as_token_request().headers().map_err(|error| RevokeError {
            in_doubt: false,
            status: None,
            detail: error.detail,
            retry_after: None,
        })?;
        let (url, body, limit) = (request.url, request.body(), request.limit);
        let received = self.exchange(Exchange { method: Method::POST, url, headers, body, limit }).await?;
        let is_over = received.status.is_success() || is_over_already(&received);
        if is_over { Ok(()) } else { Err(request.refused(&received)) }
    }
}

/// Google says so with an error, where RFC 7009 §2.2 has a success. `invalid_token` alone may mean another client's token.
fn is_over_already(received: &Received) -> bool {
    let said = answer::words(&received.headers, &received.body).unwrap_or_default().to_ascii_lowercase();
    let is_over = ["expired", "revoked"].iter().any(|word| said.contains(word));
    received.status == StatusCode::BAD_REQUEST && said.starts_with("invalid_token") && is_over
}

impl<'a> RevocationRequest<'a> {
    fn as_token_request(&self) -> TokenRequest<'a> {
        TokenRequest {
            endpoint: self.endpoint,
            client_id: self.client_id,
            client_secret: self.client_secret,
            grant: GrantRequest::RefreshToken(self.refresh_token),
            settings: self.settings,
            limit: self.limit,
        }
    }

    fn body(&self) -> Zeroizing<String> {
        let mut pairs = vec![("token", self.refresh_token.expose()), ("token_type_hint", "refresh_token")];
        let client = self.as_token_request();
        pairs.extend(client.client_parameters());
        Zeroizing::new(form::encode_pairs(pairs))
    }

    fn refused(&self, received: &Received) -> RevokeError {
        let status = received.status;
        RevokeError {
            in_doubt: status.is_server_error() && status.as_u16() != 503,
            status: Some(status.as_u16()),
            detail: self.words(received),
            retry_after: retry_after::read(&received.headers, Clock::system().now().wall),
        }
    }

    fn words(&self, received: &Received) -> String {
        if received.status.is_redirection() {
            return "redirected, and not followed".to_owned();
        }
        let said = answer::words(&received.headers, &received.body);
        let secrets = [self.refresh_token.expose(), self.client_secret.expose()];
        let words = said.map(|said| detail::clean(&said, &secrets)).unwrap_or_default();
        if words.is_empty() { "the server did not say why".to_owned() } else { words }
    }
}
