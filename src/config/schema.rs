//! Every section and key of `proxy.toml`. The one rule: a key that does not stand here does not exist, for the reader, for
//! the suggestions it makes and for `proxy.toml.example`.

use crate::provider::Preset;

/// The keys of one section.
#[derive(Debug)]
pub(super) struct Shape {
    /// As the file writes it, with `NAME` where the operator chooses.
    pub name: &'static str,
    /// Its keys and the sections below it.
    pub keys: &'static [&'static str],
}

pub(super) static ROOT: Shape = Shape {
    name: "",
    keys: &["proxy", "admin", "store", "upstream", "limits", "callers", "metrics", "log", "apps"],
};

pub(super) static PROXY: Shape = Shape {
    name: "proxy",
    keys: &["listen", "allowed_hosts", "allowed_origins", "access_log", "drain_delay", "listener"],
};

pub(super) static LISTENER: Shape = Shape { name: "proxy.listener", keys: &["listen", "app", "account"] };

pub(super) static ADMIN: Shape = Shape { name: "admin", keys: &["listen", "keys"] };

pub(super) static ADMIN_KEY: Shape = Shape { name: "admin.keys.NAME", keys: &["key", "sha256", "allow"] };

pub(super) static STORE: Shape = Shape { name: "store", keys: &["path", "key", "old_keys", "wait_for_lock"] };

pub(super) static UPSTREAM: Shape =
    Shape { name: "upstream", keys: &["ca_file", "proxy_url", "no_proxy", "timeouts", "limits"] };

pub(super) static TIMEOUTS: Shape =
    Shape { name: "upstream.timeouts", keys: &["connect", "head", "stall", "token_wait", "idle"] };

pub(super) static UPSTREAM_LIMITS: Shape =
    Shape { name: "upstream.limits", keys: &["connections", "queue", "replay_body"] };

pub(super) static LIMITS: Shape = Shape { name: "limits", keys: &["head", "headers", "body", "connections"] };

pub(super) static CALLER: Shape = Shape { name: "callers.NAME", keys: &["key", "sha256"] };

pub(super) static METRICS: Shape = Shape { name: "metrics", keys: &["per_account"] };

pub(super) static LOG: Shape = Shape { name: "log", keys: &["level", "format"] };

pub(super) static APP: Shape = Shape {
    name: "apps.NAME",
    keys: &[
        "provider",
        "environment",
        "simulator",
        "credentials",
        "client_id",
        "client_secret",
        "api_key",
        "settings",
        "accounts",
        "grant",
        "api",
        "token_url",
        "authorize_url",
        "redirect_uri",
        "client_auth",
        "scopes",
        "scope_separator",
        "pkce",
        "token_header",
        "token_prefix",
        "headers",
        "token_request_headers",
        "token_request_params",
        "token_budget",
        "token_calls",
        "refresh_at",
        "replay",
        "reuse_window",
        "token_type",
        "token_lifetime",
        "token_members",
        "token_paths",
        "grant_ended",
        "expired_when",
        "refresh_kills_token",
        "refresh_token_lifetime",
        "authorize_params",
        "issuer",
        "revoke_url",
        "userinfo_url",
        "http2",
        "proxy_url",
        "client_certificate",
        "plaintext",
    ],
};

/// One refusal of a token endpoint in the list `grant_ended`.
pub(super) static GRANT_ENDED: Shape =
    Shape { name: "apps.NAME.grant_ended", keys: &["status", "error", "contains"] };

/// One answer of an API in the list `expired_when`.
pub(super) static EXPIRED_WHEN: Shape =
    Shape { name: "apps.NAME.expired_when", keys: &["status", "contains"] };

/// The files of `client_certificate`.
pub(super) static CLIENT_CERTIFICATE: Shape =
    Shape { name: "apps.NAME.client_certificate", keys: &["cert", "key"] };

pub(super) static ACCOUNT: Shape =
    Shape { name: "apps.NAME.accounts.SELLER", keys: &["client_id", "client_secret", "api_key", "settings"] };

/// Every section, in the order of the example.
pub(super) static SHAPES: [&Shape; 15] = [
    &ROOT,
    &PROXY,
    &LISTENER,
    &ADMIN,
    &ADMIN_KEY,
    &STORE,
    &UPSTREAM,
    &TIMEOUTS,
    &UPSTREAM_LIMITS,
    &LIMITS,
    &CALLER,
    &METRICS,
    &LOG,
    &APP,
    &ACCOUNT,
];

/// Keys whose values no finding ever shows.
const SECRET: [&str; 6] = ["client_secret", "api_key", "key", "keys", "old_keys", "sha256"];

/// Whether the key's value was given out by somebody, and may have been copied badly.
pub(super) fn is_credential(key: &str) -> bool {
    key == "client_id" || SECRET.contains(&key)
}

/// Where a value may come from instead of standing in the file.
const ELSEWHERE: [&str; 2] = ["env", "file"];

/// Whether the key's value may be shown. A key that is not known may be a misspelt secret, so its value may not.
pub(super) fn shows(key: &str) -> bool {
    let shapes = || SHAPES.into_iter().chain([&GRANT_ENDED, &EXPIRED_WHEN, &CLIENT_CERTIFICATE]);
    let known = || shapes().any(|shape| shape.keys.contains(&key)) || is_setting(key);
    !SECRET.contains(&key) && (ELSEWHERE.contains(&key) || known())
}

/// Whether the name is a key of any section, a secret one included.
pub(super) fn is_key(name: &str) -> bool {
    SECRET.contains(&name) || shows(name)
}

/// Whether some marketplace has a setting of that name.
pub(super) fn is_setting(key: &str) -> bool {
    every_setting().any(|setting| setting == key)
}

/// The settings of all marketplaces.
pub(super) fn every_setting() -> impl Iterator<Item = &'static str> {
    Preset::names().filter_map(Preset::named).flat_map(|preset| preset.settings.iter().map(String::as_str))
}
