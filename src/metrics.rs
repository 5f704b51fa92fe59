//! What is counted. The one rule: a label never holds more than configuration names and words of ours.

mod answers;
mod process;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::text::{encode, encode_registry},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::{
    clock::Moment,
    names::{AccountId, AppName},
};

pub use answers::Answers;
pub use text::Format;

use process::Process;

/// Labels as they come: one that has no value is left out.
type Labels = Vec<(&'static str, String)>;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What has names that are not ours.
    common: Registry,
    per_account: bool,
    /// Requests that were begun and have no answer's head yet.
    pub in_flight: Gauge,
    /// Keepers that are running.
    pub keepers: Gauge,
    /// The answers of each app, where accounts have no labels of their own.
    apps: Mutex<HashMap<AppName, Arc<Answers>>>,
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram>,
    refusals: Family<Labels, Counter>,
    overloads: Family<Labels, Counter>,
    upstream_errors: Family<Labels, Counter>,
    refreshes: Family<Labels, Counter>,
    refresh_durations: Family<Labels, Histogram>,
    expiry: Family<Labels, Gauge<f64, AtomicU64>>,
    meter_used: Family<Labels, Gauge>,
    meter_budget: Family<Labels, Gauge>,
    meter_waiting: Family<Labels, Gauge>,
    replays: Family<Labels, Counter>,
    /// New refresh tokens that the store has refused to take so far.
    pub unstored: Gauge,
    store_durations: Histogram,
    store_unwritable: Gauge,
    spill_bytes: Family<Labels, Gauge>,
    stored: Family<Labels, Gauge>,
    login_required_by: Family<Labels, Gauge<f64, AtomicU64>>,
}

/// The words of other parts of the program that are values of labels.
#[derive(Debug, Default)]
pub struct Words {
    /// Of refusals.
    pub codes: Vec<&'static str>,
    /// Of limits on connections to APIs.
    pub limits: Vec<&'static str>,
    /// Of requests without an answer.
    pub kinds: Vec<&'static str>,
    /// Of token calls.
    pub outcomes: Vec<&'static str>,
}

/// The accounts of the store, counted.
#[derive(Debug, Default)]
pub struct StoredAccounts {
    states: BTreeMap<(AppName, &'static str), i64>,
    ends: BTreeMap<AppName, SystemTime>,
}

impl StoredAccounts {
    /// One more in that state, whose seller must have logged in again by `end`.
    pub fn count(&mut self, app: &AppName, state: &'static str, end: Option<SystemTime>) {
        *self.states.entry((app.clone(), state)).or_default() += 1;
        if let Some(end) = end {
            let earliest = self.ends.entry(app.clone()).or_insert(end);
            *earliest = end.min(*earliest);
        }
    }
}

/// Seconds of a request. The bounds are those that dashboards expect.
fn to_a_persons_patience() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 12))
}

impl Metrics {
    /// Registers everything. `per_account`: label requests and expiries with the account's name.
    pub fn new(per_account: bool) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("marketgate"),
            common: Registry::default(),
            per_account,
            in_flight: Gauge::default(),
            keepers: Gauge::default(),
            apps: Mutex::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(to_a_persons_patience),
            refusals: Family::default(),
            overloads: Family::default(),
            upstream_errors: Family::default(),
            refreshes: Family::default(),
            refresh_durations: Family::new_with_constructor(seconds),
            expiry: Family::default(),
            meter_used: Family::default(),
            meter_budget: Family::default(),
            meter_waiting: Family::default(),
            replays: Family::default(),
            unstored: Gauge::default(),
            store_durations: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            store_unwritable: Gauge::default(),
            spill_bytes: Family::default(),
            stored: Family::default(),
            login_required_by: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        self.common.register_collector(Box::new(Process));
        let r = &mut self.registry;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        r.register("build", "The running version", Info::new(version));
        r.register("requests_in_flight", "Requests that have no answer yet", self.in_flight.clone());
        r.register("requests", "Requests answered, by whose answer it was", self.requests.clone());
        r.register(
            "request_duration_seconds",
            "From the request head to the reply head, by the answer's hundred",
            self.durations.clone(),
        );
        r.register(
            "upstream_overloads",
            "Requests refused for want of a connection to the API, by the limit that ended their wait",
            self.overloads.clone(),
        );
        r.register(
            "upstream_errors",
            "Requests without an answer of their upstream, by RFC 9209's word for the cause",
            self.upstream_errors.clone(),
        );
        r.register("refusals", "Answers of the proxy's own, by code", self.refusals.clone());
        r.register("refreshes", "Token calls, by outcome", self.refreshes.clone());
        r.register("refresh_duration_seconds", "Duration of token calls", self.refresh_durations.clone());
        r.register(
            "token_expiry_timestamp_seconds",
            "When the newest token expires, the earliest of the accounts in use",
            self.expiry.clone(),
        );
        r.register("keepers", "Accounts whose token is being kept", self.keepers.clone());
        r.register("meter_calls", "Token calls counted in the current window", self.meter_used.clone());
        r.register("meter_budget_calls", "Token calls allowed in a window", self.meter_budget.clone());
        r.register("meter_waiting", "Refreshes waiting for their place", self.meter_waiting.clone());
        r.register(
            "unpersisted_refresh_tokens",
            "New refresh tokens that are held in memory only, because the store refuses them",
            self.unstored.clone(),
        );
        r.register(
            "rotation_store_duration_seconds",
            "From the last byte of a token answer to the durable record: what a crash in between would lose",
            self.store_durations.clone(),
        );
        r.register(
            "store_unwritable",
            "1 while the last write to the store failed or its file is not in its place",
            self.store_unwritable.clone(),
        );
        r.register(
            "store_spill_bytes",
            "Room beside the store for what a full disk keeps out: set aside, and promised to refreshes under way",
            self.spill_bytes.clone(),
        );
        r.register("stored_accounts", "Accounts of the store, by state", self.stored.clone());
        r.register(
            "login_required_by_timestamp_seconds",
            "When the first seller of an app must have logged in again, as far as it is known",
            self.login_required_by.clone(),
        );
        r.register("replays", "Requests repeated with a fresh token", self.replays.clone());
    }

    /// Has every count that an alarm may ask for stand at 0: one that begins at 1 was never less, so nothing has increased.
    pub fn begin<'a>(&self, apps: impl Iterator<Item = &'a AppName>, words: &Words) {
        let at_zero = |family: &Family<Labels, Counter>, label, words: &[&str]| {
            for word in words {
                drop(family.get_or_create(&vec![(label, (*word).to_owned())]));
            }
        };
        at_zero(&self.refusals, "code", &words.codes);
        at_zero(&self.overloads, "limit", &words.limits);
        at_zero(&self.upstream_errors, "kind", &words.kinds);
        for app in apps {
            drop(self.replays.get_or_create(&vec![app_label(app)]));
            for outcome in &words.outcomes {
                let labels = vec![app_label(app), ("outcome", (*outcome).to_owned())];
                drop(self.refreshes.get_or_create(&labels));
            }
        }
    }

    /// Adds what another part of the program counts by itself.
    pub fn collect(&mut self, collector: Box<dyn Collector>) {
        self.registry.register_collector(collector);
    }

    /// What counts the answers to an account's requests; to be kept with the account.
    pub fn answers(&self, id: &AccountId) -> Arc<Answers> {
        let make = || {
            let (requests, durations) = (self.requests.clone(), self.durations.clone());
            Arc::new(Answers::new(requests, durations, app_label(&id.app), self.account_labels(id)))
        };
        if self.per_account {
            return make();
        }
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.entry(id.app.clone()).or_insert_with(make).clone()
    }

    /// The proxy answered itself.
    pub fn refused(&self, app: Option<&AppName>, status: u16, code: &'static str) {
        let mut labels: Labels = app.map(app_label).into_iter().collect();
        labels.extend([("status", status.to_string()), ("by", "proxy".to_owned())]);
        self.requests.get_or_create(&labels).inc();
        self.refusals.get_or_create(&vec![("code", code.to_owned())]).inc();
    }

    /// The connection ended before there was an answer; counted as this status.
    pub fn unanswered(&self, app: Option<&AppName>, status: u16) {
        let mut labels: Labels = app.map(app_label).into_iter().collect();
        labels.extend([("status", status.to_string()), ("by", "nobody".to_owned())]);
        self.requests.get_or_create(&labels).inc();
    }

    /// A request got no connection to its upstream.
    pub fn overloaded(&self, limit: &'static str) {
        self.overloads.get_or_create(&vec![("limit", limit.to_owned())]).inc();
    }

    /// A request got no answer of its upstream.
    pub fn upstream_failed(&self, kind: &'static str) {
        self.upstream_errors.get_or_create(&vec![("kind", kind.to_owned())]).inc();
    }

    /// A request was repeated with a fresh token.
    pub fn replayed(&self, app: &AppName) {
        self.replays.get_or_create(&vec![app_label(app)]).inc();
    }

    /// A token call ended.
    pub fn refreshed(&self, app: &AppName, outcome: &'static str, took: Duration) {
        self.refreshes.get_or_create(&vec![app_label(app), ("outcome", outcome.to_owned())]).inc();
        self.refresh_durations.get_or_create(&vec![app_label(app)]).observe(took.as_secs_f64());
    }

    /// How the accounts of the store stand.
    pub fn stored_accounts(&self, counted: &StoredAccounts) {
        self.stored.clear();
        self.login_required_by.clear();
        for ((app, state), number) in &counted.states {
            self.stored.get_or_create(&vec![app_label(app), ("state", (*state).to_owned())]).set(*number);
        }
        for (app, end) in &counted.ends {
            let seconds = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            self.login_required_by.get_or_create(&vec![app_label(app)]).set(seconds);
        }
    }

    /// How the store is: whether it cannot be written to, and the bytes set aside and promised for the worst case.
    pub fn store(&self, unwritable: bool, spill: Option<(u64, u64)>) {
        self.store_unwritable.set(unwritable.into());
        let Some((set_aside, promised)) = spill else { return };
        for (what, bytes) in [("set_aside", set_aside), ("promised", promised)] {
            let labels = vec![("room", what.to_owned())];
            self.spill_bytes.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// What an answer brought became durable so long after its last byte had been read.
    pub fn stored(&self, took: Duration) {
        self.store_durations.observe(took.as_secs_f64());
    }

    /// When the newest tokens of the accounts in use expire; None: never. Where accounts share their labels, the earliest
    /// counts. Told anew at every look, so that an account let go leaves nothing behind.
    pub fn token_expiries<'a>(&self, expiries: impl Iterator<Item = (&'a AccountId, Option<Moment>)>) {
        self.expiry.clear();
        for (id, at) in expiries {
            let since_epoch = at.and_then(|at| at.wall.duration_since(UNIX_EPOCH).ok());
            let seconds = since_epoch.map_or(f64::INFINITY, |d| d.as_secs_f64());
            let labels = self.account_labels(id);
            let earliest = self.expiry.get(&labels).map_or(f64::INFINITY, |known| known.get());
            self.expiry.get_or_create(&labels).set(seconds.min(earliest));
        }
    }

    fn account_labels(&self, id: &AccountId) -> Labels {
        let account = self.per_account.then(|| ("account", id.account.to_string()));
        [Some(app_label(&id.app)), account].into_iter().flatten().collect()
    }

    /// The state of a token endpoint's meter; `budget` None: unlimited.
    pub fn meter(
        &self,
        (endpoint, grant_type): (&str, &'static str),
        used: usize,
        budget: Option<u32>,
        waiting: usize,
    ) {
        let labels = vec![("endpoint", endpoint.to_owned()), ("grant_type", grant_type.to_owned())];
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.meter_used.get_or_create(&labels).set(gauge(used));
        self.meter_waiting.get_or_create(&labels).set(gauge(waiting));
        if let Some(budget) = budget {
            self.meter_budget.get_or_create(&labels).set(i64::from(budget));
        }
    }

    /// Everything.
    pub fn text(&self, format: Format) -> String {
        let mut made = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut made, &self.common);
        let _ = encode(&mut made, &self.registry);
        match format {
            Format::OpenMetrics => made,
            Format::Text => text::older(&made),
        }
    }
}

fn app_label(app: &AppName) -> (&'static str, String) {
    ("app", app.to_string())
}
