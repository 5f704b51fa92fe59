//! The data files under `presets/`, one a marketplace. The one rule: a fifth marketplace is a TOML file and one line here.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::{
    answers::GrantEnd,
    consent::Consent,
    transport::Transport,
    values::{ClientAuth, ExpirySignal, GrantKind, Replay},
};

/// Every preset: its name and its file.
const FILES: [(&str, &str); 6] = [
    ("walmart-marketplace", include_str!("presets/walmart-marketplace.toml")),
    ("walmart-supplier", include_str!("presets/walmart-supplier.toml")),
    ("walmart-golocal", include_str!("presets/walmart-golocal.toml")),
    ("depop", include_str!("presets/depop.toml")),
    ("wallapop", include_str!("presets/wallapop.toml")),
    ("generic", include_str!("presets/generic.toml")),
];

/// The environment that stands for the simulated marketplaces.
pub const SIMULATOR: &str = "simulator";

/// Where the simulator listens unless an app's `simulator` key says otherwise.
pub const DEFAULT_SIMULATOR: &str = "http://127.0.0.1:8090";

/// What is known of one marketplace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// For people: `Walmart Marketplace`.
    pub title: String,
    /// Grants the marketplace offers, the usual one first.
    pub grants: Vec<GrantKind>,
    /// Settings an account may carry beside its credentials (`market`, `partner_id`), for templates.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Values that a setting is known to have, where others are very likely mistakes.
    #[serde(default)]
    pub known_values: BTreeMap<String, Vec<String>>,
    /// How long a token usually lives, in seconds: for planning, never for judging a token.
    #[serde(default)]
    pub lifetime_seconds: Option<u32>,
    /// What an app may override.
    #[serde(default)]
    pub defaults: Keys,
    /// The vendor's environments by name, without the simulator.
    #[serde(default)]
    pub environments: BTreeMap<String, Keys>,
    /// Endpoints of the simulated marketplace; `{simulator}` stands for its origin.
    #[serde(default)]
    pub simulator: Keys,
    /// Paths below the API base at which the vendor issues tokens: answered by the proxy with a placeholder.
    #[serde(default)]
    pub token_paths: Vec<String>,
    /// What is known of sellers' consents.
    #[serde(default)]
    pub consent: Consent,
}

/// The keys that a preset sets and an app may override. Every one optional: layers are laid over each other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// How tokens are obtained.
    pub grant: Option<GrantKind>,
    /// Base URL of the API.
    pub api: Option<String>,
    /// The token endpoint (RFC 6749 §3.2).
    pub token_url: Option<String>,
    /// The authorization endpoint (RFC 6749 §3.1); it may have a query.
    pub authorize_url: Option<String>,
    /// How the client authenticates at the token endpoint (RFC 6749 §2.3.1).
    pub client_auth: Option<ClientAuth>,
    /// Scopes to ask for (RFC 6749 §3.3).
    pub scopes: Option<Vec<String>>,
    /// What joins the scopes; a space by the standard.
    pub scope_separator: Option<String>,
    /// Whether the authorization request uses PKCE (RFC 7636).
    pub pkce: Option<bool>,
    /// The request header that carries the token.
    pub token_header: Option<String>,
    /// What stands before the token in it, its space included.
    pub token_prefix: Option<String>,
    /// Headers of every API request, as templates.
    pub headers: BTreeMap<String, String>,
    /// Headers of every token request, as templates.
    pub token_request_headers: BTreeMap<String, String>,
    /// Further form parameters of every token request, as templates.
    pub token_request_params: BTreeMap<String, String>,
    /// What the token endpoint allows: `CALLS/WINDOW`.
    pub token_budget: Option<String>,
    /// How many token calls may be under way at once.
    pub token_calls: Option<usize>,
    /// At which fraction of its life a token is refreshed.
    pub refresh_at: Option<f64>,
    /// Which requests may be repeated after a 401.
    pub replay: Option<Replay>,
    /// How long after the first byte sent a refresh token may be shown again, as a duration.
    pub reuse_window: Option<String>,
    /// Which `token_type` is accepted: `any`, or a type.
    pub token_type: Option<String>,
    /// How long a token lives where the answer does not say, as a duration.
    pub token_lifetime: Option<String>,
    /// Where the members of a token answer lie, by the names of [`super::TOKEN_MEMBERS`].
    pub token_members: BTreeMap<String, String>,
    /// Refusals of the token endpoint that mean that the grant is over.
    pub grant_ended: Option<Vec<GrantEnd>>,
    /// Paths below the API base at which clients ask for tokens: answered by the proxy.
    pub token_paths: Option<Vec<String>>,
    /// Answers of the API beside 401 that mean that the token has expired.
    pub expired_when: Option<Vec<ExpirySignal>>,
    /// Whether the old access token ends with a refresh.
    pub refresh_kills_token: Option<bool>,
    /// How long a refresh token lives where the answer does not say, as a duration.
    pub refresh_token_lifetime: Option<String>,
    /// Further parameters of the authorization request.
    pub authorize_params: BTreeMap<String, String>,
    /// The authorization server's issuer identifier (RFC 8414 §2).
    pub issuer: Option<String>,
    /// The revocation endpoint (RFC 7009 §2).
    pub revoke_url: Option<String>,
    /// Where the server says whose a token is (OpenID Connect Core §5.3).
    pub userinfo_url: Option<String>,
    /// Whether `http://` may lead to another machine.
    pub plaintext: Option<bool>,
    /// How its hosts are reached; no file says so.
    #[serde(skip)]
    pub transport: Transport,
}

impl Keys {
    /// These keys with `over`'s laid on top; maps are merged by name.
    #[must_use]
    pub fn overlaid(mut self, over: &Self) -> Self {
        macro_rules! take {
            ($($key:ident),*) => { $( if over.$key.is_some() { self.$key.clone_from(&over.$key); } )* };
        }
        take!(grant, api, token_url, authorize_url, client_auth, scopes, scope_separator, pkce, token_header);
        take!(
            token_prefix,
            token_budget,
            token_calls,
            refresh_at,
            replay,
            reuse_window,
            token_type,
            token_lifetime,
            grant_ended
        );
        take!(
            token_paths,
            expired_when,
            refresh_kills_token,
            refresh_token_lifetime,
            issuer,
            revoke_url,
            userinfo_url,
            plaintext
        );
        self.transport.clone_from(&over.transport);
        merge(&mut self.headers, &over.headers);
        merge(&mut self.token_request_headers, &over.token_request_headers);
        merge(&mut self.token_request_params, &over.token_request_params);
        merge(&mut self.token_members, &over.token_members);
        merge(&mut self.authorize_params, &over.authorize_params);
        self
    }

    /// The `scope` parameter; None when no scope is asked for.
    pub fn scope(&self) -> Option<String> {
        let separator = self.scope_separator.as_deref().unwrap_or(" ");
        self.scopes.as_ref().filter(|scopes| !scopes.is_empty()).map(|scopes| scopes.join(separator))
    }
}

/// Header names are case-insensitive, so an override in another case replaces, never doubles.
fn merge(under: &mut BTreeMap<String, String>, over: &BTreeMap<String, String>) {
    for (name, value) in over {
        under.retain(|known, _| !known.eq_ignore_ascii_case(name));
        under.insert(name.clone(), value.clone());
    }
}

static PRESETS: LazyLock<BTreeMap<&'static str, Preset>> = LazyLock::new(|| {
    let parse = |(name, text): &(&'static str, &str)| {
        // The files are part of the program and a test parses every one of them.
        #[allow(clippy::expect_used)]
        let preset = toml::from_str(text).expect("a preset file is well-formed");
        (*name, preset)
    };
    FILES.iter().map(parse).collect()
});

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.get(name)
    }

    /// Every preset's name, in the order people should see them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// The grant of an app with these keys: its own, else the marketplace's usual one.
    pub fn grant(&self, keys: &Keys) -> Option<GrantKind> {
        keys.grant.or_else(|| self.grants.first().copied())
    }

    /// The environment an app gets when it names none: the vendor's only one.
    pub fn only_environment(&self) -> Option<&str> {
        let mut names = self.environments.keys();
        names.next().filter(|_| names.next().is_none()).map(String::as_str)
    }

    /// What `environment` sets; for the simulator with `{simulator}` filled in.
    pub fn environment(&self, environment: &str, simulator: &str) -> Option<Keys> {
        if environment != SIMULATOR {
            return self.environments.get(environment).cloned();
        }
        let mut keys = self.simulator.clone();
        for url in [&mut keys.api, &mut keys.token_url, &mut keys.authorize_url].into_iter().flatten() {
            *url = at_simulator(url, simulator);
        }
        Some(keys)
    }
}

pub(super) fn at_simulator(url: &str, simulator: &str) -> String {
    url.replace("{simulator}", simulator.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_file_is_well_formed_and_has_a_simulated_form() {
        for name in Preset::names() {
            let preset = Preset::named(name).unwrap();
            assert!(!preset.grants.is_empty(), "{name}");
            let keys = preset.environment(SIMULATOR, "http://127.0.0.1:1/").unwrap();
            assert!(keys.api.unwrap().starts_with("http://127.0.0.1:1/"), "{name}");
        }
    }

    #[test]
    fn an_override_in_another_case_replaces_the_preset_header() {
        let mut under = BTreeMap::from([("WM_MARKET".to_owned(), "us".to_owned())]);
        merge(&mut under, &BTreeMap::from([("wm_market".to_owned(), "ca".to_owned())]));
        assert_eq!(under.into_iter().collect::<Vec<_>>(), [("wm_market".to_owned(), "ca".to_owned())]);
    }
}
