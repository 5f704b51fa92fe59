//! Ends grants at the server (RFC 7009). A grant is forgotten here first, so that nothing spends it meanwhile; its refresh
//! token is kept in the account's record, and revoked again and again until the server confirms it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::Instant};

use super::{Accounts, AccountsError};
use crate::{
    config::{App, Credentials},
    names::AccountId,
    oauth::revoke::{RevocationRequest, RevokeError},
    secret::Secret,
    store::{Record, Stored, Unrevoked},
};

const LIMIT: Duration = Duration::from_secs(20);

/// How long after the first failure the next try follows; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Accounts with a former grant that is still to be revoked, and when it is tried next.
#[derive(Debug, Default)]
pub(super) struct Revoking {
    due: Mutex<HashMap<AccountId, Due>>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    failures: u32,
    at: Instant,
}

impl Revoking {
    fn due(&self) -> MutexGuard<'_, HashMap<AccountId, Due>> {
        // No code that holds it can panic half-way.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an account whose record holds such a grant; one that is known already keeps its time.
    pub(super) fn expect(&self, record: &Record) {
        if record.unrevoked.is_empty() || self.due().contains_key(&record.id) {
            return;
        }
        self.due().insert(record.id.clone(), Due { failures: 0, at: Instant::now() });
        self.changed.notify_one();
    }

    fn failed(&self, id: &AccountId, asked: Option<Duration>) {
        let mut due = self.due();
        let failures = due.get(id).map_or(1, |due| due.failures.saturating_add(1));
        let pause = pause(failures).max(asked.unwrap_or_default());
        due.insert(id.clone(), Due { failures, at: Instant::now() + pause });
        self.changed.notify_one();
    }

    fn settled(&self, id: &AccountId) {
        self.due().remove(id);
    }

    fn next(&self) -> Option<(AccountId, Instant)> {
        let due = self.due();
        due.iter().min_by_key(|(_, due)| due.at).map(|(id, due)| (id.clone(), due.at))
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// Why a grant is not revoked, and whether that can change.
pub(super) struct NotRevoked {
    /// The reason, for a person.
    pub(super) why: String,
    /// How long the server asked us to wait.
    retry_after: Option<Duration>,
}

impl From<RevokeError> for NotRevoked {
    fn from(error: RevokeError) -> Self {
        Self { why: error.to_string(), retry_after: error.retry_after }
    }
}

impl From<String> for NotRevoked {
    fn from(why: String) -> Self {
        Self { why, retry_after: None }
    }
}

impl Accounts {
    /// Why a refresh token of this app cannot be revoked at the server at all; None: there is an address for it.
    pub(super) fn cannot_revoke(&self, app: &App) -> Option<String> {
        if app.profile.revoke_url.is_some() {
            return None;
        }
        Some(format!(
            "no address for it is configured: write revoke_url in [apps.{}] if the server has one (RFC 7009), or the seller \
             withdraws it in the settings of their account there",
            app.name
        ))
    }

    /// Tries once to revoke what the account's record still holds of former grants.
    pub(super) async fn revoke_former(&self, id: &AccountId) -> Result<(), NotRevoked> {
        let Some(store) = &self.store else { return Ok(()) };
        let record = match store.account(id).await.map_err(|error| error.to_string())? {
            Some(Stored::Whole(record)) if !record.unrevoked.is_empty() => *record,
            // Removed, damaged, or done by somebody else.
            _ => {
                self.revoking.settled(id);
                return Ok(());
            }
        };
        let now = self.clock.now().wall;
        let mut outcome = Ok(());
        let mut left = Vec::new();
        for former in record.unrevoked.clone() {
            if former.ends_at.is_some_and(|end| end <= now) {
                tracing::info!(account = %id, "a former grant has ended by itself before the server confirmed its end");
                continue;
            }
            match self.revoke(id, &former.token).await {
                Ok(()) => tracing::info!(account = %id, "the server has revoked a former grant"),
                Err(error) => {
                    outcome = Err(error);
                    left.push(former);
                }
            }
        }
        let noted = left.len() == record.unrevoked.len() || self.keep_unrevoked(id, &left).await;
        match &outcome {
            Ok(()) if noted => self.revoking.settled(id),
            // Once more: a server answers that with success (RFC 7009 §2.2), and then it may be noted.
            Ok(()) => self.revoking.failed(id, None),
            Err(not) => {
                tracing::warn!(account = %id, "a former grant is not revoked yet: {}", not.why);
                self.revoking.failed(id, not.retry_after);
            }
        }
        outcome
    }

    /// What was revoked meanwhile is taken out of the record as it is now. Whether that was done.
    async fn keep_unrevoked(&self, id: &AccountId, left: &[Unrevoked]) -> bool {
        let noted = async {
            let (change, stored) = self.settled(id, None).await?;
            let Stored::Whole(record) = stored else { return Ok(()) };
            let is_left =
                |former: &Unrevoked| left.iter().any(|kept| kept.token.expose() == former.token.expose());
            let mut unrevoked = record.unrevoked.clone();
            unrevoked.retain(is_left);
            self.write(change, Record { unrevoked, ..*record }).await
        };
        let noted: Result<(), AccountsError> = noted.await;
        if let Err(error) = &noted {
            tracing::warn!(account = %id, %error, "that a former grant is revoked could not be stored");
        }
        noted.is_ok()
    }

    /// Revokes former grants whose time has come, for as long as it is awaited.
    pub async fn keep_revoking(&self) {
        loop {
            match self.revoking.next() {
                Some((id, at)) if at <= Instant::now() => {
                    // What came of it is in the log, and in the account's record.
                    drop(self.revoke_former(&id).await);
                }
                Some((_, at)) => {
                    // A nearer one may come.
                    drop(tokio::time::timeout_at(at, self.revoking.changed.notified()).await);
                }
                None => self.revoking.changed.notified().await,
            }
        }
    }

    async fn revoke(&self, id: &AccountId, refresh_token: &Secret) -> Result<(), NotRevoked> {
        let app = self.app(&id.app).map_err(|error| error.to_string())?;
        let (Some(url), Some(endpoint), Some(client)) =
            (&app.profile.revoke_url, &app.profile.token_endpoint, &app.client)
        else {
            return Err(self.cannot_revoke(app).unwrap_or_else(|| "the app has no client".to_owned()).into());
        };
        let account = app.account_with(id.account.clone(), client.credentials(), Default::default())?;
        let Credentials::Client { id: client_id, secrets } = &account.credentials else {
            return Err("the app has no client".to_owned().into());
        };
        let mut outcome = Err("the app has no client secret".to_owned().into());
        for secret in secrets {
            let client_secret = &secret.read().map_err(|error| error.to_string())?;
            let settings = |name: &str| account.setting(name);
            let request = RevocationRequest {
                url,
                endpoint,
                client_id,
                client_secret,
                refresh_token,
                settings: &settings,
                limit: LIMIT,
            };
            match self.client.revoke(&request).await {
                Ok(()) => return Ok(()),
                Err(error) => outcome = Err(error.into()),
            }
        }
        outcome
    }
}

/// What is still to be revoked once an account has a new grant, of the seller `found` as far as that is known. A former grant
/// of the same seller may live in the session of the new one, which its revocation would end.
pub(super) fn still_unrevoked(before: &Record, found: Option<&str>) -> Vec<Unrevoked> {
    let is_other = found.is_some() && before.identity.as_deref() != found;
    if is_other {
        return before.unrevoked.clone();
    }
    if !before.unrevoked.is_empty() {
        tracing::warn!(account = %before.id, "the account has a new grant: a former one is not revoked any more, since that could end the new one");
    }
    Vec::new()
}

/// The oldest of the former grants that are still to be revoked.
pub fn unrevoked_since(record: &Record) -> Option<SystemTime> {
    record.unrevoked.iter().map(|former| former.since).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_an_hour() {
        assert_eq!([1, 2, 5].map(|failures| pause(failures).as_secs()), [2, 4, 32]);
        assert_eq!(pause(12), LONGEST_PAUSE);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
