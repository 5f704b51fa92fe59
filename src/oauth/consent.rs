//! The URL at which a seller consents. The one rule: every value is encoded, so that the marketplace reads exactly what was
//! meant, the redirect address byte for byte.

use super::{form, pkce, request::Lookup};
use crate::{
    provider::{Authorization, Dialect},
    secret::Secret,
};

/// One authorization request (RFC 6749 §4.1.1).
#[derive(Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// Where to ask and how.
    pub authorization: &'a Authorization,
    /// The client's identifier.
    pub client_id: &'a str,
    /// Where the seller comes back to, byte for byte as it was registered.
    pub redirect_uri: &'a str,
    /// What ties the callback to this request: see [`super::state`].
    pub state: &'a Secret,
    /// The challenge (RFC 7636 §4.2): given exactly where [`Authorization::pkce`] says so.
    pub challenge: Option<&'a str>,
    /// A value used once: sent to Walmart, and with the scope `openid`.
    pub nonce: &'a str,
    /// The account's settings: Walmart's dialect asks for `market`.
    pub settings: &'a Lookup<'a>,
}

/// Why there is no place at which the seller could consent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// Walmart takes consents for some markets only.
    #[error(
        "sellers cannot consent for market `{0}`: set `market` to us, ca or mx, or use a key pair of the seller's own"
    )]
    Market(String),
}

impl AuthorizationRequest<'_> {
    /// The URL to open in the seller's browser. It holds the state: it is for the seller, not for a log.
    ///
    /// # Errors
    /// When the marketplace has no such page for the account's settings.
    pub fn url(&self) -> Result<String, ConsentError> {
        let parameters = match self.authorization.dialect {
            Dialect::Standard => self.standard(),
            Dialect::Walmart => self.walmart()?,
        };
        let ours = form::encode_pairs(parameters);
        let url = &self.authorization.url;
        // RFC 6749 §3.1: a query that the endpoint has already is kept.
        Ok(match &self.authorization.query {
            Some(query) => format!("{url}?{query}&{ours}"),
            None => format!("{url}?{ours}"),
        })
    }

    fn standard(&self) -> Vec<(&str, &str)> {
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
        ];
        parameters.extend(self.authorization.scope.as_deref().map(|scope| ("scope", scope)));
        let own = self.authorization.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // An empty one takes a preset's away.
        parameters.extend(own.filter(|(_, value)| !value.is_empty()));
        parameters.push(("state", self.state.expose()));
        if self.authorization.openid {
            parameters.push(("nonce", self.nonce));
        }
        if let Some(challenge) = self.challenge {
            parameters.push(("code_challenge", challenge));
            parameters.push(("code_challenge_method", pkce::METHOD));
        }
        parameters
    }

    fn walmart(&self) -> Result<Vec<(&str, &str)>, ConsentError> {
        Ok(vec![
            ("responseType", "code"),
            ("clientId", self.client_id),
            ("redirectUri", self.redirect_uri),
            ("clientType", self.client_type()?),
            ("nonce", self.nonce),
            ("state", self.state.expose()),
        ])
    }

    fn client_type(&self) -> Result<&'static str, ConsentError> {
        let market = (self.settings)("market").unwrap_or_default();
        match market.to_ascii_lowercase().as_str() {
            "" | "us" => Ok("seller"),
            "ca" => Ok("seller-ca"),
            "mx" => Ok("seller-mx"),
            _ => Err(ConsentError::Market(market.into_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::form_urlencoded;

    use super::*;
    use crate::provider::{GrantKind, Keys, Preset, Profile};

    const REDIRECT: &str = "http://localhost:8082/callback?from=a+b&x=%2F";

    fn authorization(provider: &str, over: Keys) -> Authorization {
        let own = |path: &str| (provider == "generic").then(|| format!("https://auth.test{path}"));
        let over = Keys {
            grant: Some(GrantKind::AuthorizationCode),
            api: own("/api"),
            token_url: own("/token"),
            ..over
        };
        let preset = Preset::named(provider).unwrap();
        Profile::build(provider, preset, "production", "", &over).unwrap().authorization.unwrap()
    }

    fn url(authorization: &Authorization, market: Option<&'static str>) -> Result<String, ConsentError> {
        let state = Secret::new("mg_state");
        AuthorizationRequest {
            authorization,
            client_id: "id 1&x",
            redirect_uri: REDIRECT,
            state: &state,
            challenge: authorization.pkce.then_some("chal-lenge_"),
            nonce: "nonce-1",
            settings: &|name| market.filter(|_| name == "market").map(Into::into),
        }
        .url()
    }

    #[test]
    fn depop_is_asked_with_scopes_joined_by_an_encoded_plus() {
        let scopes = Some(vec!["products_read".to_owned(), "products_write".to_owned()]);
        let depop = authorization("depop", Keys { scopes, ..Keys::default() });
        assert_eq!(
            url(&depop, None).unwrap(),
            "https://www.depop.com/settings/oauth/apps/?response_type=code&client_id=id+1%26x\
             &redirect_uri=http%3A%2F%2Flocalhost%3A8082%2Fcallback%3Ffrom%3Da%2Bb%26x%3D%252F\
             &scope=products_read%2Bproducts_write&state=mg_state\
             &code_challenge=chal-lenge_&code_challenge_method=S256"
        );
    }

    #[test]
    fn no_scope_and_no_pkce_leave_no_trace_and_a_query_of_the_endpoints_own_stays() {
        let keys = Keys {
            authorize_url: Some("https://auth.test/authorize?audience=a%20b".into()),
            pkce: Some(false),
            ..Keys::default()
        };
        assert_eq!(
            url(&authorization("generic", keys), None).unwrap(),
            "https://auth.test/authorize?audience=a%20b&response_type=code&client_id=id+1%26x\
             &redirect_uri=http%3A%2F%2Flocalhost%3A8082%2Fcallback%3Ffrom%3Da%2Bb%26x%3D%252F&state=mg_state"
        );
    }

    #[test]
    fn walmart_is_asked_in_its_own_spelling_for_each_market() {
        let walmart = authorization("walmart-marketplace", Keys::default());
        let expected = |client_type: &str| {
            format!(
                "https://login.account.wal-mart.com/authorize?responseType=code&clientId=id+1%26x\
                 &redirectUri=http%3A%2F%2Flocalhost%3A8082%2Fcallback%3Ffrom%3Da%2Bb%26x%3D%252F\
                 &clientType={client_type}&nonce=nonce-1&state=mg_state"
            )
        };
        for (market, client_type) in
            [(None, "seller"), (Some("us"), "seller"), (Some("CA"), "seller-ca"), (Some("mx"), "seller-mx")]
        {
            assert_eq!(url(&walmart, market).unwrap(), expected(client_type));
        }
        assert_eq!(url(&walmart, Some("cl")), Err(ConsentError::Market("cl".into())));
    }

    #[test]
    fn a_nonce_goes_with_openid_and_an_empty_parameter_takes_a_presets_away() {
        let scopes = Some(vec!["openid".to_owned()]);
        let authorize_params = [("prompt".to_owned(), String::new())].into();
        let keys = Keys { scopes, authorize_params, ..Keys::default() };
        let asked = url(&authorization("wallapop", keys), None).unwrap();
        assert!(asked.contains("&state=mg_state&nonce=nonce-1&") && !asked.contains("prompt"), "{asked}");
        let without = url(&authorization("wallapop", Keys::default()), None).unwrap();
        assert!(without.contains("&prompt=login&") && !without.contains("nonce"), "{without}");
    }

    proptest! {
        #[test]
        fn the_marketplace_reads_exactly_the_redirect_address(redirect_uri in "https?://[!-~]{1,60}") {
            let wallapop = authorization("wallapop", Keys::default());
            let state = Secret::new("s");
            let request = AuthorizationRequest {
                authorization: &wallapop,
                client_id: "id",
                redirect_uri: &redirect_uri,
                state: &state,
                challenge: Some("c"),
                nonce: "",
                settings: &|_| None,
            };
            let url = request.url().unwrap();
            let query = url.split_once('?').unwrap().1;
            let read: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(&read[2], &("redirect_uri".into(), redirect_uri.as_str().into()));
            prop_assert_eq!(&read[3], &("prompt".into(), "login".into()));
            prop_assert_eq!(read.len(), 7);
        }
    }
}
