//! The accounts in use. The one rule: there are never two keepers of one account.
//!
//! A moka cache (LRU) decides who stays; the `slots` beside it make that safe. A refresh holds its account alive, so as
//! long as one is under way the slot still leads to that very account, evicted or not, and whoever asks gets it back. A
//! successor can only be made when the predecessor is gone, and then it had nothing under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    account::LiveAccount,
    endpoint::Endpoints,
    keeper::{Keeper, Surroundings},
    meter::Load,
};
use crate::{
    clock::{Clock, Moment},
    config::{Account, App},
    metrics::Metrics,
    names::AccountId,
    oauth::TokenClient,
};

/// Accounts kept at once; beyond it the least recently used are let go.
pub const CAPACITY: u64 = 10_000;

/// An account nobody asked for this long is let go: longer than the longest-lived tokens.
pub const IDLE: Duration = Duration::from_secs(2 * 3600);

/// Finds, wakes and lets go accounts.
#[derive(Debug)]
pub struct LiveAccounts {
    cache: moka::sync::Cache<AccountId, Arc<LiveAccount>>,
    slots: Mutex<HashMap<AccountId, Weak<LiveAccount>>>,
    endpoints: Endpoints,
    surroundings: Arc<Surroundings>,
    keepers: TaskTracker,
    runtime: tokio::runtime::Handle,
}

impl LiveAccounts {
    /// Keepers run on the current runtime, whoever asks for an account. `capacity` is usually [`CAPACITY`].
    pub fn new(clock: Clock, client: TokenClient, metrics: Arc<Metrics>, capacity: u64) -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build();
        let stop = CancellationToken::new();
        let surroundings = Arc::new(Surroundings { clock: clock.clone(), client, metrics, stop });
        let runtime = tokio::runtime::Handle::current();
        let (slots, endpoints) = (Mutex::default(), Endpoints::new(clock));
        Self { cache, slots, endpoints, surroundings, keepers: TaskTracker::new(), runtime }
    }

    /// The live form of an account: found, or woken with a keeper of its own.
    pub fn find(&self, app: &Arc<App>, account: &Arc<Account>) -> Arc<LiveAccount> {
        if let Some(live) = self.cache.get(&account.id) {
            return live;
        }
        self.cache.get_with(account.id.clone(), || self.adopt_or_wake(app, account))
    }

    /// The account, if it is in use now.
    pub fn peek(&self, id: &AccountId) -> Option<Arc<LiveAccount>> {
        self.slots().get(id).and_then(Weak::upgrade)
    }

    fn adopt_or_wake(&self, app: &Arc<App>, account: &Arc<Account>) -> Arc<LiveAccount> {
        let mut slots = self.slots();
        if let Some(live) = slots.get(&account.id).and_then(Weak::upgrade) {
            return live;
        }
        let endpoint = self.endpoints.of(&app.profile);
        let clock = self.surroundings.clock.clone();
        let live = Arc::new(LiveAccount::new(app.clone(), account.clone(), endpoint, clock));
        slots.insert(account.id.clone(), Arc::downgrade(&live));
        drop(slots);
        let keeping = self.runtime.spawn(Keeper::new(&live, self.surroundings.clone()).keep());
        self.keepers.spawn_on(supervise(keeping, Arc::downgrade(&live), self.cache.clone()), &self.runtime);
        live
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, Weak<LiveAccount>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go what has been idle too long. Called from a timer: moka does its housekeeping only when it is used.
    pub fn let_go_idle(&self) {
        self.cache.run_pending_tasks();
        self.slots().retain(|_, live| live.strong_count() > 0);
    }

    /// Takes an account out of the cache, as a full cache would.
    pub fn evict(&self, id: &AccountId) {
        self.cache.invalidate(id);
        self.cache.run_pending_tasks();
    }

    /// When the newest token of every account in use expires; None: never.
    pub fn expiries(&self) -> Vec<(AccountId, Option<Moment>)> {
        let live: Vec<_> = self.slots().values().filter_map(Weak::upgrade).collect();
        let expiry = |live: &Arc<LiveAccount>| {
            let token = live.published().credential?.token.clone();
            Some((live.id().clone(), token.lifetime.map(|life| token.asked.plus(life))))
        };
        live.iter().filter_map(expiry).collect()
    }

    /// Used calls, allowed calls and waiting refreshes of every token endpoint, for metrics.
    pub fn meters(&self) -> Vec<(String, Load)> {
        self.endpoints.loads()
    }

    /// Ends all keepers; each first finishes the token call it has under way.
    pub async fn drain(&self) {
        self.surroundings.stop.cancel();
        self.keepers.close();
        self.keepers.wait().await;
    }
}

/// A keeper that panicked would leave its account without one for ever: the account is let go, so that the next request
/// wakes another.
async fn supervise(
    keeping: tokio::task::JoinHandle<()>,
    account: Weak<LiveAccount>,
    cache: moka::sync::Cache<AccountId, Arc<LiveAccount>>,
) {
    if keeping.await.is_ok() {
        return;
    }
    let Some(account) = account.upgrade() else { return };
    tracing::error!(account = %account.id(), "the keeper of this account failed; the next request starts another");
    account.publish(|p| p.state = super::AccountState::Degraded);
    cache.invalidate(account.id());
}
