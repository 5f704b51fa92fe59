//! Keeps idle grants from dying of disuse, and knows which will need a login soon. The one rule: an idle account is left
//! alone until the end of its refresh token is near; each rotation is a risk.

use std::time::{Duration, Instant, SystemTime};

use super::{
    Accounts,
    document::{login_required_by, state_of},
};
use crate::{
    config::App,
    metrics::StoredAccounts,
    store::{Grant, PageQuery, Record, Standing, StoreError, Stored},
};

/// How many records are read at once: whoever asks the store for an account meanwhile waits for no more than that.
const BATCH: usize = 100;

/// Looking through the store rests so many times as long as it worked: requests go first.
const REST: u32 = 3;

/// A refresh token is replaced when no more than this is left of it,
const NEAR: Duration = Duration::from_secs(30 * 86_400);

/// or this part of its whole life, where that is less.
const NEAR_PART: u32 = 6;

impl Accounts {
    /// Looks through the store once: refreshes accounts whose refresh token would soon end of itself, and counts all by
    /// state.
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
                for stored in &batch {
                    let record = match stored {
                        Stored::Whole(record) => Some(record.as_ref()),
                        Stored::Corrupt { .. } => None,
                    };
                    record.into_iter().for_each(|record| self.revoking.expect(record));
                    let end = record.and_then(|record| login_required_by(app, record));
                    counted.count(&app.name, state_of(app, stored, &self.live).as_str(), end);
                    if record.is_some_and(|record| is_near_its_end(app, record, self.clock.now().wall)) {
                        self.keep_alive(app, stored).await;
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

    async fn keep_alive(&self, app: &std::sync::Arc<App>, stored: &Stored) {
        match self.find(app, Some(&stored.id().account)).await {
            Ok(live) => {
                tracing::info!(account = %live.id(), "refreshing an idle account before its refresh token ends");
                live.order_refresh();
            }
            Err(missing) => {
                tracing::warn!(account = %stored.id(), ?missing, "cannot keep this account alive");
            }
        }
    }

    /// Takes up what an earlier process left: token calls that still count, and refreshes whose outcome is unknown, which
    /// are tried again at once (law 4).
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
            match self.find(app, Some(&id.account)).await {
                Ok(live) => {
                    tracing::warn!(account = %id, "a refresh was cut off: its outcome is unknown, and it is repeated once");
                    live.heal();
                }
                Err(missing) => {
                    tracing::warn!(account = %id, ?missing, "cannot take up a refresh that was cut off");
                }
            }
        }
        Ok(())
    }
}

/// Whether a refresh token is about to end that a refresh would replace by one that lives longer.
fn is_near_its_end(app: &App, record: &Record, now: SystemTime) -> bool {
    let Some(Grant::Refresh { obtained_at, ends_at: Some(end), .. }) = &record.grant else { return false };
    // Where the consent itself ends, a new refresh token would end with it.
    let extends = app.profile.rotates && app.profile.lifetimes.consent.is_none();
    let life = end.duration_since(*obtained_at).unwrap_or_default();
    let left = end.duration_since(now).unwrap_or_default();
    extends && record.standing == Standing::Active && !left.is_zero() && left <= NEAR.min(life / NEAR_PART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, secret::Secret};

    const DAY: Duration = Duration::from_secs(86_400);

    fn record(app: &App, life: Duration) -> Record {
        let now = SystemTime::UNIX_EPOCH;
        Record {
            id: crate::names::AccountId { app: app.name.clone(), account: "shop".parse().unwrap() },
            provider: app.profile.provider.clone(),
            environment: app.profile.environment.clone(),
            generation: 1,
            grant: Some(Grant::Refresh {
                token: Secret::new("r"),
                obtained_at: now,
                ends_at: Some(now + life),
            }),
            standing: Standing::Active,
            token: None,
            identity: None,
            shared_seller: false,
            unrevoked: Vec::new(),
            settings: Default::default(),
            consented_at: None,
            created_at: now,
            changed_at: now,
            intent: None,
        }
    }

    #[test]
    fn only_a_refresh_token_that_a_refresh_would_extend_is_kept_alive_and_only_near_its_end() {
        let text = "[apps.w]\nprovider = \"wallapop\"\nclient_id = \"a\"\nclient_secret = \"b\"\n\
            [apps.d]\nprovider = \"depop\"\nenvironment = \"production\"\ngrant = \"authorization_code\"\n\
            client_id = \"a\"\nclient_secret = \"b\"\n";
        let loaded = config::parse("t", text, std::path::Path::new("/"), &|_| None).unwrap();
        let (wallapop, depop) = (&loaded.settings.apps["w"], &loaded.settings.apps["d"]);
        let at = |days: u32| SystemTime::UNIX_EPOCH + DAY * days;
        let long = record(wallapop, 180 * DAY);
        assert!(!is_near_its_end(wallapop, &long, at(149)) && is_near_its_end(wallapop, &long, at(151)));
        assert!(
            !is_near_its_end(wallapop, &long, at(181)),
            "it has ended: asking now spends nothing but a call"
        );
        let short = record(wallapop, 6 * DAY);
        assert!(!is_near_its_end(wallapop, &short, at(4)) && is_near_its_end(wallapop, &short, at(5)));
        assert!(!is_near_its_end(depop, &record(depop, 180 * DAY), at(179)));
        let parked = Record { standing: Standing::LoginRequired(crate::store::LoginReason::Revoked), ..long };
        assert!(!is_near_its_end(wallapop, &parked, at(170)));
    }
}
