//! A preset with an app's own keys laid over it, checked. The one rule: what stands in a [`Profile`] needs no second look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{
    answers::{AnswerRules, MemberPath, TOKEN_MEMBERS, TokenTypes},
    authorization::Authorization,
    consent::{Identity, Lifetimes, Place},
    environment::{guard_environment, is_a_vendors, unknown_environment},
    http_url::HttpUrl,
    preset::{Keys, Preset},
    profile_error::{ProfileError, fault},
    template::Template,
    transport::Transport,
    values::{Budget, ClientAuth, ExpirySignal, GrantKind, Replay, duration},
};

/// How long after its first byte was sent a refresh token may be shown again, where nobody says otherwise.
const USUAL_REUSE_WINDOW: Duration = Duration::from_secs(3);

/// The longest window known among authorization servers is ten minutes; an hour is a slip of the hand.
const LONGEST_REUSE_WINDOW: Duration = Duration::from_secs(3600);

/// A longer lifetime is a slip of the hand.
const LONGEST_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);

/// Where and how tokens are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEndpoint {
    /// Its URL.
    pub url: HttpUrl,
    /// How the client authenticates there.
    pub client_auth: ClientAuth,
    /// The `scope` parameter, already joined; None leaves it out.
    pub scope: Option<String>,
    /// Headers of every token request.
    pub headers: Vec<(HeaderName, Template)>,
    /// Further form parameters.
    pub params: Vec<(String, Template)>,
    /// What it allows; None when nothing is known.
    pub budget: Option<Budget>,
    /// How many calls may be under way there at once; None: as many as usual.
    pub at_once: Option<usize>,
    /// How its answers are read.
    pub answers: AnswerRules,
}

/// Everything about an app's marketplace.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The preset's name.
    pub provider: String,
    /// The environment's name.
    pub environment: String,
    /// How tokens are obtained.
    pub grant: GrantKind,
    /// Base URL of the API.
    pub api: HttpUrl,
    /// Where tokens are asked for; None for static keys.
    pub token_endpoint: Option<TokenEndpoint>,
    /// The request header that carries the token.
    pub token_header: HeaderName,
    /// What stands before the token in it.
    pub token_prefix: String,
    /// Headers of every API request.
    pub headers: Vec<(HeaderName, Template)>,
    /// Paths below the API base at which the vendor issues tokens.
    pub token_paths: Vec<String>,
    /// Answers of the API beside 401 that mean that the token has expired.
    pub expired_when: Vec<ExpirySignal>,
    /// Whether the old access token ends with a refresh; None: that is to be found out.
    pub refresh_kills_token: Option<bool>,
    /// At which fraction of its life a token is refreshed.
    pub refresh_at: f64,
    /// Which requests may be repeated after a 401.
    pub replay: Replay,
    /// Where sellers consent; there exactly when the grant is an authorization code.
    pub authorization: Option<Authorization>,
    /// How long after its first byte was sent a refresh token whose answer was lost may be shown once more.
    pub reuse_window: Duration,
    /// Whether a refresh may bring a new refresh token and spend the old one.
    pub rotates: bool,
    /// How long consents and refresh tokens last.
    pub lifetimes: Lifetimes,
    /// How to learn whom a token belongs to; None where there is no way.
    pub identity: Option<Identity>,
    /// Path below the API ([`HttpUrl::below`]) of a harmless GET: a 401 disproves a token. A 403 does not: the token may
    /// lack that scope alone.
    pub probe: Option<String>,
    /// What that GET carries beside what every request of the API does.
    pub probe_headers: Vec<(HeaderName, Template)>,
    /// Whether the client authenticates there as it does at the token endpoint, beside the token.
    pub probe_as_client: bool,
    /// Where refresh tokens are revoked (RFC 7009); None where the vendor has no such endpoint.
    pub revoke_url: Option<HttpUrl>,
    /// Where the server says whose a token is, for tokens that do not; None where there is no such place.
    pub userinfo_url: Option<HttpUrl>,
}

impl Profile {
    /// Lays `over` (the app's keys) over what `preset` says of `environment`, and checks the whole.
    ///
    /// # Errors
    /// Every mistake found, each with the key it belongs to.
    pub fn build(
        provider: &str,
        preset: &Preset,
        environment: &str,
        simulator: &str,
        over: &Keys,
    ) -> Result<Self, Vec<ProfileError>> {
        let Some(place) = preset.environment(environment, simulator) else {
            return Err(vec![fault("environment", unknown_environment(preset, environment))]);
        };
        let own = preset.defaults.clone().overlaid(&place);
        let mut keys = own.clone().overlaid(over);
        // What the app's own address says goes before what the preset adds to it.
        let (_, query) =
            over.authorize_url.as_deref().and_then(|url| url.split_once('?')).unwrap_or_default();
        for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
            if !over.authorize_params.contains_key(name.as_ref()) {
                keys.authorize_params.remove(name.as_ref());
            }
        }
        let place = preset.consent.place(environment, simulator, &own, &keys);
        let mut checks = Checks {
            faults: guard_environment(preset, environment, over),
            plaintext: keys.plaintext.unwrap_or(false),
            transport: Arc::new(Transport { spellings: spellings(&keys), ..over.transport.clone() }),
        };
        let profile = checks.profile(provider, preset, environment, keys, place);
        match profile {
            Some(profile) if checks.faults.is_empty() => Ok(profile),
            _ => Err(checks.faults),
        }
    }
}

/// Names of header fields as they are written, where that is not in lower case.
fn spellings(keys: &Keys) -> Vec<(HeaderName, String)> {
    let token_header = keys.token_header.as_deref().unwrap_or("Authorization");
    let names = keys.headers.keys().map(String::as_str).chain([token_header]);
    let spelled = names.filter(|name| name.bytes().any(|byte| byte.is_ascii_uppercase()));
    spelled
        .filter_map(|name| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, name.to_owned())))
        .collect()
}

/// Whether everybody on the way can read what goes there.
fn is_in_the_clear(url: &HttpUrl) -> bool {
    !url.tls && !url.is_loopback()
}

/// Collects faults while the parts are read.
struct Checks {
    faults: Vec<ProfileError>,
    /// Whether `http://` may lead to another machine.
    plaintext: bool,
    transport: Arc<Transport>,
}

impl Checks {
    fn profile(
        &mut self,
        provider: &str,
        preset: &Preset,
        environment: &str,
        keys: Keys,
        place: Place,
    ) -> Option<Profile> {
        let grant = preset.grant(&keys)?;
        if !preset.grants.contains(&grant) {
            let offered = preset.grants.iter().map(|g| g.as_str()).collect::<Vec<_>>().join("`, `");
            self.faults.push(fault("grant", format!("{} offers `{offered}`", preset.title)));
        }
        let api = self.url("api", keys.api.as_deref());
        let token_endpoint = self.token_endpoint(grant, &keys);
        let authorization = self.authorization(grant, preset, &keys, place.issuer);
        let revoke_url = place.revoke_url.and_then(|url| self.url("revoke_url", Some(&url)));
        let userinfo_url = keys.userinfo_url.as_deref().and_then(|url| self.url("userinfo_url", Some(url)));
        let reuse_window = self.reuse_window(keys.reuse_window.as_deref());
        let refresh_token_life =
            self.lifetime("refresh_token_lifetime", keys.refresh_token_lifetime.as_deref());
        let token_header =
            self.header_name("token_header", keys.token_header.as_deref().unwrap_or("Authorization"));
        let token_prefix = self.prefix(keys.token_prefix.unwrap_or_default());
        let headers = self.headers("headers", &keys.headers);
        if let Some((name, _)) = headers.iter().find(|(name, _)| Some(name) == token_header.as_ref()) {
            let message = format!("`{name}` would be ignored: the token goes there (`token_header`)");
            self.faults.push(fault(&format!("headers.{name}"), message));
        }
        let refresh_at = self.refresh_at(keys.refresh_at.unwrap_or(0.7));
        Some(Profile {
            provider: provider.to_owned(),
            environment: environment.to_owned(),
            grant,
            api: api?,
            token_endpoint,
            token_header: token_header?,
            token_prefix,
            headers,
            token_paths: keys.token_paths.unwrap_or_else(|| preset.token_paths.clone()),
            expired_when: keys.expired_when.unwrap_or_default(),
            refresh_kills_token: keys.refresh_kills_token,
            refresh_at,
            replay: keys.replay.unwrap_or(Replay::All),
            authorization,
            reuse_window,
            rotates: preset.consent.rotates.unwrap_or(true),
            lifetimes: preset.consent.lifetimes(refresh_token_life),
            identity: preset.consent.identity.clone(),
            probe: preset.consent.probe.clone(),
            probe_headers: self.headers("probe_headers", &preset.consent.probe_headers),
            probe_as_client: preset.consent.probe_as_client,
            revoke_url,
            userinfo_url,
        })
    }

    fn authorization(
        &mut self,
        grant: GrantKind,
        preset: &Preset,
        keys: &Keys,
        issuer: Option<String>,
    ) -> Option<Authorization> {
        if grant != GrantKind::AuthorizationCode {
            return None;
        }
        let authorization = Authorization::read(&preset.title, keys, &preset.consent, issuer);
        authorization.map_err(|faults| self.faults.extend(faults)).ok()
    }

    fn reuse_window(&mut self, text: Option<&str>) -> Duration {
        let Some(text) = text else { return USUAL_REUSE_WINDOW };
        let window = duration(text).filter(|window| *window <= LONGEST_REUSE_WINDOW);
        window.unwrap_or_else(|| {
            let message =
                format!("`{text}` is no window: write one between \"0s\" and \"1h\", such as \"3s\"");
            self.faults.push(fault("reuse_window", message));
            USUAL_REUSE_WINDOW
        })
    }

    fn url(&mut self, key: &str, text: Option<&str>) -> Option<HttpUrl> {
        let Some(text) = text else {
            self.faults.push(fault(
                key,
                format!("`{key}` is missing: write the URL, such as \"https://api.example.com\""),
            ));
            return None;
        };
        let url = HttpUrl::read(text, self.plaintext).and_then(|url| {
            match is_in_the_clear(&url) && is_a_vendors(&url) {
                true => {
                    Err(format!("`{text}` is a marketplace's own host, which is asked over https:// only"))
                }
                false => Ok(url.by(&self.transport)),
            }
        });
        url.map_err(|message| self.faults.push(fault(key, message))).ok()
    }

    fn token_endpoint(&mut self, grant: GrantKind, keys: &Keys) -> Option<TokenEndpoint> {
        if grant == GrantKind::Static {
            return None;
        }
        let url = self.url("token_url", keys.token_url.as_deref());
        let budget = keys.token_budget.as_deref().map(str::parse).transpose();
        let budget =
            budget.map_err(|message| self.faults.push(fault("token_budget", message))).ok().flatten();
        self.refuse_ignored(keys);
        let headers = self.headers("token_request_headers", &keys.token_request_headers);
        let params = self.templates("token_request_params", &keys.token_request_params);
        Some(TokenEndpoint {
            url: url?,
            client_auth: keys.client_auth.unwrap_or(ClientAuth::Basic),
            scope: keys.scope(),
            headers,
            params,
            budget,
            at_once: keys.token_calls,
            answers: self.answers(keys),
        })
    }

    fn answers(&mut self, keys: &Keys) -> AnswerRules {
        let token_type = match keys.token_type.as_deref() {
            None => TokenTypes::Usual,
            Some(any) if any.eq_ignore_ascii_case("any") => TokenTypes::Any,
            Some(kind) => TokenTypes::Only(kind.to_owned()),
        };
        let mut members = BTreeMap::new();
        for (name, path) in &keys.token_members {
            let key = format!("token_members.{name}");
            let known = TOKEN_MEMBERS.iter().find(|(known, _)| known == name);
            match (known, path.parse::<MemberPath>()) {
                (Some((_, member)), Ok(path)) => _ = members.insert(*member, path),
                (_, Err(message)) => self.faults.push(fault(&key, message)),
                (None, _) => {
                    let known = TOKEN_MEMBERS.map(|(known, _)| known).join("`, `");
                    let message =
                        format!("`{name}` is not a member of a token answer: write one of `{known}`");
                    self.faults.push(fault(&key, message));
                }
            }
        }
        AnswerRules {
            token_type,
            token_lifetime: self.lifetime("token_lifetime", keys.token_lifetime.as_deref()),
            members,
            grant_ended: keys.grant_ended.clone().unwrap_or_default(),
        }
    }

    fn lifetime(&mut self, key: &str, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let life = duration(text).filter(|life| !life.is_zero() && *life <= LONGEST_LIFETIME);
        if life.is_none() {
            let message = format!("`{text}` is not a lifetime: write one up to \"3650d\", such as \"1h\"");
            self.faults.push(fault(key, message));
        }
        life
    }

    /// Headers of a token request that Marketgate writes itself.
    fn refuse_ignored(&mut self, keys: &Keys) {
        let basic = keys.client_auth != Some(ClientAuth::Body);
        for name in keys.token_request_headers.keys() {
            let why = match name.to_ascii_lowercase().as_str() {
                "content-type" => "a token request is a form, and says so itself",
                "authorization" if basic => {
                    "with client_auth = \"basic\" the client is named there: write client_auth = \"body\", or remove it"
                }
                _ => continue,
            };
            let key = format!("token_request_headers.{name}");
            self.faults.push(fault(&key, format!("`{name}` would be ignored: {why}")));
        }
    }

    fn headers(&mut self, key: &str, table: &BTreeMap<String, String>) -> Vec<(HeaderName, Template)> {
        let templates = self.templates(key, table);
        let named = |(name, template): (String, Template)| {
            Some((self.header_name(&format!("{key}.{name}"), &name)?, template))
        };
        templates.into_iter().filter_map(named).collect()
    }

    fn templates(&mut self, key: &str, table: &BTreeMap<String, String>) -> Vec<(String, Template)> {
        let parse = |(name, text): (&String, &String)| match text.parse::<Template>() {
            Ok(template) => Some((name.clone(), template)),
            Err(error) => {
                self.faults.push(fault(&format!("{key}.{name}"), error.to_string()));
                None
            }
        };
        table.iter().filter_map(parse).collect()
    }

    fn header_name(&mut self, key: &str, name: &str) -> Option<HeaderName> {
        const FRAMING: [&str; 6] =
            ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade"];
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if !FRAMING.contains(&name.as_str()) => Some(name),
            Ok(_) => {
                self.faults.push(fault(key, format!("`{name}` frames the message and cannot be set")));
                None
            }
            Err(_) => {
                self.faults.push(fault(key, format!("`{name}` is no header name")));
                None
            }
        }
    }

    fn prefix(&mut self, prefix: String) -> String {
        if HeaderValue::from_str(&prefix).is_err() {
            self.faults
                .push(fault("token_prefix", "a prefix may hold visible ASCII characters and spaces only"));
        }
        prefix
    }

    fn refresh_at(&mut self, fraction: f64) -> f64 {
        if !(0.1..=0.95).contains(&fraction) {
            self.faults.push(fault(
                "refresh_at",
                format!("{fraction} is no fraction of a lifetime between 0.1 and 0.95"),
            ));
        }
        fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::preset::SIMULATOR;

    fn build(provider: &str, environment: &str, over: &Keys) -> Result<Profile, Vec<ProfileError>> {
        Profile::build(provider, Preset::named(provider).unwrap(), environment, "http://127.0.0.1:8090", over)
    }

    fn complaint(provider: &str, environment: &str, over: &Keys) -> String {
        let faults = build(provider, environment, over).unwrap_err();
        faults.iter().map(|f| format!("{}: {}", f.key, f.message)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_environment_of_every_preset_stands() {
        for name in Preset::names().filter(|name| *name != "generic") {
            let preset = Preset::named(name).unwrap();
            for environment in preset.environments.keys().map(String::as_str).chain([SIMULATOR]) {
                build(name, environment, &Keys::default())
                    .unwrap_or_else(|e| panic!("{name} {environment}: {e:?}"));
            }
        }
    }

    #[test]
    fn a_reuse_window_is_three_seconds_unless_said_otherwise() {
        let with = |text: Option<&str>| {
            build("depop", "production", &Keys { reuse_window: text.map(str::to_owned), ..Keys::default() })
        };
        assert_eq!(with(None).unwrap().reuse_window, Duration::from_secs(3));
        assert_eq!(with(Some("0s")).unwrap().reuse_window, Duration::ZERO);
        assert_eq!(with(Some("10m")).unwrap().reuse_window, Duration::from_secs(600));
        for bad in ["3", "soon", "2h", ""] {
            assert!(with(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_override_into_another_environment_is_refused() {
        let sandbox = Keys { api: Some("https://sandbox.walmartapis.com".into()), ..Keys::default() };
        assert!(complaint("walmart-marketplace", "production", &sandbox).contains("environment `sandbox`"));
        let daas = Keys {
            api: Some(
                "https://developer.api.us.walmart.com/api-proxy/service/supplychain/transportation/v1/daas/"
                    .into(),
            ),
            ..Keys::default()
        };
        assert!(complaint("walmart-golocal", "sandbox", &daas).contains("environment `production`"));
    }

    #[test]
    fn no_spelling_of_a_vendor_url_leads_out_of_the_environment() {
        let base = "https://developer.api.us.walmart.com/api-proxy/service/supplychain/transportation/v1";
        for path in
            ["//daas", "", "/sbx-daas/../daas", "/%64aas", "/daas", "/sbx-daass", "/sbx-daas/%2e%2e/daas"]
        {
            let api = Some(format!("{base}{path}"));
            assert!(build("walmart-golocal", "sandbox", &Keys { api, ..Keys::default() }).is_err(), "{path}");
        }
        let below = Keys { api: Some(format!("{base}/sbx-daas/clients")), ..Keys::default() };
        assert!(build("walmart-golocal", "sandbox", &below).is_ok());
        let written_out = Keys {
            api: Some("https://marketplace.walmartapis.com".into()),
            token_url: Some("https://collector.example.net/t".into()),
            ..Keys::default()
        };
        assert!(complaint("walmart-marketplace", "production", &written_out).contains("move `api`"));
        let other =
            Keys { token_url: Some("https://sandbox.walmartapis.com/v3/token/x".into()), ..Keys::default() };
        assert!(complaint("walmart-marketplace", "production", &other).contains("environment `sandbox`"));
        let simulated = Keys { api: Some("https://marketplace.walmartapis.com".into()), ..Keys::default() };
        assert!(build("walmart-marketplace", "simulator", &simulated).is_err());
    }

    #[test]
    fn a_host_of_ones_own_must_be_given_for_api_and_tokens() {
        let api = Some("https://mock.test".to_owned());
        let alone = Keys { api: api.clone(), ..Keys::default() };
        assert!(complaint("walmart-marketplace", "production", &alone).contains("move `token_url`"));
        let both = Keys { api, token_url: Some("https://mock.test/token".into()), ..Keys::default() };
        assert!(build("walmart-marketplace", "production", &both).is_ok());
    }
}
