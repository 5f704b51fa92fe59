//! An account's durable record in the hands of its keeper. The one rule: what came from a token endpoint is in the store or
//! in here; it is never dropped.

use std::{sync::Arc, time::SystemTime};

use super::{endpoint::Endpoint, outstanding::UnderWay, state::Credential};
use crate::{
    clock::Moment,
    names::AccountId,
    oauth::Granted,
    provider::Profile,
    secret::Secret,
    store::{
        Begun, Grant, Intent, KeptToken, LoginReason, Origin, Record, Replaced, Standing, Store, StoreError,
        Stored,
    },
};

/// The record of one account, and what of it the store has not yet taken.
#[derive(Debug)]
pub(super) struct Custody {
    store: Arc<dyn Store>,
    id: AccountId,
    /// As it was last read or written; None before the first reading.
    pub(super) record: Option<Record>,
    /// Answers to this very refresh token that never arrived.
    pub(super) lost_answers: u32,
    /// A change that the store refused to take.
    pub(super) unstored: Option<Box<Unstored>>,
}

/// A change that could not be written.
#[derive(Debug)]
pub(super) struct Unstored {
    pub(super) record: Record,
    /// The access token that came with it: used only when the old one has ended.
    pub(super) credential: Option<Arc<Credential>>,
    pub(super) origin: Origin,
    pub(super) last_try: Moment,
    /// Tells the end of the process that there is something to wait for.
    pub(super) _told: UnderWay,
}

impl Custody {
    pub(super) fn new(store: Arc<dyn Store>, id: AccountId) -> Self {
        Self { store, id, record: None, lost_answers: 0, unstored: None }
    }

    /// Of a grant that came from elsewhere, and that the store refused.
    pub(super) fn of_unstored(store: Arc<dyn Store>, id: AccountId, unstored: Unstored) -> Self {
        Self { unstored: Some(Box::new(unstored)), ..Self::new(store, id) }
    }

    /// Reads the record again. An intent found open is an answer that was lost with an earlier process.
    pub(super) async fn read(&mut self) -> Result<Option<Stored>, StoreError> {
        let stored = self.store.account(&self.id).await?;
        self.record = match &stored {
            Some(Stored::Whole(record)) => Some((**record).clone()),
            _ => None,
        };
        self.lost_answers = self.record.as_ref().map_or(0, |r| u32::from(r.intent.is_some()));
        Ok(stored)
    }

    /// The refresh token that would be shown.
    pub(super) fn refresh_token(&self) -> Option<&Secret> {
        match self.record.as_ref()?.grant.as_ref()? {
            Grant::Refresh { token, .. } => Some(token),
            Grant::Client { .. } | Grant::Key(_) => None,
        }
    }

    /// Law 3: the intent is durable before the refresh token is shown, or it is not shown.
    pub(super) async fn begin(&self, at: SystemTime, endpoint: &Endpoint) -> Result<Begun, StoreError> {
        let Some(record) = &self.record else { return Ok(Begun::Newer) };
        let (id, generation) = (self.id.clone(), record.generation);
        self.store.begin(Intent { id, generation, at, counted: endpoint.counted() }).await
    }

    /// The refresh token is known not to have been spent. An intent that stays open by mistake does no harm: the next start
    /// shows the token once.
    pub(super) async fn close(&self, at: SystemTime) {
        let Some(record) = &self.record else { return };
        if let Err(error) = self.store.close(&self.id, record.generation, at).await {
            tracing::warn!(account = %self.id, %error, "an intent to refresh could not be closed");
        }
    }

    /// The record after an answer: its new refresh token, or the old one where the answer brings none, and its access token.
    pub(super) fn successor(
        &self,
        granted: &Granted,
        asked: Moment,
        now: Moment,
        profile: &Profile,
    ) -> Option<Record> {
        let lifetime = granted.lifetime.unwrap_or(super::timing::ASSUMED_LIFETIME);
        let token = KeptToken { secret: granted.access_token.clone(), asked_at: asked.wall, lifetime };
        let rotated = self.rotated(granted.refresh_token.as_ref(), granted.refresh_lifetime, now, profile)?;
        Some(Record { token: Some(token), standing: Standing::Active, ..rotated })
    }

    /// The record with a new refresh token and everything else as it was.
    pub(super) fn rotated(
        &self,
        refresh_token: Option<&Secret>,
        lifetime: Option<std::time::Duration>,
        now: Moment,
        profile: &Profile,
    ) -> Option<Record> {
        let record = self.record.clone()?;
        let grant = match (record.grant, refresh_token) {
            (Some(Grant::Refresh { .. }), Some(token)) => {
                let ends_in = lifetime.or(profile.lifetimes.refresh_token);
                Grant::Refresh {
                    token: token.clone(),
                    obtained_at: now.wall,
                    ends_at: ends_in.map(|life| now.wall + life),
                }
            }
            (grant, _) => grant?,
        };
        let generation = record.generation + 1;
        Some(Record { grant: Some(grant), generation, changed_at: now.wall, ..record })
    }

    /// The record when its grant is over. The refresh token stays: it is the last one there is.
    pub(super) fn ended(&self, reason: LoginReason, now: Moment) -> Option<Record> {
        let record = self.record.clone()?;
        let generation = record.generation + 1;
        let standing = Standing::LoginRequired(reason);
        Some(Record { standing, generation, changed_at: now.wall, ..record })
    }

    /// Where the refresh token of a record that came out of an answer is from.
    pub(super) fn origin_of(&self, next: &Record) -> Origin {
        let rotated = next.refresh_digest() != self.record.as_ref().and_then(Record::refresh_digest);
        if rotated { Origin::Rotated } else { Origin::Kept }
    }

    /// Law 2: one durable compare-and-swap.
    pub(super) async fn replace(&mut self, next: Record, origin: Origin) -> Result<Replaced, StoreError> {
        let replaced = self.store.replace(next.clone(), origin).await?;
        if replaced == Replaced::Newer {
            if !self.is_stored(&next).await? {
                return Ok(Replaced::Newer);
            }
            // It can be read, but the call that was to make it durable is the one that failed: a later write proves it.
            self.store.probe().await?;
        }
        self.record = Some(next);
        self.lost_answers = 0;
        Ok(Replaced::Durable)
    }

    /// A write that was reported as failed may have been carried out: then what stands there is this very record.
    async fn is_stored(&self, next: &Record) -> Result<bool, StoreError> {
        Ok(match self.store.account(&self.id).await? {
            Some(Stored::Whole(stored)) => {
                stored.generation == next.generation && stored.refresh_digest() == next.refresh_digest()
            }
            _ => false,
        })
    }
}
