//! The store of a schedule. The one rule: it keeps the promises of the trait, and fails in every way the trait allows.

use std::{fmt, sync::Arc};

use marketgate::{
    names::{AccountId, AppName},
    secret::Secret,
    store::{
        Begun, CallLog, Grant, Intent, MemoryStore, Origin, PageQuery, Pending, PendingConsent, Record,
        Replaced, SpillError, Standing, Store, StoreError, Stored, error::Trouble,
    },
};

use super::{
    dice::{Dice, For},
    fault::{Fault, Step},
    world::World,
};

pub(super) struct FaultyStore {
    world: Arc<World>,
    inner: Arc<MemoryStore>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl FaultyStore {
    pub(super) fn new(world: Arc<World>, inner: MemoryStore) -> Self {
        Self { world, inner: Arc::new(inner) }
    }

    /// What a crash now would leave.
    pub(super) fn image(&self) -> MemoryStore {
        self.inner.image()
    }

    pub(super) async fn open(&self) -> Vec<usize> {
        let open = self.inner.open_intents().await.unwrap_or_default();
        open.iter().map(|id| self.number(id)).collect()
    }

    /// What is in it, without a chance to fail: for whoever only looks.
    pub(super) fn quiet(&self) -> Arc<MemoryStore> {
        self.inner.clone()
    }

    fn number(&self, id: &AccountId) -> usize {
        let known = self.world.terms.accounts.iter().position(|account| account.id == *id);
        known.expect("an account of this schedule")
    }

    /// One operation: `effect` is what it does.
    async fn operate<T>(
        &self,
        step: Step,
        account: usize,
        effect: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        let world = &self.world;
        world.live_on().await;
        let now = world.now();
        world.state().truth.store_asked(account, step, now);
        let number = world.state().steps.len() as u64;
        let mut dice = world.dice(For::Store, [number, account as u64, step as u64]);
        world.pass(dice.millis(0, 5)).await;
        let fault = world.step(step, account).await;
        let now = world.now().at;
        match fault {
            Some(Fault::Full) => world.state().full_until = now + dice.millis(500, 20_000),
            Some(Fault::Moved) => world.state().moved_until = now + dice.millis(500, 60_000),
            Some(Fault::Slow) => world.pass(dice.millis(500, 8_000)).await,
            _ => {}
        }
        let is_full = step != Step::Read && world.state().full_until > now;
        let is_moved = step == Step::Begin && world.state().moved_until > now;
        if is_moved {
            self.failed(account);
            return Err(StoreError::new(Trouble::Displaced, "the file is elsewhere"));
        }
        if is_full || fault == Some(Fault::FailBefore) {
            return Err(self.failed(account));
        }
        let outcome = effect.await;
        match fault {
            Some(Fault::FailAfter) => return Err(self.failed(account)),
            Some(Fault::CrashAfter) => world.crash(),
            _ => {}
        }
        world.live_on().await;
        Ok(outcome)
    }

    fn failed(&self, account: usize) -> StoreError {
        self.world.state().truth.store_failed(account);
        StoreError::new(Trouble::Full, "as the schedule will have it")
    }

    async fn read(&self, account: usize, id: &AccountId) -> Option<Stored> {
        let stored = self.inner.account(id).await.ok().flatten();
        if let Some(Stored::Whole(record)) = &stored {
            let now = self.world.now();
            self.world.state().truth.read(account, record.intent.is_some(), now);
        }
        stored
    }

    async fn write(&self, account: usize, record: Record, origin: Origin) -> Replaced {
        let replaced = self.inner.replace(record.clone(), origin).await.unwrap_or(Replaced::Newer);
        if replaced == Replaced::Durable {
            self.world.tell(|| {
                format!(
                    "generation {} of account {account} is durable: {:?}",
                    record.generation, record.standing
                )
            });
            self.world.state().truth.kept(account, &record, origin == Origin::Brought);
        }
        replaced
    }
}

impl Store for FaultyStore {
    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>> {
        let (account, id) = (self.number(id), id.clone());
        Box::pin(async move { self.operate(Step::Read, account, self.read(account, &id)).await })
    }

    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced> {
        let account = self.number(&record.id);
        Box::pin(self.operate(Step::Replace, account, self.write(account, record, origin)))
    }

    fn begin(&self, intent: Intent) -> Pending<'_, Begun> {
        let account = self.number(&intent.id);
        let effect = async move {
            let begun = self.inner.begin(intent).await.unwrap_or(Begun::Newer);
            if begun == Begun::Durable {
                let now = self.world.now();
                self.world.state().truth.begun(account, now);
            }
            begun
        };
        Box::pin(self.operate(Step::Begin, account, effect))
    }

    fn close(&self, id: &AccountId, generation: u64, at: std::time::SystemTime) -> Pending<'_, ()> {
        let (account, id) = (self.number(id), id.clone());
        let effect = async move { self.inner.close(&id, generation, at).await.unwrap_or(()) };
        Box::pin(self.operate(Step::Close, account, effect))
    }

    fn spill(&self, records: Vec<Record>) -> Result<(), SpillError> {
        for (place, record) in records.iter().enumerate() {
            let account = self.number(&record.id);
            let fault = self.world.draw(Step::Spill, account).map(|(fault, _)| fault);
            if !matches!(record.grant, Some(Grant::Refresh { .. })) {
                continue;
            }
            match fault {
                Some(Fault::SpillFails) => {
                    // It is one file: what was to follow is not in it either. It is tried again.
                    return Err(SpillError {
                        unwritten: records[place..].to_vec(),
                        error: self.failed(account),
                    });
                }
                Some(Fault::CrashBefore) => self.world.crash(),
                _ => {}
            }
            if self.world.is_over() {
                return Ok(());
            }
            self.adopt(account, record);
            if fault == Some(Fault::CrashAfter) {
                self.world.crash();
            }
        }
        Ok(())
    }

    fn open_intents(&self) -> Pending<'_, Vec<AccountId>> {
        self.inner.open_intents()
    }

    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog> {
        self.inner.calls(endpoint)
    }

    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>> {
        self.inner.page(query)
    }

    fn count(&self, app: Option<AppName>) -> Pending<'_, u64> {
        self.inner.count(app)
    }

    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced> {
        self.inner.remove(id, generation)
    }

    fn holder(&self, refresh_token: &Secret) -> Pending<'_, Option<AccountId>> {
        self.inner.holder(refresh_token)
    }

    fn pinned(&self, id: &AccountId, identity: &str) -> Pending<'_, Option<AccountId>> {
        self.inner.pinned(id, identity)
    }

    fn put_consent(&self, consent: PendingConsent, now: std::time::SystemTime) -> Pending<'_, ()> {
        self.inner.put_consent(consent, now)
    }

    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>> {
        self.inner.take_consent(state)
    }

    fn probe(&self) -> Pending<'_, ()> {
        self.inner.probe()
    }
}

impl FaultyStore {
    /// A login's grant takes the place of the one that is there. Nobody of the grant's keepers is asked.
    pub(super) async fn bring(
        &self,
        account: usize,
        token: Secret,
        dice: &mut Dice,
    ) -> Result<(), StoreError> {
        let world = &self.world;
        world.pass(dice.millis(0, 5)).await;
        if world.state().full_until > world.now().at || dice.percent(20) {
            return Err(self.failed(account));
        }
        let id = &world.terms.accounts[account].id;
        let Ok(Some(Stored::Whole(record))) = self.inner.account(id).await else {
            return Err(self.failed(account));
        };
        let now = world.now().moment.wall;
        let is_told = world.terms.end.filter(|end| end.is_told);
        let ends_at = is_told.map(|end| now + end.after);
        let next = Record {
            grant: Some(Grant::Refresh { token, obtained_at: now, ends_at }),
            generation: record.generation + 1,
            standing: Standing::Active,
            token: None,
            notes: Default::default(),
            changed_at: now,
            ..*record
        };
        match self.write(account, next, Origin::Brought).await {
            Replaced::Durable => Ok(()),
            Replaced::Newer | Replaced::Held(_) => Err(self.failed(account)),
        }
    }

    /// What the next start makes of a spilled record.
    fn adopt(&self, account: usize, record: &Record) {
        use futures_util::FutureExt;
        self.world.state().truth.figures.spilled += 1;
        // The inner store answers at once.
        self.write(account, record.clone(), Origin::Rotated).now_or_never();
    }
}
