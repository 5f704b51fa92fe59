//! How many busy accounts a token endpoint's budget carries. The one rule: it is arithmetic on what is known beforehand, not
//! a promise.

use std::{collections::BTreeMap, fmt};

use super::settings::{App, Settings};
use crate::{
    names::AppName,
    provider::{Budget, Preset},
};

/// What one token endpoint carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// The endpoint's URL.
    pub endpoint: String,
    /// What it allows.
    pub budget: Budget,
    /// The accounts in the configuration that ask it for tokens.
    pub accounts: usize,
    /// The accounts in the store that do.
    pub stored: usize,
    /// How many continuously busy accounts it carries; None when its tokens' lifetime is not known.
    pub carries: Option<u64>,
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} allows {} token calls per {} s",
            self.endpoint,
            self.budget.calls,
            self.budget.window.as_secs()
        )?;
        if let Some(carries) = self.carries {
            write!(f, ": about {carries} accounts that are busy all the time")?;
        }
        match (self.accounts, self.stored) {
            (written, 0) => write!(f, "; this configuration has {written}"),
            (0, stored) => write!(f, "; the store has {stored}"),
            (written, stored) => write!(f, "; this configuration has {written}, the store {stored}"),
        }
    }
}

/// Every token endpoint with a budget, in the order of their URLs. Apps that share an endpoint share its budget. `stored`: how
/// many accounts of each app are in the store.
pub fn capacity(settings: &Settings, stored: &BTreeMap<AppName, usize>) -> Vec<Capacity> {
    let mut endpoints: BTreeMap<String, Capacity> = BTreeMap::new();
    for app in settings.apps.values() {
        let Some((endpoint, budget)) =
            app.profile.token_endpoint.as_ref().and_then(|endpoint| Some((endpoint, endpoint.budget?)))
        else {
            continue;
        };
        let url = endpoint.url.to_string();
        let fresh =
            Capacity { endpoint: url.clone(), budget, accounts: 0, stored: 0, carries: carries(app, budget) };
        let entry = endpoints.entry(url).or_insert(fresh);
        entry.accounts += app.accounts.len();
        entry.stored += stored.get(&app.name).copied().unwrap_or_default();
        entry.carries = [entry.carries, carries(app, budget)].into_iter().flatten().min();
    }
    endpoints.into_values().collect()
}

fn carries(app: &App, budget: Budget) -> Option<u64> {
    let lifetime = Preset::named(&app.profile.provider)?.lifetime_seconds?;
    Some(busy_accounts(budget, lifetime, app.profile.refresh_at))
}

/// A busy account asks once in `lifetime × refresh_at`.
pub(super) fn busy_accounts(budget: Budget, lifetime_seconds: u32, refresh_at: f64) -> u64 {
    let interval = f64::from(lifetime_seconds) * refresh_at;
    let accounts = f64::from(budget.calls) * interval / budget.window.as_secs_f64();
    // Whole accounts; all factors are positive and small, so nothing is lost but the fraction.
    accounts.floor() as u64
}
