//! The configuration as the rest of the program sees it: checked, complete, defaults filled in. The one rule: beyond
//! this shape nobody validates.

use std::{
    borrow::Cow, collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration,
};

use crate::{
    names::{AccountId, AccountName, AppName},
    provider::{HttpUrl, Profile},
    secret::{Fingerprint, Secret, SecretSource},
};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[proxy]`, `[[proxy.listener]]`.
    pub proxy: ProxySettings,
    /// `[admin]`.
    pub admin: AdminSettings,
    /// `[upstream]`.
    pub upstream: UpstreamSettings,
    /// `[limits]`.
    pub limits: Limits,
    /// `[callers.NAME]`. When there is any, every caller must show a key.
    pub callers: Vec<Caller>,
    /// `[metrics]`.
    pub metrics: MetricsSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[apps.NAME]`.
    pub apps: BTreeMap<AppName, Arc<App>>,
}

/// The proxy door.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// Its listeners, at least one.
    pub listeners: Vec<ProxyListener>,
    /// Host names beside `localhost`, `127.0.0.1` and `[::1]` by which callers may address it.
    pub allowed_hosts: Vec<String>,
    /// Web origins (`https://app.example.com`) whose pages may call it.
    pub allowed_origins: Vec<String>,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// One listener of the proxy door.
#[derive(Debug, Clone)]
pub struct ProxyListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// `[[proxy.listener]]`: the account it stands for; its requests carry no prefix.
    pub fixed: Option<FixedRoute>,
}

/// What a listener of its own stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedRoute {
    /// The app.
    pub app: AppName,
    /// The account, when it is named.
    pub account: Option<AccountName>,
}

/// The admin door.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Where it listens: loopback, as long as there are no admin keys.
    pub address: SocketAddr,
}

/// `[upstream]`.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// PEM file of certificate authorities trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Forward proxy for API and token calls alike.
    pub proxy_url: Option<ForwardProxy>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How much may be open or held at once.
    pub limits: UpstreamLimits,
}

/// An HTTP proxy on the way out: `http://[user:password@]host:port`.
#[derive(Clone)]
pub struct ForwardProxy {
    /// Its host, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization` (RFC 9110 §11.7.2), when the URL holds credentials.
    pub authorization: Option<crate::secret::Secret>,
}

impl fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardProxy({}:{})", self.host, self.port)
    }
}

/// Time limits. None of them bounds a whole exchange: bodies may take as long as they keep moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name lookup, TCP and TLS together.
    pub connect: Duration,
    /// From the request's end to the response head.
    pub head: Duration,
    /// Between two pieces of a body, in either direction.
    pub stall: Duration,
    /// How long a request waits for a token.
    pub token_wait: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            token_wait: Duration::from_secs(10),
        }
    }
}

/// `[upstream.limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connections per upstream origin.
    pub connections: usize,
    /// Requests that may wait for a connection, per origin.
    pub queue: usize,
    /// Bytes of a request body held in memory for a repeat after a 401.
    pub replay_body: usize,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { connections: 256, queue: 1024, replay_body: 64 * 1024 }
    }
}

/// `[limits]`: what a caller may ask of the proxy door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head.
    pub head: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request body; None: no limit.
    pub body: Option<u64>,
    /// Connections of callers at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 64 * 1024, headers: 100, body: None, connections: 10_000 }
    }
}

/// One program that may call: its name and the SHA-256 of its key.
#[derive(Clone)]
pub struct Caller {
    /// `[callers.NAME]`.
    pub name: String,
    /// SHA-256 of the key: the key itself is not kept.
    pub key_sha256: [u8; 32],
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", self.name)
    }
}

/// `[metrics]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsSettings {
    /// Whether metrics carry the account's name.
    pub per_account: bool,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A tracing filter such as `info` or `marketgate=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}

/// One entry `[apps.NAME]`.
#[derive(Debug, Clone)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Its marketplace.
    pub profile: Profile,
    /// Its accounts by name: `[apps.NAME.accounts.SELLER]`, and `default` for an app with credentials of its own.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
}

/// One account with what it needs to get a token.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its full name.
    pub id: AccountId,
    /// What it shows to get a token.
    pub credentials: Credentials,
    /// `market`, `partner_id`, …: the app's settings with the account's laid over them.
    pub settings: BTreeMap<String, String>,
}

/// What an account shows to get a token.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// An OAuth 2.0 client (RFC 6749 §2.3).
    Client {
        /// Its identifier.
        id: String,
        /// Its secrets in the order they are tried: more than one while a secret is being rotated.
        secrets: Vec<SecretSource>,
    },
    /// A static key, used as the token.
    Key(SecretSource),
}

impl Credentials {
    /// What the secrets are now; a file that cannot be read counts as empty.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        let sources = match self {
            Self::Client { secrets, .. } => secrets.as_slice(),
            Self::Key(source) => std::slice::from_ref(source),
        };
        let fingerprint =
            |source: &SecretSource| source.read().unwrap_or_else(|_| Secret::new("")).fingerprint();
        sources.iter().map(fingerprint).collect()
    }
}

impl Account {
    /// The value a template's placeholder has for this account.
    ///
    /// A secret read from a file is read at each call, since it may have changed.
    pub fn setting(&self, name: &str) -> Option<Cow<'_, str>> {
        match (name, &self.credentials) {
            ("account", _) => Some(self.id.account.as_str().into()),
            ("uuid", _) => Some(uuid::Uuid::new_v4().to_string().into()),
            ("client_id", Credentials::Client { id, .. }) => Some(id.into()),
            ("client_secret", Credentials::Client { secrets, .. }) => {
                secrets.first()?.read().ok().map(|secret| secret.expose().to_owned().into())
            }
            _ => self.settings.get(name).map(Into::into),
        }
    }
}

impl App {
    /// The account that a request means when it names none: `default`, else the only one.
    pub fn implicit_account(&self) -> Option<&Arc<Account>> {
        let default = self.accounts.get(AccountName::implicit().as_str());
        default.or_else(|| self.accounts.values().next().filter(|_| self.accounts.len() == 1))
    }

    /// The API's origin and base path.
    pub fn api(&self) -> &HttpUrl {
        &self.profile.api
    }
}
