//! Sees to accounts that nobody uses: keeps idle grants from dying of disuse, tries refused ones again, and takes up what an
//! earlier process left. The one rule: an idle account is left alone until something is due; each rotation is a risk.

use std::time::{Duration, Instant, SystemTime};

use super::{
    Accounts,
    document::{login_required_by, state_of},
};
use crate::{
    grant::{LiveAccount, agenda, refresh_end, repeats_at_once},
    metrics::StoredAccounts,
    names::AccountId,
    store::{PageQuery, Record, StoreError, Stored},
};

/// How many records are read at once: whoever asks the store for an account meanwhile waits for no more than that.
const BATCH: usize = 100;

/// Looking through the store rests so many times as long as it worked: requests go first.
const REST: u32 = 3;

/// A suspended machine and a stepped clock are noticed after this long.
const LOOK_AT_CLOCKS: Duration = Duration::from_secs(30);

impl Accounts {
    /// Looks through the store once: notes what falls due before the next look, and counts all accounts by state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn look_after(&self) -> Result<StoredAccounts, StoreError> {
        let mut counted = StoredAccounts::default();
        let Some(store) = &self.store else { return Ok(counted) };
        for app in self.apps.values().filter(|app| app.takes_accounts()) {
            let mut after = None;
            loop {
                let begun = Instant::now();
                let query = PageQuery { app: Some(app.name.clone()), after: after.take(), limit: BATCH };
                let batch = store.page(query).await?;
                let now = self.clock.now();
                for stored in &batch {
                    let record = match stored {
                        Stored::Whole(record) => Some(record.as_ref()),
                        Stored::Corrupt { .. } => None,
                    };
                    record.into_iter().for_each(|record| self.revoking.expect(record));
                    let end = record.and_then(|record| login_required_by(app, record, now.wall));
                    counted.count(&app.name, state_of(app, stored, &self.live, now).as_str(), end);
                    if let Some(at) = record.and_then(|record| due(app, record)) {
                        self.live.agenda().note(stored.id(), Some(at), now.wall);
                    }
                }
                match batch.last() {
                    Some(last) if batch.len() == BATCH => {
                        after = Some((last.id().app.clone(), last.id().account.clone()));
                        tokio::time::sleep(begun.elapsed() * REST).await;
                    }
                    _ => break,
                }
            }
        }
        Ok(counted)
    }

    /// Sees to every account that falls due, each at its time, until the future is dropped.
    pub async fn keep_up(&self) {
        let agenda = self.live.agenda();
        loop {
            let now = self.clock.now().wall;
            if let Some((id, is_order)) = agenda.take_due(now) {
                self.attend(&id, is_order, now).await;
                continue;
            }
            let rest = agenda.next().map(|at| at.duration_since(now).unwrap_or_default());
            tokio::select! {
                () = tokio::time::sleep(rest.unwrap_or(LOOK_AT_CLOCKS).min(LOOK_AT_CLOCKS)) => {}
                () = agenda.changed() => {}
            }
        }
    }

    /// Has an account refreshed if it is still due: what was noted may have changed. `is_order`: its endpoint accepts grants
    /// again, so that one that was refused may try.
    async fn attend(&self, id: &AccountId, is_order: bool, now: SystemTime) {
        let (Some(store), Some(app)) = (&self.store, self.apps.get(&id.app)) else { return };
        let Ok(Some(Stored::Whole(record))) = store.account(id).await else { return };
        let agenda = self.live.agenda();
        if is_order {
            let has_trouble = |live: &LiveAccount| live.published().trouble.is_some();
            let live = self.live.peek(id).filter(|live| has_trouble(live));
            if live.is_some() || record.notes.refusal.is_some() {
                self.wake(id, "the token endpoint accepts grants again", LiveAccount::order_refresh).await;
            }
            return;
        }
        let Some(at) = due(app, &record) else { return };
        if at > now {
            return agenda.note(id, Some(at), now);
        }
        if refresh_end(&record).is_some_and(|end| end <= now) {
            return; // It has ended: asking now would spend a call, and nothing else.
        }
        self.wake(id, "refreshing an account that is due though nobody uses it", LiveAccount::keep_up).await;
        // Unless something comes of it: then its keeper notes when to look next.
        agenda.note(id, Some(now + look_again(&record, now)), now);
    }

    async fn wake(&self, id: &AccountId, why: &str, how: fn(&LiveAccount)) {
        let Some(app) = self.apps.get(&id.app) else { return };
        match self.find(app, Some(&id.account)).await {
            Ok(live) => {
                tracing::info!(account = %id, "{why}");
                how(&live);
            }
            Err(missing) => tracing::warn!(account = %id, ?missing, "cannot see to this account"),
        }
    }

    /// Takes up what an earlier process left: token calls that still count, and refreshes whose outcome is unknown. Those are
    /// repeated at once where the server takes that for a repetition for a time that still runs, else when the stored token
    /// has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn take_up(&self) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        for app in self.apps.values() {
            self.live.recall_calls(&app.profile).await?;
        }
        for id in store.open_intents().await? {
            let Some(app) = self.apps.get(&id.app) else { continue };
            let Some(Stored::Whole(record)) = store.account(&id).await? else { continue };
            let now = self.clock.now().wall;
            match record.intent {
                Some(open) if repeats_at_once(&app.profile, &open, now) => {
                    let why = "a refresh was cut off: its outcome is unknown, and it is repeated once";
                    self.wake(&id, why, LiveAccount::heal).await;
                }
                _ => {
                    tracing::warn!(account = %id,
                        "a refresh was cut off: its outcome is unknown, and the stored token is used to its end first");
                    self.live.agenda().note(&id, due(app, &record), now);
                }
            }
        }
        Ok(())
    }
}

fn due(app: &crate::config::App, record: &Record) -> Option<SystemTime> {
    agenda::due_by_record(&app.profile, record)
}

/// When an account that is due is looked at again, if nothing comes of it: often enough before its refresh token ends.
fn look_again(record: &Record, now: SystemTime) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(60);
    const REFUSED: Duration = Duration::from_secs(600);
    if record.notes.refusal.is_some() {
        return REFUSED;
    }
    let left = refresh_end(record).map(|end| end.duration_since(now).unwrap_or_default());
    left.map_or(MOST, |left| (left / 4).clamp(LEAST, MOST))
}
