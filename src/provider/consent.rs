//! What a preset knows of a seller's consent beside the keys an app may override. The one rule: none of it is guessed, and
//! what is true of the vendor's own endpoints is not believed of anybody else's.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{
    authorization::{Dialect, without_query},
    http_url::HttpUrl,
    preset::{Keys, at_simulator},
};

const DAY: u64 = 86_400;

/// `[consent]` of a preset file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consent {
    /// How the authorization request is spelled.
    pub dialect: Dialect,
    /// Whether the vendor says that every callback names its issuer (RFC 9207 §3).
    pub iss_promised: bool,
    /// How many days a refresh token lives.
    pub refresh_token_days: Option<u32>,
    /// How many days a consent lasts, whatever is refreshed meanwhile.
    pub consent_days: Option<u32>,
    /// Whether a refresh brings a new refresh token; true unless the vendor says otherwise, since a token taken for one
    /// that stays is lost when it does not.
    pub rotates: Option<bool>,
    /// How to learn whom a token belongs to.
    pub identity: Option<Identity>,
    /// Path below the API of a harmless GET that proves a token.
    pub probe: Option<String>,
    /// Further headers of that GET, as templates.
    pub probe_headers: BTreeMap<String, String>,
    /// Whether the client authenticates there as it does at the token endpoint.
    pub probe_as_client: bool,
    /// What differs between environments, the simulator among them.
    pub places: BTreeMap<String, Place>,
}

/// What is true of the vendor's endpoints in one environment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    /// The authorization server's issuer identifier (RFC 8414 §2).
    pub issuer: Option<String>,
    /// The revocation endpoint (RFC 7009 §2).
    pub revoke_url: Option<String>,
}

/// How to learn whom a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Identity {
    /// From the claim `sub` of the access token (RFC 7519 §4.1.2), where that is a JWT.
    Subject,
    /// From what the API answers.
    Answer {
        /// Path of a GET below the API's base: see [`HttpUrl::below`].
        path: String,
        /// The member of the JSON object that names the seller.
        member: String,
    },
    /// From a parameter of the callback.
    Parameter {
        /// Its name.
        name: String,
        /// The account's setting that holds it from then on, because token calls need it.
        setting: Option<String>,
    },
}

/// How long a seller's consent carries, as far as the vendor says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long a refresh token lives from when it was given out.
    pub refresh_token: Option<Duration>,
    /// How long a consent lasts from when it was first given: no rotation extends it.
    pub consent: Option<Duration>,
}

impl Consent {
    /// `refresh_token`: what the app says of its refresh tokens.
    pub(super) fn lifetimes(&self, refresh_token: Option<Duration>) -> Lifetimes {
        let days = |days: u32| Duration::from_secs(u64::from(days) * DAY);
        let refresh_token = refresh_token.or(self.refresh_token_days.map(days));
        Lifetimes { refresh_token, consent: self.consent_days.map(days) }
    }

    /// What is true at `environment` of the endpoints that `keys` names: a host of the operator's own has neither the
    /// vendor's issuer, nor may it have its refresh tokens shown to the vendor's revocation endpoint.
    pub(super) fn place(&self, environment: &str, simulator: &str, own: &Keys, keys: &Keys) -> Place {
        let Place { issuer, revoke_url } = self.places.get(environment).cloned().unwrap_or_default();
        let authorize_stays = same_origin(own.authorize_url.as_deref(), keys.authorize_url.as_deref());
        let tokens_stay = same_origin(own.token_url.as_deref(), keys.token_url.as_deref());
        let issuer = issuer.filter(|_| authorize_stays && tokens_stay);
        let revoke_url = revoke_url.filter(|_| tokens_stay);
        let simulated = |url: Option<String>| url.map(|url| at_simulator(&url, simulator));
        Place {
            issuer: keys.issuer.clone().or_else(|| simulated(issuer)),
            revoke_url: keys.revoke_url.clone().or_else(|| simulated(revoke_url)),
        }
    }
}

fn same_origin(own: Option<&str>, now: Option<&str>) -> bool {
    let origin = |url: Option<&str>| Some(without_query(url?).parse::<HttpUrl>().ok()?.origin());
    own == now || origin(own) == origin(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{GrantKind, Preset, Profile, preset::SIMULATOR};

    fn profile(provider: &str, environment: &str, over: Keys) -> Profile {
        let over = Keys { grant: Some(GrantKind::AuthorizationCode), ..over };
        let preset = Preset::named(provider).unwrap();
        Profile::build(provider, preset, environment, "http://127.0.0.1:8090", &over).unwrap()
    }

    fn days(days: u64) -> Option<Duration> {
        Some(Duration::from_secs(days * DAY))
    }

    #[test]
    fn wallapop_names_its_issuer_and_revokes() {
        let realm = "https://iam.wallapop.com/realms/wallapop-connect";
        let wallapop = profile("wallapop", "production", Keys::default());
        let authorization = wallapop.authorization.unwrap();
        assert_eq!(authorization.issuer.as_deref(), Some(realm));
        assert!(authorization.iss_promised && authorization.pkce && wallapop.rotates);
        let revoke = format!("{realm}/protocol/openid-connect/revoke");
        assert_eq!(wallapop.revoke_url.unwrap().to_string(), revoke);
        assert_eq!(wallapop.lifetimes, Lifetimes { refresh_token: days(180), consent: None });
        assert_eq!(wallapop.identity, Some(Identity::Subject));

        let realm = "http://127.0.0.1:8090/wallapop/realms/wallapop-connect";
        let simulated = profile("wallapop", SIMULATOR, Keys::default());
        assert_eq!(simulated.authorization.unwrap().issuer.as_deref(), Some(realm));
        assert!(simulated.revoke_url.unwrap().to_string().starts_with(realm));
    }

    #[test]
    fn a_host_of_ones_own_is_neither_the_vendors_issuer_nor_revoked_at_the_vendor() {
        let own = |path: &str| Some(format!("https://mock.test{path}"));
        let moved =
            Keys { api: own(""), token_url: own("/token"), authorize_url: own("/auth"), ..Keys::default() };
        let moved = profile("wallapop", "production", moved);
        assert_eq!((moved.authorization.unwrap().issuer, moved.revoke_url), (None, None));
        let page = Keys { authorize_url: own("/auth?prompt=login"), ..Keys::default() };
        let page = profile("wallapop", "production", page);
        assert!(page.authorization.unwrap().issuer.is_none() && page.revoke_url.is_some());
    }

    #[test]
    fn depops_consent_ends_a_year_after_it_was_given_and_the_shop_says_whose_it_is() {
        let depop = profile("depop", "production", Keys::default());
        assert_eq!(depop.lifetimes, Lifetimes { refresh_token: None, consent: days(365) });
        let Some(Identity::Answer { path, member }) = depop.identity else { panic!("no answer names it") };
        assert_eq!(depop.api.below(&path).to_string(), "https://partnerapi.depop.com/api/v1/shop/");
        assert_eq!((member.as_str(), depop.rotates, depop.revoke_url), ("id", true, None));
    }

    #[test]
    fn walmart_keeps_its_refresh_token_and_names_the_seller_in_the_callback() {
        let walmart = profile("walmart-marketplace", "production", Keys::default());
        assert!(!walmart.rotates);
        assert_eq!(walmart.lifetimes, Lifetimes { refresh_token: days(365), consent: None });
        let setting = Some("partner_id".to_owned());
        assert_eq!(walmart.identity, Some(Identity::Parameter { name: "sellerId".into(), setting }));
        let authorization = walmart.authorization.unwrap();
        assert_eq!((authorization.dialect, authorization.pkce), (Dialect::Walmart, false));
    }

    #[test]
    fn what_presets_say_of_consent_can_be_used() {
        for name in Preset::names() {
            let preset = Preset::named(name).unwrap();
            let consent = &preset.consent;
            let answer = match &consent.identity {
                Some(Identity::Answer { path, .. }) => Some(path),
                Some(Identity::Parameter { setting: Some(setting), .. }) => {
                    assert!(preset.settings.contains(setting), "{name}");
                    None
                }
                _ => None,
            };
            for path in consent.probe.iter().chain(answer) {
                assert!(format!("https://api.test{path}").parse::<HttpUrl>().is_ok(), "{name}: {path}");
                assert!(path.starts_with('/'), "{name}: {path}");
            }
            for environment in consent.places.keys() {
                assert!(
                    environment == SIMULATOR || preset.environments.contains_key(environment),
                    "{name} has no {environment}"
                );
            }
            assert!(consent.places.is_empty() || consent.places.contains_key(SIMULATOR), "{name}");
        }
    }
}
