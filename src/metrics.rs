//! What is counted. The one rule: a label never holds more than configuration names and words of ours.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{
    clock::Moment,
    names::{AccountId, AppName},
};

/// Labels of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabels {
    app: String,
}

/// Labels of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    app: String,
    account: Option<String>,
    status: u16,
    by: &'static str,
}

/// Labels of a refresh.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    app: String,
    outcome: &'static str,
}

/// Labels of an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabels {
    app: String,
    account: Option<String>,
}

/// Labels of a refusal of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
}

/// Labels of a token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: String,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    per_account: bool,
    /// Keepers that are running.
    pub keepers: Gauge,
    requests: Family<RequestLabels, Counter>,
    durations: Family<AppLabels, Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    refreshes: Family<RefreshLabels, Counter>,
    refresh_durations: Family<AppLabels, Histogram>,
    expiry: Family<AccountLabels, Gauge<f64, AtomicU64>>,
    meter_used: Family<EndpointLabels, Gauge>,
    meter_budget: Family<EndpointLabels, Gauge>,
    meter_waiting: Family<EndpointLabels, Gauge>,
    replays: Family<AppLabels, Counter>,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 12))
}

impl Metrics {
    /// Registers everything. `per_account`: label requests and expiries with the account's name.
    pub fn new(per_account: bool) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("marketgate"),
            per_account,
            keepers: Gauge::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            refusals: Family::default(),
            refreshes: Family::default(),
            refresh_durations: Family::new_with_constructor(seconds),
            expiry: Family::default(),
            meter_used: Family::default(),
            meter_budget: Family::default(),
            meter_waiting: Family::default(),
            replays: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests answered, by whose answer it was", self.requests.clone());
        r.register(
            "request_duration_seconds",
            "From the request head to the reply head",
            self.durations.clone(),
        );
        r.register("refusals", "Answers of the proxy's own, by code", self.refusals.clone());
        r.register("refreshes", "Token calls, by outcome", self.refreshes.clone());
        r.register("refresh_duration_seconds", "Duration of token calls", self.refresh_durations.clone());
        r.register("token_expiry_timestamp_seconds", "When the newest token expires", self.expiry.clone());
        r.register("keepers", "Accounts whose token is being kept", self.keepers.clone());
        r.register("meter_calls", "Token calls counted in the current window", self.meter_used.clone());
        r.register("meter_budget_calls", "Token calls allowed in a window", self.meter_budget.clone());
        r.register("meter_waiting", "Refreshes waiting for their place", self.meter_waiting.clone());
        r.register("replays", "Requests repeated with a fresh token", self.replays.clone());
    }

    /// Adds what another part of the program counts by itself.
    pub fn collect(&mut self, collector: Box<dyn Collector>) {
        self.registry.register_collector(collector);
    }

    /// A marketplace's answer was passed on.
    pub fn answered(&self, id: &AccountId, status: u16, took: Duration) {
        let account = self.per_account.then(|| id.account.to_string());
        let labels = RequestLabels { app: id.app.to_string(), account, status, by: "marketplace" };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&AppLabels { app: id.app.to_string() }).observe(took.as_secs_f64());
    }

    /// The proxy answered itself.
    pub fn refused(&self, app: Option<&AppName>, status: u16, code: &'static str) {
        let app = app.map(ToString::to_string).unwrap_or_default();
        self.requests.get_or_create(&RequestLabels { app, account: None, status, by: "proxy" }).inc();
        self.refusals.get_or_create(&RefusalLabels { code }).inc();
    }

    /// A request was repeated with a fresh token.
    pub fn replayed(&self, app: &AppName) {
        self.replays.get_or_create(&AppLabels { app: app.to_string() }).inc();
    }

    /// A token call ended.
    pub fn refreshed(&self, app: &AppName, outcome: &'static str, took: Duration) {
        self.refreshes.get_or_create(&RefreshLabels { app: app.to_string(), outcome }).inc();
        self.refresh_durations.get_or_create(&AppLabels { app: app.to_string() }).observe(took.as_secs_f64());
    }

    /// A token arrived; None: it does not expire.
    pub fn token_expires(&self, id: &AccountId, at: Option<Moment>) {
        let seconds = at
            .and_then(|at| at.wall.duration_since(UNIX_EPOCH).ok())
            .map_or(f64::INFINITY, |d| d.as_secs_f64());
        let account = self.per_account.then(|| id.account.to_string());
        self.expiry.get_or_create(&AccountLabels { app: id.app.to_string(), account }).set(seconds);
    }

    /// The state of a token endpoint's meter; `budget` None: unlimited.
    pub fn meter(&self, endpoint: &str, used: usize, budget: Option<u32>, waiting: usize) {
        let labels = EndpointLabels { endpoint: endpoint.to_owned() };
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.meter_used.get_or_create(&labels).set(gauge(used));
        self.meter_waiting.get_or_create(&labels).set(gauge(waiting));
        if let Some(budget) = budget {
            self.meter_budget.get_or_create(&labels).set(i64::from(budget));
        }
    }

    /// Everything in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
