//! Token endpoints with their meters. The one rule: all accounts that ask at one endpoint with the same grant share one budget.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::meter::{Load, Meter};
use crate::{
    clock::Clock,
    provider::{GrantKind, Profile},
};

/// A token endpoint with its budget.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) meter: Meter,
}

type Key = (String, GrantKind);

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

    /// Where accounts of this profile ask; None for static keys.
    pub(super) fn of(&self, profile: &Profile) -> Option<Arc<Endpoint>> {
        let endpoint = profile.token_endpoint.as_ref()?;
        let make = || Arc::new(Endpoint { meter: Meter::new(endpoint.budget, self.clock.clone()) });
        Some(self.known().entry((endpoint.url.to_string(), profile.grant)).or_insert_with(make).clone())
    }

    /// How full every meter is, with the endpoint's URL.
    pub(super) fn loads(&self) -> Vec<(String, Load)> {
        self.known().iter().map(|((url, _), endpoint)| (url.clone(), endpoint.meter.load())).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Arc<Endpoint>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
