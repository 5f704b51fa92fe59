//! What all workers share about connecting. The one rule: the cap on connections to an origin counts those of every
//! worker, and a worker that has idle ones hears when another lacks one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::{connection_metrics::Load, gate::Gate};
use crate::{
    config::settings::{Timeouts, UpstreamLimits, UpstreamSettings},
    net::{Destination, Dialer, Resolve},
    tls::Client,
};

/// Limits, the way to connect and the count of connections: made once, cloned into every worker's pool.
#[derive(Clone)]
pub struct Connector(Arc<Shared>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

struct Shared {
    dialer: Dialer,
    timeouts: Timeouts,
    limits: UpstreamLimits,
    gates: Mutex<HashMap<(bool, String, u16), Arc<Gate>>>,
    bells: Mutex<Vec<Weak<Notify>>>,
}

impl Connector {
    /// Opens connections as these settings say.
    pub fn new(tls: impl Into<Client>, settings: &UpstreamSettings) -> Self {
        Self::over(Dialer::new(tls, settings.proxy_url.as_ref()), settings)
    }

    /// As [`Connector::new`], with somebody else than the operating system to ask for addresses.
    pub fn resolving(
        tls: impl Into<Client>,
        settings: &UpstreamSettings,
        names: impl Resolve + 'static,
    ) -> Self {
        Self::over(Dialer::resolving(tls, settings.proxy_url.as_ref(), names), settings)
    }

    fn over(dialer: Dialer, settings: &UpstreamSettings) -> Self {
        Self(Arc::new(Shared {
            dialer,
            timeouts: settings.timeouts,
            limits: settings.limits,
            gates: Mutex::default(),
            bells: Mutex::default(),
        }))
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    /// The gate of one origin, the same for all workers.
    pub(super) fn gate(&self, to: &Destination) -> Arc<Gate> {
        let limits = self.0.limits;
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry((to.tls, to.host.clone(), to.port));
        gate.or_insert_with(|| Gate::new(limits.connections, limits.queue)).clone()
    }

    /// How much of each origin's connections is in use, by place.
    pub(super) fn loads(&self) -> Vec<Load> {
        let gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loads: Vec<_> = gates
            .iter()
            .map(|((tls, host, port), gate)| {
                let scheme = if *tls { "https" } else { "http" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let (connections, limit, waiting) = gate.load();
                Load { place: format!("{scheme}://{host}:{port}"), connections, limit, waiting }
            })
            .collect();
        loads.sort_by(|one, other| one.place.cmp(&other.place));
        loads
    }

    /// Registers a pool's bell.
    pub(super) fn hang(&self, bell: &Arc<Notify>) {
        let mut bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }

    /// Asks every pool to look for idle connections to close.
    pub(super) fn ring(&self) {
        let bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().filter_map(Weak::upgrade).for_each(|bell| bell.notify_one());
    }
}
