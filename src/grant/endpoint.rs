//! Token endpoints with their meters. The one rule: all accounts that ask at one endpoint with the same grant share one budget.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::meter::{Load, Meter, Snapshot, USUAL_CALLS};
use crate::{
    clock::Clock,
    provider::{Budget, GrantKind, Profile},
    store::{Store, StoreError},
};

/// A token endpoint with its budget.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) meter: Meter,
    name: String,
    budget: Option<Budget>,
    /// Whether a refresh was seen to end the old access token.
    ends_token: AtomicBool,
}

impl Endpoint {
    /// Whether a refresh here was seen to end the old access token.
    pub(super) fn ends_token(&self) -> bool {
        self.ends_token.load(Relaxed)
    }

    /// Takes down that a refresh here ends the old access token; whether that is news.
    pub(super) fn note_ended_token(&self) -> bool {
        !self.ends_token.swap(true, Relaxed)
    }

    /// Under what name its calls are counted in the store, and how long each counts; None without a budget.
    pub(super) fn counted(&self) -> Option<(String, Duration)> {
        self.budget.map(|budget| (self.name.clone(), budget.window))
    }

    /// Counts the calls of an earlier process.
    pub(super) async fn recall(&self, store: &dyn Store) -> Result<(), StoreError> {
        if self.budget.is_some() {
            let calls = store.calls(&self.name).await?;
            self.meter.restore(&Snapshot { ended: calls.ended, running: calls.open });
        }
        Ok(())
    }
}

/// The endpoint's URL and the `grant_type` parameter: budgets are counted for each by itself.
pub(super) type Key = (String, &'static str);

/// Every token endpoint in use.
#[derive(Debug)]
pub(super) struct Endpoints {
    clock: Clock,
    known: Mutex<HashMap<Key, Arc<Endpoint>>>,
}

impl Endpoints {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// Where accounts of this profile refresh; None for static keys.
    pub(super) fn of(&self, profile: &Profile) -> Option<Arc<Endpoint>> {
        let grant_type = match profile.grant {
            GrantKind::ClientCredentials => "client_credentials",
            GrantKind::AuthorizationCode => "refresh_token",
            GrantKind::Static => return None,
        };
        self.with(profile, grant_type)
    }

    /// Where a seller's code is exchanged.
    pub(super) fn of_codes(&self, profile: &Profile) -> Option<Arc<Endpoint>> {
        self.with(profile, "authorization_code")
    }

    fn with(&self, profile: &Profile, grant_type: &'static str) -> Option<Arc<Endpoint>> {
        let endpoint = profile.token_endpoint.as_ref()?;
        let url = endpoint.url.to_string();
        let make = || {
            let at_once = endpoint.at_once.unwrap_or(USUAL_CALLS);
            let meter = Meter::new(endpoint.budget, at_once, self.clock.clone());
            let (name, ends_token) = (format!("{grant_type} {url}"), AtomicBool::new(false));
            Arc::new(Endpoint { meter, name, budget: endpoint.budget, ends_token })
        };
        Some(self.known().entry((url.clone(), grant_type)).or_insert_with(make).clone())
    }

    /// How full every meter is.
    pub(super) fn loads(&self) -> Vec<(Key, Load)> {
        self.known().iter().map(|(key, endpoint)| (key.clone(), endpoint.meter.load())).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Arc<Endpoint>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
