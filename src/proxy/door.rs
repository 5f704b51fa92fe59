//! What the proxy door needs, shared by all its workers and listeners. The one rule: a worker owns its connections, and
//! borrows everything else.

use std::{rc::Rc, sync::Arc};

use crate::{
    accounts::Accounts,
    clock::Clock,
    config::{
        Settings,
        settings::{FixedRoute, Timeouts},
    },
    http::callback::Callbacks,
    metrics::Metrics,
    proxy::{
        body::RequestBody,
        guard::Guard,
        shortlist::Shortlist,
        upstream::{Connector, Pool},
    },
    telemetry::Rate,
};

/// The proxy door, as all workers see it.
pub struct Door {
    /// The apps and their accounts.
    pub accounts: Arc<Accounts>,
    /// Who may call.
    pub guard: Guard,
    /// Sellers who come back from their consent to this very address.
    pub callbacks: Callbacks,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Bytes of a request body kept for a repeat.
    pub replay_body: usize,
    /// Bytes a request body may have.
    pub body_limit: Option<u64>,
    /// Whether every request is logged.
    pub access_log: bool,
    /// Bounds the lines that tell of a request where nobody asked for such.
    pub unasked_lines: Rate,
    /// Makes connections to marketplaces.
    pub connector: Connector,
}

impl Door {
    /// A door for these settings.
    pub fn new(
        settings: &Settings,
        accounts: Arc<Accounts>,
        metrics: Arc<Metrics>,
        clock: Clock,
        connector: Connector,
    ) -> Self {
        Self {
            callbacks: Callbacks::new(settings, accounts.clone()),
            accounts,
            guard: Guard::new(&settings.proxy, &settings.callers),
            metrics,
            clock,
            timeouts: settings.upstream.timeouts,
            replay_body: settings.upstream.limits.replay_body,
            body_limit: settings.limits.body,
            access_log: settings.proxy.access_log,
            unasked_lines: Rate::default(),
            connector,
        }
    }
}

/// One worker's view of the door: a thread's own connection pool beside what all share.
#[derive(Clone)]
pub struct Worker {
    /// The door.
    pub door: Arc<Door>,
    /// This worker's connections.
    pub pool: Pool<RequestBody>,
    /// The accounts it has served of late.
    pub(super) shortlist: Rc<Shortlist>,
    /// What this listener stands for, if it has no prefixes.
    pub fixed: Option<Arc<FixedRoute>>,
}

impl Worker {
    /// A worker with a pool of its own, on the current thread.
    pub fn new(door: Arc<Door>) -> Self {
        let pool = Pool::new(door.connector.clone());
        Self { door, pool, shortlist: Rc::default(), fixed: None }
    }

    /// The same worker for a listener that stands for one app.
    #[must_use]
    pub fn standing_for(&self, fixed: Option<FixedRoute>) -> Self {
        Self { fixed: fixed.map(Arc::new), ..self.clone() }
    }
}
