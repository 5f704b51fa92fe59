//! A store that another process still has. Whatever is asked of it waits until that lets go of it, and not for long: then it
//! is said who has it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;

use super::{
    Begun, CallLog, Intent, Origin, PageQuery, Pending, PendingConsent, Record, Replaced, SpillError,
    SpillRoom, Store, StoreError, Stored, error::Trouble,
};
use crate::{
    names::{AccountId, AppName},
    secret::Secret,
};

/// The place of a store that is not open yet.
pub struct AwaitedStore {
    store: OnceLock<Arc<dyn Store>>,
    there: CancellationToken,
    /// Why it is not open.
    why: Mutex<String>,
    /// How long an operation waits for it.
    patience: Duration,
}

impl fmt::Debug for AwaitedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitedStore({:?})", self.store.get())
    }
}

impl AwaitedStore {
    /// A place without a store, where an operation waits for at most `patience`.
    pub fn new(patience: Duration) -> Self {
        let (store, there, why) = Default::default();
        Self { store, there, why, patience }
    }

    /// Says why it is not open yet.
    pub fn explain(&self, why: String) {
        // No code that holds it can panic half-way.
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Puts the store in its place.
    pub fn open(&self, store: Arc<dyn Store>) {
        // It comes once.
        let _ = self.store.set(store);
        self.there.cancel();
    }

    fn not_open(&self) -> StoreError {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        StoreError::new(Trouble::Awaited, why.clone())
    }

    fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.store.get().ok_or_else(|| self.not_open())
    }

    async fn arrived(&self) -> Result<&Arc<dyn Store>, StoreError> {
        drop(tokio::time::timeout(self.patience, self.there.cancelled()).await);
        self.store()
    }
}

impl Store for AwaitedStore {
    fn opened(&self) -> Pending<'_, ()> {
        Box::pin(async {
            self.there.cancelled().await;
            Ok(())
        })
    }

    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>> {
        let id = id.clone();
        Box::pin(async move { self.arrived().await?.account(&id).await })
    }

    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>> {
        Box::pin(async move { self.arrived().await?.page(query).await })
    }

    fn count(&self, app: Option<AppName>) -> Pending<'_, u64> {
        Box::pin(async move { self.arrived().await?.count(app).await })
    }

    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced> {
        Box::pin(async move { self.arrived().await?.replace(record, origin).await })
    }

    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced> {
        let id = id.clone();
        Box::pin(async move { self.arrived().await?.remove(&id, generation).await })
    }

    fn begin(&self, intent: Intent) -> Pending<'_, Begun> {
        Box::pin(async move { self.arrived().await?.begin(intent).await })
    }

    fn close(&self, id: &AccountId, generation: u64, at: SystemTime) -> Pending<'_, ()> {
        let id = id.clone();
        Box::pin(async move { self.arrived().await?.close(&id, generation, at).await })
    }

    fn open_intents(&self) -> Pending<'_, Vec<AccountId>> {
        Box::pin(async move { self.arrived().await?.open_intents().await })
    }

    fn holder(&self, refresh_token: &Secret) -> Pending<'_, Option<AccountId>> {
        let token = refresh_token.clone();
        Box::pin(async move { self.arrived().await?.holder(&token).await })
    }

    fn pinned(&self, id: &AccountId, identity: &str) -> Pending<'_, Option<AccountId>> {
        let (id, identity) = (id.clone(), identity.to_owned());
        Box::pin(async move { self.arrived().await?.pinned(&id, &identity).await })
    }

    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog> {
        let endpoint = endpoint.to_owned();
        Box::pin(async move { self.arrived().await?.calls(&endpoint).await })
    }

    fn put_consent(&self, consent: PendingConsent, now: SystemTime) -> Pending<'_, ()> {
        Box::pin(async move { self.arrived().await?.put_consent(consent, now).await })
    }

    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>> {
        let state = state.clone();
        Box::pin(async move { self.arrived().await?.take_consent(&state).await })
    }

    /// Does not wait: whoever asks wants to know how it is now.
    fn probe(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.store()?.probe().await })
    }

    fn backup(&self, to: &Path) -> Pending<'_, ()> {
        let to = to.to_owned();
        Box::pin(async move { self.arrived().await?.backup(&to).await })
    }

    fn rekey(&self) -> Pending<'_, u64> {
        Box::pin(async move { self.arrived().await?.rekey().await })
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        match self.store.get() {
            Some(store) => store.shut_down(),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    fn trouble(&self) -> Option<StoreError> {
        self.store().map_or_else(Some, |store| store.trouble())
    }

    fn spill_room(&self) -> Option<SpillRoom> {
        self.store().ok()?.spill_room()
    }

    fn spill(&self, records: Vec<Record>) -> Result<(), SpillError> {
        match self.store() {
            Ok(store) => store.spill(records),
            Err(error) => Err(SpillError { unwritten: records, error }),
        }
    }
}
