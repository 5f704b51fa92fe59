//! The accounts in use. The one rule: there are never two keepers of one account.
//!
//! A moka cache (LRU) decides who stays; the `slots` beside it make that safe. A refresh holds its account alive, so as
//! long as one is under way the slot still leads to that very account, evicted or not, and whoever asks gets it back. A
//! successor can only be made when the predecessor is gone, and then it had nothing under way. An account whose durable
//! record is changed from outside is retired (`grant/change`): its keeper ends what it has begun, and the next one reads
//! the record anew. Only one whose grant was replaced may end later than its successor begins.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    account::LiveAccount,
    agenda::Agenda,
    change::Changing,
    custody::Custody,
    endpoint::Endpoints,
    keeper::{Keeper, Surroundings},
    meter::{Load, Permit},
    outstanding::Outstanding,
};
use crate::{
    chance::Chance,
    clock::{Clock, Moment},
    config::{Account, App},
    metrics::Metrics,
    names::AccountId,
    oauth::TokenCalls,
    provider::Profile,
    store::{Store, StoreError},
};

/// Accounts kept at once; beyond it the least recently used are let go.
pub const CAPACITY: u64 = 10_000;

/// An account nobody asked for this long is let go: longer than the longest-lived tokens.
pub const IDLE: Duration = Duration::from_secs(2 * 3600);

/// What keepers work with.
#[derive(Debug)]
pub struct Means {
    /// Time.
    pub clock: Clock,
    /// Chance, for spreading retries.
    pub chance: Chance,
    /// Makes token calls.
    pub client: Arc<dyn TokenCalls>,
    /// Keeps the grants of accounts that are not written in the configuration; None: there are no such accounts.
    pub store: Option<Arc<dyn Store>>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Accounts kept live at once, usually [`CAPACITY`].
    pub capacity: u64,
}

/// Finds, wakes and lets go accounts.
#[derive(Debug)]
pub struct LiveAccounts {
    cache: moka::sync::Cache<AccountId, Arc<LiveAccount>>,
    slots: Mutex<Slots>,
    endpoints: Endpoints,
    pub(super) surroundings: Arc<Surroundings>,
    /// Keepers, and whatever else must not be cut off by the end of the process.
    pub(super) tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
}

/// Where an account's only keeper is.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) live: Weak<LiveAccount>,
    pub(super) ended: CancellationToken,
}

/// Where the keepers are, and which accounts may have none now.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) seats: HashMap<AccountId, Slot>,
    pub(super) changing: Changing,
}

/// What stands in the slot of an account.
enum Seat {
    /// The account, in use; or a predecessor that has an answer for callers until it ends.
    Taken(Arc<LiveAccount>),
    /// A predecessor or a change that is about to end.
    Ending(CancellationToken),
    /// Nothing.
    Free,
}

impl LiveAccounts {
    /// Keepers run on the current runtime, whoever asks for an account.
    pub fn new(means: Means) -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(means.capacity)
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build();
        let endpoints = Endpoints::new(means.clock.clone());
        let surroundings = Arc::new(Surroundings {
            clock: means.clock,
            chance: means.chance,
            client: means.client,
            store: means.store,
            metrics: means.metrics,
            agenda: Agenda::default(),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
            outstanding: Outstanding::default(),
            leftovers: Mutex::default(),
            crossed: Mutex::default(),
        });
        let runtime = tokio::runtime::Handle::current();
        Self { cache, slots: Mutex::default(), endpoints, surroundings, tasks: TaskTracker::new(), runtime }
    }

    /// The live form of an account of the configuration: found, or woken with a keeper of its own.
    pub fn find(&self, app: &Arc<App>, account: &Arc<Account>) -> Arc<LiveAccount> {
        if let Some(live) = self.cache.get(&account.id) {
            return live;
        }
        let make = || {
            let mut slots = self.slots();
            match slots.seat(&account.id) {
                Seat::Taken(live) => live,
                Seat::Ending(_) | Seat::Free => self.wake(&mut slots, app, account, None),
            }
        };
        self.cache.get_with(account.id.clone(), make)
    }

    /// The account, if it is in use and its keeper is not about to end, or it has an answer for callers until then.
    pub fn borrow(&self, id: &AccountId) -> Option<Arc<LiveAccount>> {
        let in_use = self.cache.get(id).filter(|live| !live.is_retired());
        in_use.or_else(|| match self.slots().seat(id) {
            Seat::Taken(live) => Some(live),
            Seat::Ending(_) | Seat::Free => None,
        })
    }

    /// The live form of an account of the store, which `account` describes as it was read there: found, or woken with a
    /// keeper that reads the record itself. Waits for a predecessor without a token to end what it has begun.
    pub async fn find_stored(&self, app: &Arc<App>, account: &Arc<Account>) -> Arc<LiveAccount> {
        loop {
            match self.seat(app, account) {
                Seat::Ending(ended) => ended.cancelled().await,
                Seat::Taken(live) => return live,
                Seat::Free => {}
            }
        }
    }

    fn seat(&self, app: &Arc<App>, account: &Arc<Account>) -> Seat {
        let mut slots = self.slots();
        match slots.seat(&account.id) {
            Seat::Free => {}
            seat => return seat,
        }
        let store = self.surroundings.store.clone();
        let length = app.profile.reuse_window;
        let custody = store.map(|store| Custody::new(store, account.id.clone(), length));
        let live = self.wake(&mut slots, app, account, custody);
        drop(slots);
        self.remember(live.clone());
        Seat::Taken(live)
    }

    /// The account whose refresh was answered with the tokens of this one, if that ever happened.
    pub fn crossed_with(&self, id: &AccountId) -> Option<AccountId> {
        self.surroundings.crossed().get(id).cloned()
    }

    /// One of two accounts whose tokens came together was connected anew.
    pub fn uncross(&self, id: &AccountId) {
        self.surroundings.crossed().retain(|one, other| one != id && other != id);
    }

    pub(super) fn remember(&self, live: Arc<LiveAccount>) {
        self.cache.insert(live.id().clone(), live);
    }

    pub(super) fn forget(&self, id: &AccountId) {
        self.cache.invalidate(id);
    }

    /// The account, if it is in use now. What a retired one published is told by its record.
    pub fn peek(&self, id: &AccountId) -> Option<Arc<LiveAccount>> {
        self.seated(id).filter(|live| !live.is_retired())
    }

    fn seated(&self, id: &AccountId) -> Option<Arc<LiveAccount>> {
        self.slots().seats.get(id).and_then(|slot| slot.live.upgrade())
    }

    pub(super) fn wake(
        &self,
        slots: &mut Slots,
        app: &Arc<App>,
        account: &Arc<Account>,
        custody: Option<Custody>,
    ) -> Arc<LiveAccount> {
        let endpoint = self.endpoints.of(&app.profile);
        let clock = self.surroundings.clock.clone();
        let answers = self.surroundings.metrics.answers(&account.id);
        let live = Arc::new(LiveAccount::new(app.clone(), account.clone(), endpoint, answers, clock));
        let account = Arc::downgrade(&live);
        slots.seats.insert(live.id().clone(), Slot { live: account.clone(), ended: live.ended().clone() });
        let mut keeper = Keeper::new(&live, self.surroundings.clone(), custody);
        let end = End { account, cache: self.cache.clone(), _told: live.ended().clone().drop_guard() };
        // Ten thousand of these rest at once: what they hold while they rest is what an account costs.
        let keeping = async move {
            keeper.keep().await;
            drop((keeper, end));
        };
        self.tasks.spawn_on(keeping, &self.runtime);
        live
    }

    /// Runs what must not end with the request that began it, nor with the process.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Has every keeper look again.
    pub(super) fn wake_all(&self) {
        let live: Vec<_> = self.slots().seats.values().filter_map(|slot| slot.live.upgrade()).collect();
        live.iter().for_each(|live| live.demand().wake.notify_one());
    }

    pub(super) fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go what has been idle too long. Called from a timer: moka does its housekeeping only when it is used.
    pub fn let_go_idle(&self) {
        self.cache.run_pending_tasks();
        self.slots().seats.retain(|_, slot| slot.live.strong_count() > 0 || !slot.ended.is_cancelled());
    }

    /// Takes an account out of the cache, as a full cache would.
    pub fn evict(&self, id: &AccountId) {
        self.cache.invalidate(id);
        self.cache.run_pending_tasks();
    }

    /// When the newest token of every account in use expires; None: never.
    pub fn expiries(&self) -> Vec<(AccountId, Option<Moment>)> {
        let live: Vec<_> = self.slots().seats.values().filter_map(|slot| slot.live.upgrade()).collect();
        let expiry = |live: &Arc<LiveAccount>| {
            let token = live.published().credential?.token.clone();
            Some((live.id().clone(), token.lifetime.map(|life| token.asked.plus(life))))
        };
        live.iter().filter_map(expiry).collect()
    }

    /// Used calls, allowed calls and waiting refreshes of every token endpoint, for metrics.
    pub fn meters(&self) -> Vec<((String, &'static str), Load)> {
        self.endpoints.loads()
    }

    /// Leave to exchange a seller's code; None for a profile without a token endpoint. A person waits for it.
    pub async fn permit_code_exchange(&self, profile: &Profile) -> Option<Permit> {
        let endpoint = self.endpoints.of_codes(profile)?;
        Some(endpoint.meter.permit(true).await)
    }

    /// Counts the token calls of an earlier process for `profile`, as far as they still count.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recall_calls(&self, profile: &Profile) -> Result<(), StoreError> {
        match (&self.surroundings.store, self.endpoints.of(profile)) {
            (Some(store), Some(endpoint)) => endpoint.recall(store.as_ref()).await,
            _ => Ok(()),
        }
    }

    /// Which accounts have to be seen to though nobody asks for them.
    pub fn agenda(&self) -> &Agenda {
        &self.surroundings.agenda
    }
}

impl Slots {
    fn seat(&self, id: &AccountId) -> Seat {
        let slot = self.seats.get(id).filter(|slot| !slot.ended.is_cancelled());
        let live = slot.and_then(|slot| slot.live.upgrade());
        if let Some((predecessor, over)) = self.changing.of(id) {
            let predecessor = live.or_else(|| predecessor.cloned()).filter(|live| live.answers_at_once());
            return predecessor.map_or_else(|| Seat::Ending(over.clone()), Seat::Taken);
        }
        let Some(slot) = slot else { return Seat::Free };
        let live = live.filter(|live| !live.is_retired() || live.answers_at_once());
        live.map_or_else(|| Seat::Ending(slot.ended.clone()), Seat::Taken)
    }
}

/// The end of a keeper, however it comes. Whoever waits for it is told last.
struct End {
    account: Weak<LiveAccount>,
    cache: moka::sync::Cache<AccountId, Arc<LiveAccount>>,
    _told: DropGuard,
}

impl Drop for End {
    /// A keeper that panicked would leave its account without one for ever: the account is let go, so that the next request
    /// wakes another.
    fn drop(&mut self) {
        let Some(account) = self.account.upgrade().filter(|_| std::thread::panicking()) else { return };
        tracing::error!(account = %account.id(), "the keeper of this account failed; the next request starts another");
        account.publish(|p| p.state = super::AccountState::Degraded);
        account.note_round();
        self.cache.invalidate(account.id());
    }
}
