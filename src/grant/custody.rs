//! An account's durable record in the hands of its keeper. The one rule: what came from a token endpoint is in the store or
//! in here; it is never dropped.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    agenda, endpoint::Endpoint, outstanding::UnderWay, scope::narrower_scope, showing::ReuseWindow,
    state::Credential,
};
use crate::{
    clock::{Clock, Moment},
    names::AccountId,
    oauth::{Granted, RefreshLifetime},
    provider::Profile,
    secret::Secret,
    store::{
        Begun, Grant, Intent, KeptToken, LoginReason, Notes, Origin, Record, Refusal, Replaced, Standing,
        Store, StoreError, Stored,
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
    /// When the call was sent to which the last of them belongs.
    lost_at: Option<Moment>,
    /// How long the server takes a refresh token shown again for a repetition.
    reuse_window: Duration,
    /// When the last byte of an answer was read whose tokens the store has not taken yet.
    pub(super) received: Option<Instant>,
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
    pub(super) fn new(store: Arc<dyn Store>, id: AccountId, reuse_window: Duration) -> Self {
        Self {
            store,
            id,
            record: None,
            lost_answers: 0,
            lost_at: None,
            reuse_window,
            received: None,
            unstored: None,
        }
    }

    /// An answer to the refresh token, shown at `sent`, will never come.
    pub(super) fn note_lost_answer(&mut self, sent: Moment) {
        self.lost_answers = self.lost_answers.saturating_add(1);
        self.lost_at = Some(sent);
    }

    /// What was read as an open intent was answered.
    pub(super) fn forget_lost_answers(&mut self) {
        (self.lost_answers, self.lost_at) = (0, None);
    }

    /// Whether an answer to this refresh token was lost, or it came from a repetition after one.
    pub(super) fn follows_a_lost_answer(&self) -> bool {
        self.lost_answers > 0 || self.record.as_ref().is_some_and(|record| record.notes.after_lost_answer)
    }

    /// The window in which the lost call may be repeated.
    pub(super) fn window(&self) -> Option<ReuseWindow> {
        Some(ReuseWindow::new(self.lost_at.filter(|_| self.lost_answers > 0)?, self.reuse_window))
    }

    /// Whether the server takes the refresh token shown now for a repetition of the lost call.
    pub(super) fn is_repeatable(&self, now: Moment) -> bool {
        self.window().is_some_and(|window| !window.left(now).is_zero())
    }

    /// How long a call of an earlier process may still be working at the server.
    pub(super) fn orphan_left(&self, now: Moment) -> Duration {
        let lost_at = self.lost_at.filter(|_| self.lost_answers > 0);
        lost_at.map_or(Duration::ZERO, |sent| agenda::ORPHANED_CALL.saturating_sub(now.since(sent)))
    }

    /// When the account has to be seen to next though nobody asks for it.
    pub(super) fn due(&self, profile: &Profile) -> Option<SystemTime> {
        let lost = self.lost_at.filter(|_| self.lost_answers > 0);
        agenda::due(profile, self.record.as_ref()?, lost.map(|sent| sent.wall))
    }

    /// Of a grant that came from elsewhere, and that the store refused.
    pub(super) fn of_unstored(
        store: Arc<dyn Store>,
        id: AccountId,
        reuse_window: Duration,
        unstored: Unstored,
    ) -> Self {
        Self { unstored: Some(Box::new(unstored)), ..Self::new(store, id, reuse_window) }
    }

    /// Reads the record again. An intent found open is an answer that was lost with an earlier process.
    pub(super) async fn read(&mut self, clock: &Clock) -> Result<Option<Stored>, StoreError> {
        let stored = self.store.account(&self.id).await?;
        self.record = match &stored {
            Some(Stored::Whole(record)) => Some((**record).clone()),
            _ => None,
        };
        let open = self.record.as_ref().and_then(|record| record.intent);
        self.lost_answers = u32::from(open.is_some());
        // What lies in the future was written before a clock was set back: it may have been just now.
        self.lost_at = open.map(|open| clock.recall(open.at).unwrap_or_else(|| clock.now()));
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
        let refresh_lifetime = granted.refresh_lifetime.and_then(RefreshLifetime::known);
        let mut next = self.rotated(granted.refresh_token.as_ref(), refresh_lifetime, now, profile)?;
        if granted.scope.is_some() {
            next.notes.narrower_scope = narrower_scope(profile, granted.scope.as_deref());
        }
        next.notes.refusal = None;
        Some(Record { token: Some(token), standing: Standing::Active, ..next })
    }

    /// The record with a new refresh token, which the server has not refused, and everything else as it was.
    pub(super) fn rotated(
        &self,
        refresh_token: Option<&Secret>,
        lifetime: Option<Duration>,
        now: Moment,
        profile: &Profile,
    ) -> Option<Record> {
        let record = self.record.clone()?;
        let Some(Grant::Refresh { token, obtained_at, ends_at }) = record.grant else {
            let generation = record.generation + 1;
            return Some(Record { grant: Some(record.grant?), generation, changed_at: now.wall, ..record });
        };
        let known = lifetime.or(profile.lifetimes.refresh_token.filter(|_| refresh_token.is_some()));
        let is_new = refresh_token.is_some_and(|new| new.expose() != token.expose());
        let told = match lifetime {
            Some(life) => ends_at.and_then(|end| is_fixed(obtained_at, end, now.wall, now.wall + life)),
            None if is_new => known.map(|_| false),
            // Some servers replace a refresh token only near its end: one that stays there ends there.
            None => ends_at.filter(|end| agenda::is_near(obtained_at, *end, now.wall)).map(|_| true),
        };
        let grant = if is_new || known.is_some() {
            Grant::Refresh {
                token: refresh_token.unwrap_or(&token).clone(),
                obtained_at: now.wall,
                ends_at: known.map(|life| now.wall + life),
            }
        } else {
            Grant::Refresh { token, obtained_at, ends_at }
        };
        let notes = Notes {
            // What stays is not what the lost call may have replaced.
            after_lost_answer: self.lost_answers > 0 && is_new,
            end_is_fixed: told.or(record.notes.end_is_fixed),
            refusal: record.notes.refusal.filter(|_| !is_new),
            ..record.notes
        };
        // A server that issues a new refresh token accepts the grant, whatever it said of the token before.
        let standing = match record.standing {
            Standing::LoginRequired(_) if is_new => Standing::Active,
            standing => standing,
        };
        let generation = record.generation + 1;
        Some(Record { grant: Some(grant), standing, generation, notes, changed_at: now.wall, ..record })
    }

    /// The record when its refresh token was refused: the grant is over for `reason`, or a person has to read why. The token
    /// stays: it is the last one there is.
    pub(super) fn refused(
        &self,
        reason: Option<LoginReason>,
        words: String,
        now: Moment,
        chance: f64,
    ) -> Option<Record> {
        let record = self.record.clone()?;
        let before = record.notes.refusal.as_ref();
        let times = before.map_or(1, |refusal| refusal.times.saturating_add(1));
        let since = before.map_or(now.wall, |refusal| refusal.since);
        let again = now.wall + super::timing::ask_again(times, chance);
        let ends_before = refresh_end(&record).is_some_and(|end| end <= again);
        let is_worth_it = matches!(reason, None | Some(LoginReason::Revoked)) && !ends_before;
        let refusal = Some(Refusal { words, since, times, next: is_worth_it.then_some(again) });
        let standing = reason.map_or(Standing::Active, Standing::LoginRequired);
        let (generation, notes) = (record.generation + 1, Notes { refusal, ..record.notes });
        Some(Record { standing, generation, notes, changed_at: now.wall, ..record })
    }

    /// Where the refresh token of a record that came out of an answer is from.
    pub(super) fn origin_of(&self, next: &Record) -> Origin {
        let rotated = next.refresh_digest() != self.record.as_ref().and_then(Record::refresh_digest);
        if rotated { Origin::Rotated } else { Origin::Kept }
    }

    /// Law 2: one durable compare-and-swap.
    pub(super) async fn replace(&mut self, next: Record, origin: Origin) -> Result<Replaced, StoreError> {
        let replaced = self.store.replace(next.clone(), origin).await?;
        if matches!(replaced, Replaced::Held(_)) {
            return Ok(replaced);
        }
        if replaced == Replaced::Newer {
            if !self.is_stored(&next).await? {
                return Ok(Replaced::Newer);
            }
            // It can be read, but the call that was to make it durable is the one that failed: a later write proves it.
            self.store.probe().await?;
        }
        self.record = Some(next);
        (self.lost_answers, self.lost_at) = (0, None);
        Ok(Replaced::Durable)
    }

    /// Another account that has or had the refresh token of this record.
    pub(super) async fn other_holder(&self, record: &Record) -> Result<Option<AccountId>, StoreError> {
        let Some(Grant::Refresh { token, .. }) = &record.grant else { return Ok(None) };
        Ok(self.store.holder(token).await?.filter(|holder| *holder != self.id))
    }

    /// What is known is to be read anew.
    pub(super) fn forget(&mut self) {
        self.record = None;
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

/// When the refresh token ends by itself, as far as that is known.
pub fn refresh_end(record: &Record) -> Option<SystemTime> {
    match record.grant {
        Some(Grant::Refresh { ends_at, .. }) => ends_at,
        _ => None,
    }
}

/// Whether a refresh left the end where it was. None when too little time has passed to tell.
fn is_fixed(obtained_at: SystemTime, end: SystemTime, now: SystemTime, new_end: SystemTime) -> Option<bool> {
    const ENOUGH: Duration = Duration::from_secs(5);
    let passed = now.duration_since(obtained_at).ok().filter(|passed| *passed >= ENOUGH)?;
    Some(new_end.duration_since(end).unwrap_or_default() < passed / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_moves_with_each_refresh_is_told_from_one_that_stays() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(is_fixed(at(0), at(1800), at(210), at(2010)), Some(false));
        assert_eq!(is_fixed(at(0), at(1800), at(210), at(1800)), Some(true));
        assert_eq!(is_fixed(at(0), at(1800), at(210), at(1799)), Some(true), "whole seconds were rounded");
        assert_eq!(is_fixed(at(0), at(1800), at(2), at(1800)), None);
    }
}
