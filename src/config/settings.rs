//! The configuration as the rest of the program sees it: checked, complete, defaults filled in. The one rule: beyond
//! this shape nobody validates.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

pub use super::app::{Account, App, Client, Credentials};
pub use crate::provider::ForwardProxy;
use crate::{
    names::{AccountName, AppName},
    secret::{Secret, SecretSource},
};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[proxy]`, `[[proxy.listener]]`.
    pub proxy: ProxySettings,
    /// `[admin]`.
    pub admin: AdminSettings,
    /// `[store]`; None when nothing must survive the process: then it keeps no file at all.
    pub store: Option<StoreSettings>,
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
    /// Host names beside [`OWN_HOSTS`] by which callers may address it. Where callers have keys and none are listed here, any.
    pub allowed_hosts: Vec<String>,
    /// Web origins (`https://app.example.com`) whose pages may call it.
    pub allowed_origins: Vec<String>,
    /// Whether every request is logged.
    pub access_log: bool,
    /// How long connections are still accepted once the program was told to stop, and is not ready any more.
    pub drain_delay: Duration,
}

/// What a listener on loopback is called by. At these names, and at no other without TLS, browsers mark what a page causes.
pub const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

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
    /// Where it listens: loopback, as long as there are no keys.
    pub address: SocketAddr,
    /// `[admin.keys.NAME]`. When there is any, everybody must show one.
    pub keys: Vec<AdminKey>,
}

/// One key to the admin door.
#[derive(Clone)]
pub struct AdminKey {
    /// `[admin.keys.NAME]`.
    pub name: String,
    /// SHA-256 of the key: the key itself is not kept.
    pub sha256: [u8; 32],
    /// What its holder may do, as it is written; see [`AdminKey::may`].
    pub allow: Vec<Permission>,
}

impl AdminKey {
    /// Whether its holder may do that, be it written or implied.
    pub fn may(&self, wanted: Permission) -> bool {
        self.allow.iter().any(|granted| granted.implies(wanted))
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminKey({}, {:?})", self.name, self.allow)
    }
}

/// What the holder of an admin key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// See the accounts and their states.
    AccountsRead,
    /// Add, change and remove accounts. Implies [`Permission::AccountsRead`] and [`Permission::ConsentsWrite`].
    AccountsWrite,
    /// Take grants out: whoever holds them can spend them.
    AccountsExport,
    /// Begin and complete consents.
    ConsentsWrite,
    /// End the program.
    Stop,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 5] =
        [Self::AccountsRead, Self::AccountsWrite, Self::AccountsExport, Self::ConsentsWrite, Self::Stop];

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountsRead => "accounts:read",
            Self::AccountsWrite => "accounts:write",
            Self::AccountsExport => "accounts:export",
            Self::ConsentsWrite => "consents:write",
            Self::Stop => "stop",
        }
    }

    /// Whether who has this one has `other` too.
    pub fn implies(self, other: Self) -> bool {
        self == other
            || (self == Self::AccountsWrite && matches!(other, Self::AccountsRead | Self::ConsentsWrite))
    }
}

/// What must survive the process, and where.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The database, an absolute path. It need not exist yet.
    pub path: PathBuf,
    /// What seals the secrets in it.
    pub key: StoreKey,
    /// Keys that sealed it before: what they sealed can still be read.
    pub old_keys: Vec<SecretSource>,
    /// How long to wait for another process to let go of it; zero: not at all.
    pub wait_for_lock: Duration,
}

/// Where the store's key is: 32 bytes in base64 (RFC 4648 §4, padded).
#[derive(Debug, Clone)]
pub enum StoreKey {
    /// In a file, an absolute path. It need not exist as long as the database does not.
    File(PathBuf),
    /// In the configuration or an environment variable; known to be well-formed.
    Fixed(Secret),
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
    /// How long a connection is kept that nobody uses.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            token_wait: Duration::from_secs(10),
            // Load balancers before marketplaces close theirs after 60 s (the default of AWS and of nginx's upstream side): to be
            // earlier spares the race of a request with their farewell.
            idle: Duration::from_secs(55),
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
