//! What a token call holds. The rule: headers and form are made here, whole, before a connection is opened, so that a
//! mistake in them costs no call.

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE},
};
use zeroize::Zeroizing;

use super::{
    form,
    token_error::{Class, TokenError},
};
use crate::{
    provider::{ClientAuth, TokenEndpoint},
    secret::Secret,
};

/// Looks up what a template's placeholder stands for, such as [`crate::config::settings::Account::setting`].
pub type Lookup<'a> = dyn Fn(&str) -> Option<Cow<'a, str>> + Sync + 'a;

/// One call to a token endpoint.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    /// Where to ask and how.
    pub endpoint: &'a TokenEndpoint,
    /// The client's identifier.
    pub client_id: &'a str,
    /// The client's secret.
    pub client_secret: &'a Secret,
    /// What is shown for the token.
    pub grant: GrantRequest<'a>,
    /// Values for the endpoint's header and parameter templates.
    pub settings: &'a Lookup<'a>,
    /// How long the whole call may take, from name lookup to the last byte; see [`GrantRequest::usual_limit`].
    pub limit: Duration,
}

/// What is shown for a token.
#[derive(Clone, Copy, Debug)]
pub enum GrantRequest<'a> {
    /// RFC 6749 §4.4.2.
    ClientCredentials,
    /// RFC 6749 §6.
    RefreshToken(&'a Secret),
    /// RFC 6749 §4.1.3.
    AuthorizationCode {
        /// The code from the callback.
        code: &'a Secret,
        /// The redirect address of the authorization request, byte for byte.
        redirect_uri: &'a str,
        /// The PKCE verifier (RFC 7636 §4.5), where a challenge was sent.
        verifier: Option<&'a Secret>,
    },
}

impl GrantRequest<'_> {
    /// The `grant_type` parameter.
    pub fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken(_) => "refresh_token",
            Self::AuthorizationCode { .. } => "authorization_code",
        }
    }

    /// Whether the call spends something that cannot be shown twice: a refresh token that may rotate, or a code.
    pub fn spends(&self) -> bool {
        !matches!(self, Self::ClientCredentials)
    }

    /// 30 s; 60 s for calls that spend something, since giving up early there leaves the outcome unknown.
    pub fn usual_limit(&self) -> Duration {
        Duration::from_secs(if self.spends() { 60 } else { 30 })
    }

    fn parameters(&self) -> Vec<(&str, &str)> {
        let mut parameters = vec![("grant_type", self.grant_type())];
        match self {
            Self::ClientCredentials => {}
            Self::RefreshToken(token) => parameters.push(("refresh_token", token.expose())),
            Self::AuthorizationCode { code, redirect_uri, verifier } => {
                parameters.push(("code", code.expose()));
                parameters.push(("redirect_uri", redirect_uri));
                parameters.extend(verifier.map(|verifier| ("code_verifier", verifier.expose())));
            }
        }
        parameters
    }
}

impl TokenRequest<'_> {
    /// The form, encoded. Order: grant, scope, client, then the endpoint's own parameters, of which one that names a
    /// parameter already there replaces it (RFC 6749 §3.2: none may appear twice).
    pub fn body(&self) -> Zeroizing<String> {
        let own = self.endpoint.params.iter().filter_map(|(name, template)| {
            Some((name.as_str(), Zeroizing::new(template.render(self.settings)?)))
        });
        let own: Vec<(&str, Zeroizing<String>)> = own.collect();
        let mut pairs = self.standard_parameters();
        for (name, value) in &own {
            match pairs.iter_mut().find(|(known, _)| known == name) {
                Some(pair) => pair.1 = value,
                None => pairs.push((name, value)),
            }
        }
        Zeroizing::new(form::encode_pairs(pairs))
    }

    /// The scope goes with client credentials only: a code carries the consent's (RFC 6749 §4.1.3), and a refresh
    /// without it keeps what was granted (§6).
    fn standard_parameters(&self) -> Vec<(&str, &str)> {
        let mut pairs = self.grant.parameters();
        if let (Some(scope), GrantRequest::ClientCredentials) = (&self.endpoint.scope, self.grant) {
            pairs.push(("scope", scope));
        }
        pairs.extend(self.client_parameters());
        pairs
    }

    /// What the form says of the client (RFC 6749 §2.3.1), here and wherever else it authenticates the same way.
    pub(super) fn client_parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let in_body = self.endpoint.client_auth == ClientAuth::Body;
        let id = (in_body || self.is_public()).then_some(("client_id", self.client_id));
        let secret = (in_body && !self.is_public()).then_some(("client_secret", self.client_secret.expose()));
        id.into_iter().chain(secret)
    }

    /// A public client (RFC 6749 §2.1) has no secret and names itself in the form (§3.2.1).
    fn is_public(&self) -> bool {
        self.client_secret.expose().is_empty()
    }

    /// The headers, `Host`, `User-Agent` and `Content-Length` excepted. A template with an unset setting leaves its
    /// header out. Values made of settings are marked sensitive.
    ///
    /// # Errors
    /// `Misconfigured` when a setting holds what no header can carry.
    pub fn headers(&self) -> Result<HeaderMap, TokenError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, template) in &self.endpoint.headers {
            if let Some(value) = template.render(self.settings) {
                let mut value = header_value(name, &value)?;
                value.set_sensitive(template.names_setting());
                headers.insert(name.clone(), value);
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(basic) = self.basic() {
            let mut value = header_value(&AUTHORIZATION, &format!("Basic {}", *basic))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// The credentials of HTTP Basic as RFC 6749 §2.3.1 wants them: id and secret are form-encoded first. Ids and secrets of
    /// unreserved characters, and that is nearly all of them, are the same either way, so servers that skip the decoding work
    /// too; for the others there is [`ClientAuth::BasicRaw`].
    fn basic(&self) -> Option<Zeroizing<String>> {
        let encode: fn(&str) -> String = match self.endpoint.client_auth {
            ClientAuth::Basic => form::encode,
            ClientAuth::BasicRaw => str::to_owned,
            ClientAuth::Body => return None,
        };
        let secret = Zeroizing::new(encode(self.client_secret.expose()));
        let pair = Zeroizing::new(format!("{}:{}", encode(self.client_id), *secret));
        (!self.is_public()).then(|| Zeroizing::new(STANDARD.encode(pair.as_bytes())))
    }

    /// Every secret that the call shows.
    pub(super) fn secrets(&self) -> Vec<Zeroizing<String>> {
        let mut secrets = vec![self.client_secret.expose()];
        match &self.grant {
            GrantRequest::ClientCredentials => {}
            GrantRequest::RefreshToken(token) => secrets.push(token.expose()),
            GrantRequest::AuthorizationCode { code, verifier, .. } => {
                secrets.push(code.expose());
                secrets.extend(verifier.map(Secret::expose));
            }
        }
        let secrets = secrets.into_iter().map(|secret| Zeroizing::new(secret.to_owned()));
        secrets.chain(self.basic()).collect()
    }
}

fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, TokenError> {
    HeaderValue::from_str(value).map_err(|_| {
        let detail =
            format!("a setting in the token request's header `{name}` holds what no header can carry");
        TokenError::new(Class::Misconfigured, detail)
    })
}
