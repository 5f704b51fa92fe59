//! What is done to an account that is there. The one rule: each change is made from the generation that was read, durable
//! before it is answered, and never loses the last refresh token but at a person's word.

use std::time::Duration;

use tokio::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Accounts, AccountsError, document::AccountDocument, error::Refusal};
use crate::{
    clock::rfc3339,
    grant::{Change, Credential, Withheld, refresh_end},
    names::AccountId,
    store::{Grant, LoginReason, Origin, ParkReason, Record, Replaced, Standing, Stored, Unrevoked},
};

/// How long a change waits for a refresh under way of the same account.
pub(super) const SETTLE: Duration = Duration::from_secs(10);

/// How soon an account that is being changed is looked for again.
const AGAIN: Duration = Duration::from_millis(20);

/// How long an account may take to be found at least.
const LOOK: Duration = Duration::from_secs(1);

/// What became of a logout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedOut {
    /// Whether the marketplace was told, and revoked the grant.
    pub revoked: bool,
    /// Why it was not.
    pub why_not: Option<String>,
    /// Whether its refresh token is kept, sealed, to be revoked again and again until the server confirms it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// A grant handed out to another program.
#[derive(Serialize, Deserialize)]
pub struct Exported {
    /// The app.
    pub app: String,
    /// The account.
    pub account: String,
    /// The refresh token, for a grant with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The client id, for a client's own credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The client secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The static key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// When the seller first consented, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consented_at: Option<String>,
    /// When the refresh token ends by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_expires_at: Option<String>,
    /// Whom it is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Its settings.
    #[serde(flatten)]
    pub settings: std::collections::BTreeMap<String, String>,
}

impl Accounts {
    /// Forgets an account and its grant, of which the marketplace is told nothing: it may be imported under another name.
    /// `anyway`: even what is still to be revoked.
    ///
    /// # Errors
    /// When it is not there, written in the configuration, a former grant is still to be revoked, or the store fails.
    pub async fn remove(&self, id: &AccountId, anyway: bool) -> Result<(), AccountsError> {
        let store = self.store_of(id)?;
        // What a refresh under way may still bring is not wanted any more.
        let change = self.live.change(id, Some(Withheld::Removing), SETTLE).await;
        let stored = self.stored(id).await?;
        if let Stored::Whole(record) = &stored
            && !record.unrevoked.is_empty()
            && !anyway
        {
            let detail =
                format!("a former grant of {id} is not revoked at the marketplace yet: it would be lost");
            let action = "wait until the marketplace has confirmed it, or add --anyway (anyway=true)";
            return Err(AccountsError::new(Refusal::Conflict, "revocation_pending", detail, action));
        }
        durable(id, store.remove(id, stored.generation()).await?)?;
        self.done(change);
        Ok(())
    }

    /// Sets a parked account going again, grant and all: the person who says so knows that its refresh token was not spent
    /// since the backup.
    ///
    /// # Errors
    /// When it is not parked after a restore.
    pub async fn resume(&self, id: &AccountId) -> Result<AccountDocument, AccountsError> {
        let (change, stored) = self.settled(id, None).await?;
        let record = whole(id, stored)?;
        if record.standing != Standing::Parked(ParkReason::Restored) {
            let detail = format!("{id} is not parked after a restore");
            let action = "`marketgate status` shows what state it is in and what mends it";
            return Err(AccountsError::new(Refusal::Conflict, "not_parked", detail, action));
        }
        self.write(change, Record { standing: Standing::Active, ..record }).await?;
        self.show(id).await
    }

    /// Ends an account's connection: its grant is revoked where the marketplace can, and forgotten here; name, history and
    /// pinned identity stay.
    ///
    /// # Errors
    /// When it is not there, written in the configuration, or the store fails.
    pub async fn log_out(&self, id: &AccountId) -> Result<LoggedOut, AccountsError> {
        let (change, stored) = self.settled(id, Some(Withheld::LoggingOut)).await?;
        let record = whole(id, stored)?;
        let now = self.clock.now().wall;
        let cannot = match &record.grant {
            Some(Grant::Refresh { .. }) => self.app(&id.app).ok().and_then(|app| self.cannot_revoke(app)),
            Some(_) => Some(
                "this kind of grant cannot be revoked here: withdraw it in the marketplace's portal"
                    .to_owned(),
            ),
            None if !record.unrevoked.is_empty() => None,
            None => Some("there was no grant any more that could be revoked".to_owned()),
        };
        let mut unrevoked = record.unrevoked.clone();
        if let (Some(Grant::Refresh { token, ends_at, .. }), None) = (&record.grant, &cannot) {
            unrevoked.push(Unrevoked { token: token.clone(), since: now, ends_at: *ends_at });
        }
        let standing = Standing::LoginRequired(LoginReason::LoggedOut);
        self.write(change, Record { standing, grant: None, token: None, unrevoked, ..record }).await?;
        if let Some(why) = cannot {
            return Ok(LoggedOut { revoked: false, why_not: Some(why), pending: false });
        }
        let why_not = self.revoke_former(id).await.err().map(|not| not.why);
        Ok(LoggedOut { revoked: why_not.is_none(), pending: why_not.is_some(), why_not })
    }

    /// Hands a grant out, and never spends it here again.
    ///
    /// # Errors
    /// When there is none, or the store fails: then nothing is handed out.
    pub async fn export(&self, id: &AccountId) -> Result<Exported, AccountsError> {
        let (change, stored) = self.settled(id, Some(Withheld::HandingOut)).await?;
        let record = whole(id, stored)?;
        let Some(grant) = record.grant.clone().filter(|_| is_ours(&record)) else {
            let detail = format!("{id} has no grant to hand out");
            let action = format!("connect it first: `marketgate login {id}`");
            return Err(AccountsError::new(Refusal::Conflict, "no_grant", detail, action));
        };
        let standing = Standing::LoginRequired(LoginReason::Exported);
        // The refresh token stays, so that an export whose answer was lost can be repeated.
        self.write(change, Record { standing, token: None, ..record.clone() }).await?;
        let mut exported = Exported {
            app: id.app.to_string(),
            account: id.account.to_string(),
            refresh_token: None,
            client_id: None,
            client_secret: None,
            api_key: None,
            consented_at: record.consented_at.map(rfc3339),
            refresh_token_expires_at: refresh_end(&record).map(rfc3339),
            identity: record.identity.clone(),
            settings: record.settings.clone(),
        };
        match grant {
            Grant::Refresh { token, .. } => exported.refresh_token = Some(token.expose().to_owned()),
            Grant::Client { id, secret } => {
                exported.client_id = Some(id);
                exported.client_secret = Some(secret.expose().to_owned());
            }
            Grant::Key(key) => exported.api_key = Some(key.expose().to_owned()),
        }
        Ok(exported)
    }

    /// Has the token refreshed now and waits for the outcome, `wait` at most.
    ///
    /// # Errors
    /// When there is no such account. Whether the refresh succeeded is told by the document.
    pub async fn refresh(&self, id: &AccountId, wait: Duration) -> Result<AccountDocument, AccountsError> {
        let began = Instant::now();
        loop {
            let left = wait.saturating_sub(began.elapsed());
            let live = self.live_of(id, left).await?;
            live.refresh_now(left).await;
            // One that was changed meanwhile has not tried.
            if !live.is_retired() || left.is_zero() || self.live.closing().is_cancelled() {
                return self.show(id).await;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A valid token, waited for at most so long; the first failure ends the wait.
    ///
    /// # Errors
    /// When there is no such account, or no token in time.
    pub async fn token(
        &self,
        id: &AccountId,
        wait: Duration,
    ) -> Result<std::sync::Arc<Credential>, AccountsError> {
        let began = Instant::now();
        let unavailable = loop {
            let left = wait.saturating_sub(began.elapsed());
            match self.live_of(id, left).await?.first_token(left).await {
                Ok(credential) => return Ok(credential),
                Err(unavailable) if unavailable.changed && !left.is_zero() => tokio::time::sleep(AGAIN).await,
                Err(unavailable) => break unavailable,
            }
        };
        Err({
            let code = match unavailable.retry_after {
                _ if unavailable.draining => "draining",
                None => "login_required",
                Some(_) => "token_unavailable",
            };
            let detail = format!("no valid token for {id} ({}): {}", unavailable.state, unavailable.detail);
            let refusal = if unavailable.draining { Refusal::Busy } else { Refusal::Marketplace };
            AccountsError::new(refusal, code, detail, unavailable.action)
        })
    }

    async fn live_of(
        &self,
        id: &AccountId,
        wait: Duration,
    ) -> Result<std::sync::Arc<crate::grant::LiveAccount>, AccountsError> {
        let app = self.app(&id.app)?.clone();
        // An account that has a token is found in time, however short that is.
        let found = tokio::time::timeout(wait.max(LOOK), self.find(&app, Some(&id.account))).await;
        let found = found.map_err(|_| AccountsError::busy(id, self.live.outstanding().of(id)))?;
        found.map_err(|missing| missing.about(id))
    }

    /// The record when nothing is under way with it: an account's keeper first ends what it has begun. Where that takes too
    /// long, nothing is changed.
    pub(super) async fn settled(
        &self,
        id: &AccountId,
        refuse: Option<Withheld>,
    ) -> Result<(Change<'_>, Stored), AccountsError> {
        self.store_of(id)?;
        let change = self.live.change(id, refuse, SETTLE).await;
        if !change.is_settled() {
            return Err(AccountsError::busy(id, self.live.outstanding().of(id)));
        }
        let stored = self.stored(id).await?;
        Ok((change, stored))
    }

    /// Writes the next generation of a record that was just read.
    pub(super) async fn write(&self, change: Change<'_>, record: Record) -> Result<(), AccountsError> {
        let id = record.id.clone();
        let next = Record { generation: record.generation + 1, changed_at: self.clock.now().wall, ..record };
        durable(&id, self.store_of(&id)?.replace(next, Origin::Kept).await?)?;
        self.done(change);
        Ok(())
    }
}

/// Whether the grant may still be spent by us, or was handed out and may be handed out again.
fn is_ours(record: &Record) -> bool {
    !matches!(record.standing, Standing::LoginRequired(LoginReason::LoggedOut))
}

pub(super) fn durable(id: &AccountId, replaced: Replaced) -> Result<(), AccountsError> {
    match replaced {
        Replaced::Durable => Ok(()),
        Replaced::Newer => Err(AccountsError::overtaken(id)),
        Replaced::Held(holder) => Err(super::identity::held(id, &holder)),
    }
}

pub(super) fn whole(id: &AccountId, stored: Stored) -> Result<Record, AccountsError> {
    match stored {
        Stored::Whole(record) => Ok(*record),
        Stored::Corrupt { detail, .. } => {
            let action = format!(
                "put back the store or its keys; or `marketgate login {id}` connects it anew, and \
                 `marketgate accounts remove {id}` forgets it"
            );
            let detail = format!("what the store holds of {id} cannot be used: {detail}");
            Err(AccountsError::new(Refusal::Store, "store_corrupt", detail, action))
        }
    }
}
