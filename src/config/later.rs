//! What the design of `proxy.toml` names and this version does not do yet. The one rule: such a thing is an error that
//! says so, never a setting that silently does nothing; the version that serves it removes its line here.

/// One thing that has no effect yet.
#[derive(Debug)]
pub(super) struct Later {
    section: &'static str,
    key: &'static str,
    /// What the operator wrote, as a sentence's beginning.
    pub what: &'static str,
    /// What mends it.
    pub mend: &'static str,
}

/// The section under which values of `listen` stand in the table.
pub(super) const LISTEN: &str = "value of listen";

/// The section under which grants stand in the table.
pub(super) const GRANT: &str = "value of grant";

const fn later(section: &'static str, key: &'static str, what: &'static str, mend: &'static str) -> Later {
    Later { section, key, what, mend }
}

const NO_EFFECT_FOR_GRANTS: &str = "remove it: it belongs to grants that need a seller's consent";

#[rustfmt::skip]
static TABLE: [Later; 14] = [
    later("", "store", "`[store]` has no effect in this version", "remove it: no grant that is served yet needs a store"),
    later("", "connect", "`[connect]` has no effect in this version", "remove it: sellers cannot give consent yet"),
    later("", "notify", "`[notify]` has no effect in this version", "remove it"),
    later("proxy", "tls", "`proxy.tls` has no effect in this version", "remove it, and let something that speaks TLS stand in front"),
    later("admin", "keys", "`admin.keys` has no effect in this version", "remove it: the admin door listens on loopback only"),
    later("callers.NAME", "allow", "`allow` has no effect in this version", "remove it: a caller with a key may call everything"),
    later("callers.NAME", "read_only", "`read_only` has no effect in this version", "remove it: a caller with a key may call everything"),
    later("apps.NAME", "redirect_uri", "`redirect_uri` has no effect in this version", NO_EFFECT_FOR_GRANTS),
    later("apps.NAME", "authorize_url", "`authorize_url` has no effect in this version", NO_EFFECT_FOR_GRANTS),
    later("apps.NAME", "pkce", "`pkce` has no effect in this version", NO_EFFECT_FOR_GRANTS),
    later("apps.NAME", "reuse_window", "`reuse_window` has no effect in this version", NO_EFFECT_FOR_GRANTS),
    later("proxy.listener", "tls", "`tls` has no effect in this version", "remove it, and let something that speaks TLS stand in front"),
    later(LISTEN, "unix:", "addresses that begin with `unix:` have no effect in this version", "write an address such as \"127.0.0.1:8080\""),
    later(GRANT, "authorization_code", "grants that need a seller's consent are not served by this version yet", "remove the app for now"),
];

/// The entry for a key of a section, when it has no effect yet.
pub(super) fn find(section: &str, key: &str) -> Option<&'static Later> {
    TABLE.iter().find(|later| later.section == section && later.key == key)
}

/// The keys of a section that have no effect yet.
pub(super) fn keys(section: &str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |later| later.section == section).map(|later| later.key)
}
