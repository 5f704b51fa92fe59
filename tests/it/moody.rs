//! A store that can be told to fail. The rule: what it is not told to do wrong it does right.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::SystemTime,
};

use marketgate::{
    names::{AccountId, AppName},
    secret::Secret,
    store::{
        Begun, CallLog, Intent, MemoryStore, Origin, PageQuery, Pending, PendingConsent, Record, Replaced,
        SpillError, Store, StoreError, Stored, error::Trouble,
    },
};

/// Keeps its records in memory.
#[derive(Debug, Default)]
pub(crate) struct Moody {
    inner: MemoryStore,
    /// It cannot be written to, it says when it is asked.
    pub(crate) fails: AtomicBool,
    /// How often it was asked.
    pub(crate) probes: AtomicUsize,
    /// The next refresh that begins meets a defect of ours.
    pub(crate) breaks: AtomicBool,
    /// It takes no record.
    pub(crate) refuses: AtomicBool,
    /// It cannot spill.
    pub(crate) spills_nothing: AtomicBool,
    /// How often it was to spill.
    pub(crate) spills: AtomicUsize,
}

impl Store for Moody {
    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>> {
        self.inner.account(id)
    }
    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>> {
        self.inner.page(query)
    }
    fn count(&self, app: Option<AppName>) -> Pending<'_, u64> {
        self.inner.count(app)
    }
    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced> {
        if self.refuses.load(SeqCst) {
            return Box::pin(std::future::ready(Err(full())));
        }
        self.inner.replace(record, origin)
    }
    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced> {
        self.inner.remove(id, generation)
    }
    fn begin(&self, intent: Intent) -> Pending<'_, Begun> {
        assert!(!self.breaks.swap(false, SeqCst), "told to break");
        self.inner.begin(intent)
    }
    fn close(&self, id: &AccountId, generation: u64, at: SystemTime) -> Pending<'_, ()> {
        self.inner.close(id, generation, at)
    }
    fn open_intents(&self) -> Pending<'_, Vec<AccountId>> {
        self.inner.open_intents()
    }
    fn holder(&self, refresh_token: &Secret) -> Pending<'_, Option<AccountId>> {
        self.inner.holder(refresh_token)
    }
    fn pinned(&self, id: &AccountId, identity: &str) -> Pending<'_, Option<AccountId>> {
        self.inner.pinned(id, identity)
    }
    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog> {
        self.inner.calls(endpoint)
    }
    fn put_consent(&self, consent: PendingConsent, now: SystemTime) -> Pending<'_, ()> {
        self.inner.put_consent(consent, now)
    }
    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>> {
        self.inner.take_consent(state)
    }
    fn probe(&self) -> Pending<'_, ()> {
        self.probes.fetch_add(1, SeqCst);
        if self.fails.load(SeqCst) {
            return Box::pin(std::future::ready(Err(full())));
        }
        self.inner.probe()
    }
    fn spill(&self, records: Vec<Record>) -> Result<(), SpillError> {
        self.spills.fetch_add(1, SeqCst);
        if self.spills_nothing.load(SeqCst) {
            return Err(SpillError { unwritten: records, error: full() });
        }
        self.inner.spill(records)
    }
}

fn full() -> StoreError {
    StoreError::new(Trouble::Full, "the disk is full")
}
