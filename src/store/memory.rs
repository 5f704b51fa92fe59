//! A store for the life of the process. The one rule: it keeps the promises of the trait and nothing else, so that what is
//! proved with it holds for any store.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    Begun, CallLog, Intent, Origin, PageQuery, Pending, PendingConsent, Record, Replaced, SpillError, Store,
    Stored, record::OpenIntent,
};
use crate::{
    names::{AccountId, AppName},
    secret::{self, Secret},
};

/// Accounts in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Default, Clone)]
struct Kept {
    records: BTreeMap<AccountId, Record>,
    holders: HashMap<[u8; 32], AccountId>,
    consents: HashMap<[u8; 32], PendingConsent>,
    calls: HashMap<String, Vec<Call>>,
}

#[derive(Clone)]
struct Call {
    id: AccountId,
    sent: SystemTime,
    ended: Option<SystemTime>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} accounts)", self.kept().records.len())
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is in it now, in a store of its own: what a crash at this moment would leave.
    #[must_use]
    pub fn image(&self) -> Self {
        Self(Mutex::new(self.kept().clone()))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No code that holds it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn done<'a, T: Send + 'a>(outcome: T) -> Pending<'a, T> {
    Box::pin(std::future::ready(Ok(outcome)))
}

impl Kept {
    fn replace(&mut self, mut record: Record, origin: Origin) -> Replaced {
        let stored = self.records.get(&record.id).map_or(0, |stored| stored.generation);
        if stored + 1 != record.generation {
            return Replaced::Newer;
        }
        self.end_calls(&record.id, record.changed_at);
        if let (Some(super::Grant::Refresh { token, .. }), true) = (&record.grant, origin != Origin::Kept) {
            self.holders.insert(secret::sha256(token.expose()), record.id.clone());
        }
        record.intent = None;
        self.records.insert(record.id.clone(), record);
        Replaced::Durable
    }

    fn begin(&mut self, intent: &Intent) -> Begun {
        let Some(record) = self.records.get_mut(&intent.id).filter(|r| r.generation == intent.generation)
        else {
            return Begun::Newer;
        };
        let showings = record.intent.map_or(0, |open| open.showings) + 1;
        record.intent = Some(OpenIntent { showings, at: intent.at });
        if let Some((endpoint, window)) = &intent.counted {
            let calls = self.calls.entry(endpoint.clone()).or_default();
            calls.retain(|call| call.counts_at(intent.at, *window));
            calls.push(Call { id: intent.id.clone(), sent: intent.at, ended: None });
        }
        Begun::Durable
    }

    fn close(&mut self, id: &AccountId, generation: u64, at: SystemTime) {
        if let Some(record) = self.records.get_mut(id).filter(|r| r.generation == generation) {
            record.intent = None;
            self.end_calls(id, at);
        }
    }

    fn end_calls(&mut self, id: &AccountId, at: SystemTime) {
        let calls = self.calls.values_mut().flatten();
        calls.filter(|call| call.id == *id && call.ended.is_none()).for_each(|call| call.ended = Some(at));
    }
}

impl Call {
    fn counts_at(&self, now: SystemTime, window: Duration) -> bool {
        self.ended.is_none_or(|ended| ended + window >= now) && self.sent + 2 * window >= now
    }
}

impl Store for MemoryStore {
    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>> {
        done(self.kept().records.get(id).map(|record| Stored::Whole(Box::new(record.clone()))))
    }

    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>> {
        let wanted = |id: &AccountId| {
            query.app.as_ref().is_none_or(|app| *app == id.app)
                && query.after.as_ref().is_none_or(|(app, account)| (&id.app, &id.account) > (app, account))
        };
        let kept = self.kept();
        let records = kept.records.values().filter(|record| wanted(&record.id)).take(query.limit);
        done(records.map(|record| Stored::Whole(Box::new(record.clone()))).collect())
    }

    fn count(&self, app: Option<AppName>) -> Pending<'_, u64> {
        let kept = self.kept();
        done(kept.records.keys().filter(|id| app.as_ref().is_none_or(|app| *app == id.app)).count() as u64)
    }

    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced> {
        done(self.kept().replace(record, origin))
    }

    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced> {
        let mut kept = self.kept();
        if kept.records.get(id).is_none_or(|record| record.generation != generation) {
            return done(Replaced::Newer);
        }
        kept.records.remove(id);
        kept.holders.retain(|_, holder| holder != id);
        done(Replaced::Durable)
    }

    fn begin(&self, intent: Intent) -> Pending<'_, Begun> {
        done(self.kept().begin(&intent))
    }

    fn close(&self, id: &AccountId, generation: u64, at: SystemTime) -> Pending<'_, ()> {
        self.kept().close(id, generation, at);
        done(())
    }

    fn open_intents(&self) -> Pending<'_, Vec<AccountId>> {
        let kept = self.kept();
        let open = kept.records.values().filter(|record| record.intent.is_some());
        done(open.map(|record| record.id.clone()).collect())
    }

    fn holder(&self, refresh_token: &Secret) -> Pending<'_, Option<AccountId>> {
        done(self.kept().holders.get(&secret::sha256(refresh_token.expose())).cloned())
    }

    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog> {
        let kept = self.kept();
        let calls = kept.calls.get(endpoint).map(Vec::as_slice).unwrap_or_default();
        let ended: Vec<_> = calls.iter().filter_map(|call| call.ended).collect();
        done(CallLog { open: calls.len() - ended.len(), ended })
    }

    fn put_consent(&self, consent: PendingConsent, now: SystemTime) -> Pending<'_, ()> {
        let mut kept = self.kept();
        kept.consents.retain(|_, pending| pending.ends_at > now);
        kept.consents.insert(secret::sha256(consent.state.expose()), consent);
        done(())
    }

    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>> {
        done(self.kept().consents.remove(&secret::sha256(state.expose())))
    }

    fn probe(&self) -> Pending<'_, ()> {
        done(())
    }

    fn spill(&self, records: Vec<Record>) -> Result<(), SpillError> {
        let mut kept = self.kept();
        for record in records {
            kept.replace(record, Origin::Rotated);
        }
        Ok(())
    }
}
