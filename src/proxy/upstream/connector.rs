//! What all workers share about connecting. The one rule: the cap on connections to an origin counts those of every
//! worker, and a worker that has idle ones hears when another lacks one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::{
    dial::Destination,
    gate::Gate,
    resolve::{Resolve, System},
};
use crate::config::settings::{ForwardProxy, Timeouts, UpstreamLimits, UpstreamSettings};

/// TLS, forward proxy, limits and the count of connections: made once, cloned into every worker's pool.
#[derive(Clone)]
pub struct Connector(Arc<Shared>);

struct Shared {
    tls: TlsConnector,
    names: Box<dyn Resolve>,
    proxy: Option<ForwardProxy>,
    timeouts: Timeouts,
    limits: UpstreamLimits,
    gates: Mutex<HashMap<(bool, String, u16), Arc<Gate>>>,
    bells: Mutex<Vec<Weak<Notify>>>,
}

impl Connector {
    /// `tls` comes from [`crate::tls::client_config`]; the protocols it offers (RFC 7301) are set here.
    pub fn new(tls: rustls::ClientConfig, settings: &UpstreamSettings) -> Self {
        Self::resolving(tls, settings, System)
    }

    /// As [`Connector::new`], with somebody else than the operating system to ask for addresses.
    pub fn resolving(
        mut tls: rustls::ClientConfig,
        settings: &UpstreamSettings,
        names: impl Resolve + 'static,
    ) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(Arc::new(Shared {
            tls: TlsConnector::from(Arc::new(tls)),
            names: Box::new(names),
            proxy: settings.proxy_url.clone(),
            timeouts: settings.timeouts,
            limits: settings.limits,
            gates: Mutex::default(),
            bells: Mutex::default(),
        }))
    }

    pub(super) fn tls(&self) -> &TlsConnector {
        &self.0.tls
    }

    pub(super) fn names(&self) -> &dyn Resolve {
        &*self.0.names
    }

    pub(super) fn proxy(&self) -> Option<&ForwardProxy> {
        self.0.proxy.as_ref()
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
