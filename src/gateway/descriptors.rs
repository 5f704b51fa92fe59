//! File descriptors: how many the process may have, and how they are shared out. Token calls, the store, the admin listener and
//! the log have theirs before any caller has one.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{config::Settings, grant::meter::USUAL_CALLS, http::registry};

/// Store, log, name lookups and what libraries open.
const FILES: u64 = 64;

/// What one worker has beside its sockets: epoll, its wake-up, signals.
const EACH_WORKER: u64 = 4;

/// Connections of the admin listener, and as many of the control socket.
const ADMIN_CONNECTIONS: u64 = 256;

/// The least of each kind, however few descriptors there are.
const LEAST: u64 = 8;

/// Raises the soft limit of open files to the hard one, and says what it is now; None: there is none.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    if raised { maximum } else { current }
}

/// What a configuration would like to have open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Connections of callers.
    callers: u64,
    /// Connections to each API.
    upstream: u64,
    /// APIs.
    origins: u64,
    /// What is reserved for everything else, the admin listener left out.
    others: u64,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// Of callers.
    pub(super) callers: usize,
    /// To each API.
    pub(super) upstream: usize,
    /// Of the admin listener; of the control socket as many again.
    pub(super) admin: usize,
}

impl Wanted {
    pub(super) fn of(settings: &Settings, workers: usize) -> Self {
        let origins: BTreeSet<_> = settings.apps.values().map(|app| app.api().origin()).collect();
        let listeners = settings.proxy.listeners.len() as u64;
        Self {
            callers: settings.limits.connections as u64,
            upstream: settings.upstream.limits.connections as u64,
            origins: origins.len() as u64,
            others: FILES + token_calls(settings) + (workers as u64 + 1) * (EACH_WORKER + listeners),
        }
    }

    /// Shares out what there is. Where that is too little, API connections keep a quarter of it, since nothing can be sent without
    /// them, and the rest is cut.
    pub(super) fn share(self, there: Option<u64>) -> Shares {
        let there = there.unwrap_or(u64::MAX);
        let admin = (there / 16).clamp(LEAST, ADMIN_CONNECTIONS);
        let reserved = self.others.saturating_add(2 * with_reserve(admin));
        let left = there.saturating_sub(reserved);
        let unwanted = left.saturating_sub(with_reserve(self.callers));
        let upstream = self.upstream.saturating_mul(self.origins).min(unwanted.max(left / 4));
        let each = upstream.checked_div(self.origins).unwrap_or(self.upstream).max(LEAST).min(self.upstream);
        let callers = without_reserve(left.saturating_sub(upstream)).max(LEAST).min(self.callers);
        Shares { callers: narrowed(callers), upstream: narrowed(each), admin: narrowed(admin) }
    }

    /// Says so where the configured limits do not fit.
    pub(super) fn warn(self, shares: Shares, there: Option<u64>) {
        let Some(there) = there.filter(|_| self.is_cut(shares)) else { return };
        let needed = (self.others + 2 * with_reserve(ADMIN_CONNECTIONS))
            .saturating_add(with_reserve(self.callers))
            .saturating_add(self.upstream.saturating_mul(self.origins));
        tracing::warn!(
            "{there} open files are allowed, and the configured limits need {needed}: limits.connections is {} in place of {}, \
             upstream.limits.connections {} in place of {}; allow more (`ulimit -n`, LimitNOFILE= of systemd), or configure less",
            shares.callers,
            self.callers,
            shares.upstream,
            self.upstream,
        );
    }

    fn is_cut(self, shares: Shares) -> bool {
        (shares.callers as u64) < self.callers || (shares.upstream as u64) < self.upstream
    }
}

/// Of all token endpoints together: what each allows at once, and as many that hang.
fn token_calls(settings: &Settings) -> u64 {
    let endpoints: BTreeMap<_, _> = settings
        .apps
        .values()
        .filter_map(|app| app.profile.token_endpoint.as_ref())
        .map(|endpoint| (endpoint.url.to_string(), 2 * endpoint.at_once.unwrap_or(USUAL_CALLS) as u64))
        .collect();
    endpoints.values().sum()
}

/// What so many connections of a listener take with those beyond.
fn with_reserve(connections: u64) -> u64 {
    connections.saturating_add(registry::reserve(narrowed(connections)) as u64)
}

fn without_reserve(descriptors: u64) -> u64 {
    descriptors.saturating_sub(registry::reserve(narrowed(descriptors)) as u64)
}

fn narrowed(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Wanted = Wanted { callers: 10_000, upstream: 256, origins: 1, others: 200 };

    #[test]
    fn limits_that_fit_are_left_as_they_are() {
        for there in [None, Some(1 << 20), Some(12_000)] {
            let shares = USUAL.share(there);
            assert_eq!(shares, Shares { callers: 10_000, upstream: 256, admin: 256 });
            assert!(!USUAL.is_cut(shares));
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_so_that_all_together_leave_what_is_reserved() {
        for (there, origins) in [(1024, 1), (1024, 3), (4096, 1), (4096, 40), (10_000, 10)] {
            let wanted = Wanted { origins, ..USUAL };
            let Shares { callers, upstream, admin } = wanted.share(Some(there));
            let taken =
                with_reserve(callers as u64) + upstream as u64 * origins + 2 * with_reserve(admin as u64);
            assert!(taken + wanted.others <= there, "{taken} of {there}");
            assert!(callers >= 300 && upstream * origins as usize >= 100, "{callers}, {upstream}");
        }
        let few = USUAL.share(Some(100));
        assert_eq!(few, Shares { callers: 8, upstream: 8, admin: 8 });
    }
}
