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

const fn later(section: &'static str, key: &'static str, what: &'static str, mend: &'static str) -> Later {
    Later { section, key, what, mend }
}

#[rustfmt::skip]
static TABLE: [Later; 7] = [
    later("", "connect", "`[connect]` has no effect in this version", "remove it: `marketgate login APP@SELLER` asks for consent on this machine"),
    later("", "notify", "`[notify]` has no effect in this version", "remove it"),
    later("proxy", "tls", "`proxy.tls` has no effect in this version", "remove it, and let something that speaks TLS stand in front"),
    later("callers.NAME", "allow", "`allow` has no effect in this version", "remove it: a caller with a key may call everything"),
    later("callers.NAME", "read_only", "`read_only` has no effect in this version", "remove it: a caller with a key may call everything"),
    later("proxy.listener", "tls", "`tls` has no effect in this version", "remove it, and let something that speaks TLS stand in front"),
    later(LISTEN, "unix:", "addresses that begin with `unix:` have no effect in this version", "write an address such as \"127.0.0.1:8080\""),
];

/// The entry for a key of a section, when it has no effect yet.
pub(super) fn find(section: &str, key: &str) -> Option<&'static Later> {
    TABLE.iter().find(|later| later.section == section && later.key == key)
}
