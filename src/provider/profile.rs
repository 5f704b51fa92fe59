//! A preset with an app's own keys laid over it, checked. The one rule: what stands in a [`Profile`] needs no second look.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, uri::Authority};
use serde::Deserialize;

use super::{
    preset::{Keys, Preset, SIMULATOR},
    template::Template,
};

/// How tokens are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// RFC 6749 §4.4: the client's own credentials, no seller involved.
    ClientCredentials,
    /// RFC 6749 §4.1: a seller's consent, then refresh tokens.
    AuthorizationCode,
    /// A key that the marketplace gave out once; no token endpoint at all.
    Static,
}

impl GrantKind {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::Static => "static",
        }
    }
}

/// How the client authenticates at the token endpoint (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// HTTP Basic.
    Basic,
    /// `client_id` and `client_secret` in the form.
    Body,
}

/// Which requests may be repeated after a 401 with a fresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// All whose body is still whole in memory: a 401 means that nothing was executed.
    All,
    /// Only idempotent methods (RFC 9110 §9.2.2).
    Idempotent,
    /// None.
    Off,
}

/// An answer beside 401 that means "this token has expired".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpirySignal {
    /// Its HTTP status.
    pub status: u16,
    /// A text that its body holds.
    pub code: String,
}

/// What a token endpoint allows in any window of time. Written `CALLS/WINDOW`, such as `174/5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Calls in one window.
    pub calls: u32,
    /// The window's length.
    pub window: Duration,
}

impl FromStr for Budget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no budget: write calls and window, such as \"174/5m\"");
        let (calls, window) = text.split_once('/').ok_or_else(wrong)?;
        let calls = calls.trim().parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        let window = duration(window).filter(|w| !w.is_zero()).ok_or_else(wrong)?;
        Ok(Self { calls, window })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {} s", self.calls, self.window.as_secs())
    }
}

/// Reads `500ms`, `5s`, `10m`, `2h` or `30d`: a whole number and a unit.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// An `http` or `https` URL without userinfo, query or fragment; `http` on loopback only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Host without brackets, and the port.
    pub host: String,
    /// The port, the scheme's own when none was written.
    pub port: u16,
    /// Host and port as a `Host` header writes them (RFC 9110 §7.2).
    pub authority: Authority,
    /// The path, byte for byte as configured, a final `/` included.
    pub path: String,
}

impl FromStr for HttpUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let url: url::Url = text.parse().map_err(|e| format!("`{text}` is no URL: {e}"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("`{other}` is no scheme for an API: write https://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a user name or password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() || text.contains(['?', '#']) {
            return Err(format!("`{text}` must end with its path: no query, no fragment"));
        }
        let host = url.host().ok_or_else(|| format!("`{text}` names no host"))?;
        if !tls && !is_loopback(&host) {
            return Err(format!(
                "`{text}`: http:// is for loopback only, or tokens cross the network in the clear"
            ));
        }
        let authority_text = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let authority = authority_text.parse().map_err(|_| format!("`{text}` names no host"))?;
        let bare_host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: bare_host, port, authority, path: written_path(text) })
    }
}

/// The path as it was written: the `url` crate resolves dots and encodes, which would not be byte for byte.
fn written_path(text: &str) -> String {
    let after_scheme = text.trim().split_once("://").map_or("", |(_, rest)| rest);
    after_scheme.find('/').map_or(String::new(), |slash| after_scheme[slash..].to_owned())
}

fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
        url::Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

impl HttpUrl {
    /// `scheme://authority`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// The path without a final `/`: what a request's own path is appended to.
    pub fn base_path(&self) -> &str {
        self.path.trim_end_matches('/')
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

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
    /// Answers beside 401 that mean "this token has expired".
    pub expiry_signals: Vec<ExpirySignal>,
    /// At which fraction of its life a token is refreshed.
    pub refresh_at: f64,
    /// Which requests may be repeated after a 401.
    pub replay: Replay,
}

/// A key whose value cannot stand. `key` names it as the configuration does, so that the mistake can be pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// The app's key; for entries of a table `headers.NAME`.
    pub key: String,
    /// What is wrong and what mends it.
    pub message: String,
}

fn fault(key: &str, message: impl Into<String>) -> ProfileError {
    ProfileError { key: key.to_owned(), message: message.into() }
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
        let keys = preset.defaults.clone().overlaid(&place).overlaid(over);
        let mut checks = Checks { faults: guard_environment(preset, environment, over) };
        let profile = checks.profile(provider, preset, environment, keys);
        match profile {
            Some(profile) if checks.faults.is_empty() => Ok(profile),
            _ => Err(checks.faults),
        }
    }
}

fn unknown_environment(preset: &Preset, environment: &str) -> String {
    let names =
        preset.environments.keys().map(String::as_str).chain([SIMULATOR]).collect::<Vec<_>>().join("`, `");
    format!("{} has no environment `{environment}`: write one of `{names}`", preset.title)
}

/// The environment guard: an override must not reach into another environment of the same vendor, where keys differ and
/// mistakes cost real money. A host of the operator's own must be given for both the API and the tokens.
fn guard_environment(preset: &Preset, environment: &str, over: &Keys) -> Vec<ProfileError> {
    let mut faults = Vec::new();
    for (key, url) in [("api", &over.api), ("token_url", &over.token_url)] {
        let Some(url) = url.as_deref().and_then(|u| u.parse::<HttpUrl>().ok()) else { continue };
        if let Some(other) = other_environment_of(preset, environment, key, &url) {
            let message = format!(
                "`{url}` belongs to {}'s environment `{other}`, but this app says `{environment}`: \
                 change `environment` instead",
                preset.title
            );
            faults.push(fault(key, message));
        }
    }
    if faults.is_empty() && over.grant != Some(GrantKind::Static) && !preset.environments.is_empty() {
        faults.extend(lone_override(preset, environment, over));
    }
    faults
}

fn other_environment_of<'a>(
    preset: &'a Preset,
    environment: &str,
    key: &str,
    url: &HttpUrl,
) -> Option<&'a str> {
    let place = |keys: &Keys| {
        let text = if key == "api" { keys.api.as_deref() } else { keys.token_url.as_deref() };
        text.and_then(|text| text.parse::<HttpUrl>().ok())
    };
    let same_place = |known: &HttpUrl| {
        known.host == url.host && (known.base_path() == url.base_path() || known.path.len() <= 1)
    };
    let own = preset.environments.get(environment).and_then(place);
    if own.as_ref().is_some_and(|own| own.host == url.host && own.base_path() == url.base_path()) {
        return None;
    }
    let mut others = preset.environments.iter().filter(|(name, _)| *name != environment);
    others
        .find(|(_, keys)| place(keys).is_some_and(|known| same_place(&known)))
        .map(|(name, _)| name.as_str())
}

/// One of the two URLs moved to a foreign host while the other stayed with the vendor: tokens of one place for the other.
fn lone_override(preset: &Preset, environment: &str, over: &Keys) -> Option<ProfileError> {
    let own = preset.environments.get(environment)?;
    let (moved, stayed) = match (&over.api, &over.token_url) {
        (Some(api), None) => (("api", api, &own.api), "token_url"),
        (None, Some(token)) => (("token_url", token, &own.token_url), "api"),
        _ => return None,
    };
    let (key, now, before) = moved;
    let host = |text: &str| text.parse::<HttpUrl>().ok().map(|url| url.host);
    if host(now)? == host(before.as_deref()?)? {
        return None;
    }
    let message = format!(
        "`{now}` is another host than {}'s: override `{stayed}` too, so that tokens and API stay together",
        preset.title
    );
    Some(fault(key, message))
}

/// Collects faults while the parts are read.
struct Checks {
    faults: Vec<ProfileError>,
}

impl Checks {
    fn profile(&mut self, provider: &str, preset: &Preset, environment: &str, keys: Keys) -> Option<Profile> {
        let grant = keys.grant.or_else(|| preset.grants.first().copied())?;
        if !preset.grants.contains(&grant) {
            let offered = preset.grants.iter().map(|g| g.as_str()).collect::<Vec<_>>().join("`, `");
            self.faults.push(fault("grant", format!("{} offers `{offered}`", preset.title)));
        }
        let api = self.url("api", keys.api.as_deref());
        let token_endpoint = self.token_endpoint(grant, &keys);
        let token_header =
            self.header_name("token_header", keys.token_header.as_deref().unwrap_or("Authorization"));
        let token_prefix = self.prefix(keys.token_prefix.unwrap_or_default());
        let headers = self.headers("headers", &keys.headers);
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
            token_paths: preset.token_paths.clone(),
            expiry_signals: preset.expiry_signals.clone(),
            refresh_at,
            replay: keys.replay.unwrap_or(Replay::All),
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
        text.parse().map_err(|message: String| self.faults.push(fault(key, message))).ok()
    }

    fn token_endpoint(&mut self, grant: GrantKind, keys: &Keys) -> Option<TokenEndpoint> {
        if grant == GrantKind::Static {
            return None;
        }
        let url = self.url("token_url", keys.token_url.as_deref());
        let budget = keys.token_budget.as_deref().map(str::parse).transpose();
        let budget =
            budget.map_err(|message| self.faults.push(fault("token_budget", message))).ok().flatten();
        let separator = keys.scope_separator.as_deref().unwrap_or(" ");
        let scope =
            keys.scopes.as_ref().filter(|scopes| !scopes.is_empty()).map(|scopes| scopes.join(separator));
        let headers = self.headers("token_request_headers", &keys.token_request_headers);
        let params = self.templates("token_request_params", &keys.token_request_params);
        Some(TokenEndpoint {
            url: url?,
            client_auth: keys.client_auth.unwrap_or(ClientAuth::Basic),
            scope,
            headers,
            params,
            budget,
        })
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
    fn a_host_of_ones_own_must_be_given_for_api_and_tokens() {
        let api = Some("https://mock.test".to_owned());
        let alone = Keys { api: api.clone(), ..Keys::default() };
        assert!(complaint("walmart-marketplace", "production", &alone).contains("override `token_url` too"));
        let both = Keys { api, token_url: Some("https://mock.test/token".into()), ..Keys::default() };
        assert!(build("walmart-marketplace", "production", &both).is_ok());
    }

    #[test]
    fn http_is_for_loopback_only() {
        for good in
            ["http://127.0.0.1:8090/a/", "http://[::1]/", "http://localhost:1", "https://api.example.com"]
        {
            assert!(good.parse::<HttpUrl>().is_ok(), "{good}");
        }
        for bad in [
            "http://api.example.com",
            "ftp://x",
            "https://u:p@x/",
            "https://x/?a",
            "https://x/#a",
            "x",
            "https://",
        ] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_base_path_is_kept_byte_for_byte() {
        let url: HttpUrl = "https://x.test:8443/a%2Fb/../c/".parse().unwrap();
        assert_eq!((url.path.as_str(), url.base_path(), url.port), ("/a%2Fb/../c/", "/a%2Fb/../c", 8443));
        assert_eq!(url.authority.as_str(), "x.test:8443");
    }

    #[test]
    fn budgets_and_durations_are_read_with_their_units() {
        assert_eq!(
            "174/5m".parse::<Budget>().unwrap(),
            Budget { calls: 174, window: Duration::from_secs(300) }
        );
        for bad in ["174", "0/5m", "174/0s", "174/5", "x/5m", "174/5y", ""] {
            assert!(bad.parse::<Budget>().is_err(), "{bad}");
        }
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5"), None);
    }
}
