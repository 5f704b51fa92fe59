//! Where and how sellers are asked for their consent. The one rule: what is asked for comes from the configuration, and no
//! parameter is said twice.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    consent::Consent,
    http_url::HttpUrl,
    preset::Keys,
    profile_error::{ProfileError, fault},
};

/// The authorization endpoint (RFC 6749 §3.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Authorization {
    /// Its URL, without its query.
    pub url: HttpUrl,
    /// Parameters that the configured URL brings along, encoded as they were written; none of them is one of ours.
    pub query: Option<String>,
    /// Parameters of `authorize_params`; none of them is one of ours or stands in the query.
    pub params: Vec<(String, String)>,
    /// The `scope` parameter, already joined; None leaves it out.
    pub scope: Option<String>,
    /// Whether it is an authentication request as well (OpenID Connect Core §3.1.2.1): `openid` is among the scopes.
    pub openid: bool,
    /// Whether a PKCE challenge is sent (RFC 7636).
    pub pkce: bool,
    /// How the request is spelled.
    pub dialect: Dialect,
    /// The issuer identifier that a callback's `iss` must equal (RFC 9207 §2.4); None where it is not known.
    pub issuer: Option<String>,
    /// Whether every callback must hold `iss`.
    pub iss_promised: bool,
}

/// How an authorization request is spelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// As RFC 6749 §4.1.1 and RFC 7636 §4.3 write it.
    #[default]
    Standard,
    /// Walmart's: camelCase names, `clientType` for the market, a nonce, no PKCE, no scope.
    Walmart,
}

/// Every parameter that we send, in either dialect.
const OURS: [&str; 12] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "responseType",
    "clientId",
    "redirectUri",
    "clientType",
    "nonce",
];

impl Authorization {
    pub(super) fn read(
        title: &str,
        keys: &Keys,
        consent: &Consent,
        issuer: Option<String>,
    ) -> Result<Self, Vec<ProfileError>> {
        let mut faults = Vec::new();
        let pkce = keys.pkce.unwrap_or(true);
        if pkce && consent.dialect == Dialect::Walmart {
            faults.push(fault("pkce", format!("{title} knows no PKCE: remove `pkce`")));
        }
        faults.extend(check_params(&keys.authorize_params, keys.authorize_url.as_deref()));
        match endpoint(keys.authorize_url.as_deref()) {
            Ok((url, query)) if faults.is_empty() => Ok(Self {
                url,
                query,
                params: keys.authorize_params.clone().into_iter().collect(),
                scope: keys.scope(),
                openid: keys.scopes.iter().flatten().any(|scope| scope == "openid"),
                pkce,
                dialect: consent.dialect,
                iss_promised: consent.iss_promised && issuer.is_some(),
                issuer,
            }),
            Ok(_) => Err(faults),
            Err(message) => {
                faults.push(fault("authorize_url", message));
                Err(faults)
            }
        }
    }
}

fn endpoint(text: Option<&str>) -> Result<(HttpUrl, Option<String>), String> {
    let text = text.ok_or(
        "`authorize_url` is missing: write where sellers give their consent, such as \"https://auth.example.com/authorize\"",
    )?;
    if text.contains('#') {
        return Err("an authorization endpoint has no fragment (RFC 6749 §3.1): end it before the `#`".into());
    }
    let url = without_query(text).parse()?;
    let query = text.split_once('?').map(|(_, query)| query.trim_end_matches('&'));
    let query = query.filter(|query| !query.is_empty());
    query.map_or(Ok(()), check_query)?;
    Ok((url, query.map(str::to_owned)))
}

fn check_query(query: &str) -> Result<(), String> {
    if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a query holds visible ASCII characters only: encode the others".into());
    }
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find_map(|(name, value)| misplaced(&name, &value)).map_or(Ok(()), Err)
}

/// Why a parameter cannot be part of an authorization request of ours.
fn misplaced(name: &str, value: &str) -> Option<String> {
    match name {
        "response_mode" => unreadable_mode(value),
        "response_type" | "responseType" => {
            Some(format!("Marketgate sends `{name}=code` itself, the only kind of answer it reads: remove it here"))
        }
        "nonce" => Some(
            "a nonce must be another one for every login: Marketgate sends one where `scopes` has \"openid\", so remove it \
             here"
                .to_owned(),
        ),
        "request" | "request_uri" => {
            Some(format!("Marketgate makes no signed or pushed requests (RFC 9101, RFC 9126): remove `{name}`"))
        }
        _ if OURS.contains(&name) => Some(format!(
            "Marketgate sends `{name}` itself, and a parameter may be sent only once: remove it here"
        )),
        _ => None,
    }
}

/// How an answer must come back so that it can be read (OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode).
fn unreadable_mode(mode: &str) -> Option<String> {
    let why = match mode {
        "query" | "form_post" | "" => return None,
        "fragment" => "what stands after `#` stays in the browser",
        _ if mode == "jwt" || mode.ends_with(".jwt") => "it does not read signed answers (JARM)",
        _ => "it does not know that one",
    };
    Some(format!(
        "Marketgate cannot read answers by `response_mode={mode}`: {why}; write \"query\" or \"form_post\", or leave it out"
    ))
}

/// No parameter may be said twice (RFC 6749 §3.1).
fn check_params(params: &BTreeMap<String, String>, authorize_url: Option<&str>) -> Vec<ProfileError> {
    let query = authorize_url.and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let written: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
    let mistake = |(name, value): (&String, &String)| {
        let key = format!("authorize_params.{name}");
        if name.is_empty() {
            return Some(fault(&key, "a parameter without a name".to_owned()));
        }
        if let Some(message) = misplaced(name, value) {
            return Some(fault(&key, message));
        }
        let twice = written.iter().any(|other| other == name);
        twice.then(|| fault(&key, format!("`{name}` stands in the query of `authorize_url` too: remove one")))
    };
    params.iter().filter_map(mistake).collect()
}

/// A URL up to its query.
pub(super) fn without_query(text: &str) -> &str {
    text.split_once('?').map_or(text, |(url, _)| url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{GrantKind, Preset, Profile};

    fn build(provider: &str, over: Keys) -> Result<Profile, String> {
        let over = Keys { grant: over.grant.or(Some(GrantKind::AuthorizationCode)), ..over };
        let own = provider == "generic";
        let url = |path: &str| own.then(|| format!("https://api.test{path}"));
        let over = Keys { api: url(""), token_url: url("/token"), ..over };
        let preset = Preset::named(provider).unwrap();
        let built = Profile::build(provider, preset, "production", "", &over);
        built.map_err(|faults| {
            faults.iter().map(|f| format!("{}: {}", f.key, f.message)).collect::<Vec<_>>().join("\n")
        })
    }

    fn at(authorize_url: &str) -> Result<Authorization, String> {
        let over = Keys { authorize_url: Some(authorize_url.to_owned()), ..Keys::default() };
        build("generic", over).map(|profile| profile.authorization.unwrap())
    }

    #[test]
    fn a_consent_needs_a_place_to_be_given_at() {
        let error = build("generic", Keys::default()).unwrap_err();
        assert!(error.starts_with("authorize_url: `authorize_url` is missing"), "{error}");
        let with = |grant| build("generic", Keys { grant: Some(grant), ..Keys::default() }).unwrap();
        assert_eq!(with(GrantKind::ClientCredentials).authorization, None);
        assert_eq!(with(GrantKind::Static).authorization, None);
    }

    #[test]
    fn an_authorize_url_keeps_its_query_but_may_not_say_what_we_say() {
        let kept = at("https://auth.test/authorize?prompt=consent&audience=a%26b").unwrap();
        assert_eq!(kept.url.to_string(), "https://auth.test/authorize");
        assert_eq!(kept.query.as_deref(), Some("prompt=consent&audience=a%26b"));
        assert_eq!(at("https://auth.test/authorize?").unwrap().query, None);
        assert!(at("https://auth.test/authorize?response_mode=form_post").is_ok());
        let params = BTreeMap::from([("response_mode".to_owned(), "fragment".to_owned())]);
        let authorize_url = Some("https://auth.test/a".to_owned());
        let error = build("generic", Keys { authorize_params: params, authorize_url, ..Keys::default() })
            .unwrap_err();
        assert!(error.starts_with("authorize_params.response_mode: "), "{error}");
        for (bad, why) in [
            ("https://auth.test/a?state=x", "`state`"),
            ("https://auth.test/a?b=c&client%5Fid=x", "`client_id`"),
            ("https://auth.test/a#frag", "fragment"),
            ("https://auth.test/a?b#frag", "fragment"),
            ("https://auth.test/a?nonce=1", "another one for every login"),
            ("https://auth.test/a?response_type=token", "`response_type=code` itself"),
            ("https://auth.test/a?response_mode=fragment", "after `#` stays in the browser"),
            ("https://auth.test/a?response_mode=jwt", "signed answers"),
            ("https://auth.test/a?response_mode=form_post.jwt", "signed answers"),
            ("https://auth.test/a?request=eyJ", "signed or pushed requests"),
            ("https://auth.test/a?b=c d", "visible ASCII"),
            ("http://auth.test/a", "loopback"),
            ("https://u:p@auth.test/a", "user name"),
            ("auth.test/a", "no URL"),
        ] {
            let error = at(bad).unwrap_err();
            assert!(error.starts_with("authorize_url: ") && error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn scopes_are_joined_as_the_marketplace_joins_them() {
        let scopes = || Some(vec!["products_read".to_owned(), "products_write".to_owned()]);
        let depop = build("depop", Keys { scopes: scopes(), ..Keys::default() }).unwrap();
        assert_eq!(depop.authorization.unwrap().scope.as_deref(), Some("products_read+products_write"));
        let authorize_url = Some("https://auth.test/a".to_owned());
        let generic = build("generic", Keys { scopes: scopes(), authorize_url, ..Keys::default() }).unwrap();
        assert_eq!(generic.authorization.unwrap().scope.as_deref(), Some("products_read products_write"));
    }

    #[test]
    fn pkce_is_on_unless_said_otherwise_and_never_for_walmart() {
        assert!(at("https://auth.test/a").unwrap().pkce);
        let error = build("walmart-marketplace", Keys { pkce: Some(true), ..Keys::default() }).unwrap_err();
        assert!(error.contains("pkce: Walmart Marketplace knows no PKCE"), "{error}");
    }
}
