//! One refresh of a grant whose refresh token may change at every use. The one rule is its order: a place at the meter, a
//! durable intent, one call, its answer read to the end, one durable compare-and-swap, and only then the new token is used.
//!
//! Nothing between the intent and the compare-and-swap is ever cancelled: not by callers who hang up, since none is here,
//! and not by the end of the program, which waits.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{
    account::LiveAccount,
    custody::{Custody, Unstored},
    endpoint::Endpoint,
    keeper::{Keeper, Step},
    outstanding::Work,
    plan::Plan,
    publish::{credential, warn_of_scope},
    setback::{Cause, Setback},
    showing::Shown,
    state::{AccountState, Credential},
};
use crate::{
    clock::Moment,
    oauth::Granted,
    provider::Profile,
    store::{
        KeptToken, LoginReason, OpenIntent, Origin, ParkReason, Record, Replaced, Standing, StoreError,
        Stored,
    },
    token::Token,
};

/// How often a write that the store refused is tried again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// How long the last try may take.
const HAND_OVER: Duration = Duration::from_secs(5);

impl Keeper {
    /// What the durable record asks for, before anything else.
    pub(super) fn step_of_custody(
        &self,
        account: &LiveAccount,
        custody: &Custody,
        now: Moment,
    ) -> Option<Step> {
        let published = account.published();
        if let Some(unstored) = &custody.unstored {
            let again = STORE_AGAIN.saturating_sub(now.since(unstored.last_try));
            let serve = unstored.credential.is_some() && self.needs_unstored(account, now);
            let due = again.is_zero() || serve;
            return Some(if due { Step::StoreAgain } else { Step::Plan(Plan::Rest(Some(again))) });
        }
        if custody.record.is_some() || published.state == AccountState::StoreCorrupt {
            return None;
        }
        let pause = published.trouble.as_ref().map_or(Duration::ZERO, |t| now.until(t.next_try(true)));
        Some(if pause.is_zero() { Step::Load } else { Step::Plan(Plan::Rest(Some(pause))) })
    }

    /// Reads the durable record and publishes what it says.
    pub(super) async fn load(&mut self, account: &Arc<LiveAccount>) {
        let Some(custody) = &mut self.custody else { return };
        let stored = custody.read(&self.surroundings.clock).await;
        let now = self.surroundings.clock.now();
        match stored {
            Ok(Some(Stored::Whole(record))) => self.present(account, &record, now).await,
            Ok(Some(Stored::Corrupt { detail, .. })) => {
                self.publish_halt(account, AccountState::StoreCorrupt, detail, now);
            }
            // It was removed: whoever asks for it next is told so.
            Ok(None) => account.retire(),
            Err(error) => self.publish_setback(account, error.into(), now),
        }
    }

    async fn present(&mut self, account: &Arc<LiveAccount>, record: &Record, now: Moment) {
        let kept = record.token.as_ref().and_then(|token| self.recall(account, record, token));
        let usable = kept.filter(|credential| credential.token.usable_at(now));
        match halt(record, &account.app().profile) {
            None => match usable {
                Some(credential) => {
                    let lasts = credential.token.remaining(now);
                    self.use_named(account, record, credential, false).await;
                    // The refresh token would be shown as soon as the access token has ended.
                    if lasts.is_some_and(|lasts| lasts < self.orphan_left(now)) {
                        self.wait_for_orphan(account, now);
                    }
                }
                None => {
                    account.publish(|p| (p.state, p.trouble) = (AccountState::Ready, None));
                    self.wait_for_orphan(account, now);
                }
            },
            Some((state, detail)) => {
                account.publish(|p| p.credential = usable);
                self.publish_halt(account, state, detail, now);
            }
        }
        self.resume_pause(account);
    }

    fn orphan_left(&self, now: Moment) -> Duration {
        self.custody.as_ref().map_or(Duration::ZERO, |custody| custody.orphan_left(now))
    }

    /// Where an earlier process died with a call under way, the server may still be working on it; and there is no valid token
    /// that would give it time.
    fn wait_for_orphan(&mut self, account: &LiveAccount, now: Moment) {
        let left = self.orphan_left(now);
        if !left.is_zero() {
            let detail = "a refresh was cut off by the end of an earlier process, and may still be under way at the server";
            let action =
                "nothing to do: Marketgate shows the refresh token once more when that call must have ended";
            let setback = Setback {
                outcome: "orphaned",
                cause: Cause::Store,
                detail: detail.to_owned(),
                action: action.to_owned(),
                retry_after: Some(left),
            };
            self.publish_setback(account, setback, now);
        }
    }

    fn recall(&self, account: &LiveAccount, record: &Record, kept: &KeptToken) -> Option<Arc<Credential>> {
        let asked = self.surroundings.clock.recall(kept.asked_at)?;
        self.credential_of(account, kept, asked, record)
    }

    fn credential_of(
        &self,
        account: &LiveAccount,
        kept: &KeptToken,
        asked: Moment,
        record: &Record,
    ) -> Option<Arc<Credential>> {
        let age = self.refresh_age(account, kept.lifetime, account.endpoint()?);
        let (lifetime, generation) = (Some(kept.lifetime), record.generation);
        let token = Token { secret: kept.secret.clone(), asked, lifetime, generation };
        credential(account, token, Some(age), record.notes.narrower_scope.as_deref())
    }

    /// One refresh. After an answer that never arrived the same refresh token is shown once more, if the server still
    /// takes that for a repetition. `heals`: this is itself the repetition of a call that an earlier process lost.
    ///
    /// Returns whether the server may have seen it.
    pub(super) async fn rotate(&mut self, account: &Arc<LiveAccount>, urgent: bool, heals: bool) -> bool {
        let Some(endpoint) = account.endpoint().cloned() else { return false };
        if self.name_again(account).await {
            return true;
        }
        let _under_way = self.surroundings.outstanding.begin(account.id(), Work::Refresh);
        let was = account.published().state;
        let window = self.custody.as_ref().and_then(Custody::window).filter(|_| heals);
        let mut shown = self.show(account, &endpoint, urgent, window).await;
        let was_seen = shown.was_seen();
        if window.is_none()
            && let Some(again) = self.repeat(account, &endpoint, &shown).await
        {
            shown = again;
        }
        if !matches!(shown, Shown::Granted(..)) {
            account.publish(|p| p.state = was);
        }
        match shown {
            // Under way until its token can be used: the old one may have ended already.
            Shown::Granted(granted, asked) => {
                self.keep_granted(account, &granted, asked).await;
                account.publish(|p| {
                    if p.state == AccountState::Refreshing {
                        p.state = was;
                    }
                });
            }
            Shown::Refused(error, sent) => self.bear_refusal(account, error, sent).await,
            Shown::Withheld(setback) => {
                self.publish_setback(account, setback, self.surroundings.clock.now());
            }
            Shown::Outdated => self.load(account).await,
            Shown::NoTurn => {}
        }
        self.note_due(account);
        was_seen
    }

    /// Shows the refresh token once more after an answer that was lost, within the reuse window and not before the server
    /// wants to be asked again.
    async fn repeat(
        &mut self,
        account: &Arc<LiveAccount>,
        endpoint: &Endpoint,
        shown: &Shown,
    ) -> Option<Shown> {
        let custody = self.custody.as_mut()?;
        custody.note_lost_answer(shown.lost()?);
        let now = self.surroundings.clock.now();
        let window = custody.window().filter(|window| !window.left(now).is_zero())?;
        if !shown.asked().is_zero() {
            // Those who wait for a token are told meanwhile.
            self.unsettled = window.left(now) > shown.asked();
            return None;
        }
        if self.comes_again(account, window.left(now), now) {
            // They may give up at this failure.
            self.unsettled = true;
            return None;
        }
        match self.show(account, endpoint, true, Some(window)).await {
            Shown::NoTurn => None,
            again => Some(again),
        }
    }

    /// Whether callers who wait have the refresh token shown again within the window anyway: in an outage a repetition for each
    /// try would double the calls.
    fn comes_again(&self, account: &LiveAccount, left: Duration, now: Moment) -> bool {
        const OUTAGE: u32 = 3;
        let published = account.published();
        let pressed = published.usable(now).is_none() && self.demand.waiting.load(Relaxed) > 0;
        pressed && published.failures() >= OUTAGE && left > Duration::from_secs(2)
    }

    /// Notes when the account has to be seen to next.
    pub(super) fn note_due(&self, account: &LiveAccount) {
        let Some(custody) = self.custody.as_ref().filter(|custody| custody.record.is_some()) else { return };
        let now = self.surroundings.clock.now().wall;
        match custody.due(&account.app().profile) {
            // It was just tried: whoever saw that it was due looks again.
            Some(at) if at <= now => {}
            at => self.surroundings.agenda.note(account.id(), at, now),
        }
    }

    async fn keep_granted(&mut self, account: &Arc<LiveAccount>, granted: &Granted, asked: Moment) {
        let now = self.surroundings.clock.now();
        let profile = &account.app().profile;
        let Some(next) = self.custody.as_ref().and_then(|c| c.successor(granted, asked, now, profile)) else {
            return;
        };
        let next = self.name_owner(account, next, granted, now).await;
        self.tell_what_changed(account, &next);
        let credential = next
            .token
            .as_ref()
            .filter(|_| next.standing == Standing::Active)
            .and_then(|token| self.credential_of(account, token, asked, &next));
        self.store(account, next, credential, granted.received).await;
    }

    pub(super) fn tell_what_changed(&self, account: &LiveAccount, next: &Record) {
        let Some(before) = self.custody.as_ref().and_then(|custody| custody.record.as_ref()) else { return };
        warn_of_scope(account, next.notes.narrower_scope.as_deref(), before.notes.narrower_scope.as_deref());
        let profile = &account.app().profile;
        if let Some((state, _)) = halt(before, profile).filter(|_| halt(next, profile).is_none()) {
            tracing::info!(account = %account.id(), state = state.as_str(), reason = state.reason(),
                "the marketplace accepts the grant again");
        }
    }

    /// Writes a record that no answer of the token endpoint brought.
    pub(super) async fn replace_record(&mut self, next: Record) -> Result<Replaced, StoreError> {
        match &mut self.custody {
            Some(custody) => custody.replace(next, Origin::Kept).await,
            None => Ok(Replaced::Newer),
        }
    }

    /// Has the record read again before anything else is done.
    pub(super) fn read_anew(&mut self) {
        if let Some(custody) = &mut self.custody {
            custody.forget();
        }
    }

    /// Writes the record that came out of an answer, and uses its token only if that succeeds. `received`: when the answer's
    /// last byte was read.
    pub(super) async fn store(
        &mut self,
        account: &Arc<LiveAccount>,
        next: Record,
        credential: Option<Arc<Credential>>,
        received: Instant,
    ) {
        let Some(custody) = &mut self.custody else { return };
        custody.received = Some(received);
        let origin = custody.origin_of(&next);
        let outcome = custody.replace(next.clone(), origin).await;
        let now = self.surroundings.clock.now();
        match outcome {
            Ok(Replaced::Durable) => {
                self.note_stored();
                self.use_stored(account, &next, credential, now).await;
            }
            Ok(Replaced::Held(holder)) => self.refuse_held(account, next, &holder).await,
            Ok(Replaced::Newer) => {
                tracing::warn!(account = %account.id(), generation = next.generation,
                    "the account was changed while its token was refreshed; the newer grant is used");
                self.load(account).await;
            }
            Err(error) => {
                let _told = self.surroundings.outstanding.begin(account.id(), Work::Storing);
                let held = Unstored { record: next, credential, origin, last_try: now, _told };
                custody.unstored = Some(Box::new(held));
                self.surroundings.metrics.unstored.inc();
                self.publish_setback(account, unstored(&error), now);
                self.serve_unstored(account, now);
            }
        }
    }

    /// A crash would no longer lose what the last answer brought.
    fn note_stored(&mut self) {
        if let Some(received) = self.custody.as_mut().and_then(|custody| custody.received.take()) {
            self.surroundings.metrics.stored(received.elapsed());
        }
    }

    async fn use_stored(
        &mut self,
        account: &Arc<LiveAccount>,
        record: &Record,
        credential: Option<Arc<Credential>>,
        now: Moment,
    ) {
        match (halt(record, &account.app().profile), credential) {
            (Some((state, detail)), _) => self.publish_halt(account, state, detail, now),
            (None, Some(credential)) => self.use_named(account, record, credential, true).await,
            // A refresh token was saved out of an unusable answer; the next attempt shows that one, also where the one
            // before had been refused.
            (None, None) => account.publish(|p| {
                if p.state.needs_a_person() {
                    (p.state, p.trouble) = (AccountState::Ready, None);
                }
            }),
        }
    }

    /// Tries once more to write what the store refused, and serves the new token if the old one has ended (law 2).
    pub(super) async fn store_again(&mut self, account: &Arc<LiveAccount>) {
        let Some(custody) = &mut self.custody else { return };
        let Some(waiting) = custody.unstored.take().map(|unstored| *unstored) else { return };
        let outcome = custody.replace(waiting.record.clone(), waiting.origin).await;
        let now = self.surroundings.clock.now();
        match outcome {
            Err(error) => {
                custody.unstored = Some(Box::new(Unstored { last_try: now, ..waiting }));
                self.publish_setback(account, unstored(&error), now);
                self.serve_unstored(account, now);
                return;
            }
            Ok(Replaced::Durable) => {
                self.note_stored();
                tracing::info!(account = %account.id(), "the store took what it had refused");
                self.use_stored(account, &waiting.record, waiting.credential, now).await;
            }
            Ok(Replaced::Held(holder)) => self.refuse_held(account, waiting.record, &holder).await,
            Ok(Replaced::Newer) => self.load(account).await,
        }
        self.surroundings.metrics.unstored.dec();
    }

    /// The unstored token is used when there is no other left: losing the process now would lose the grant either way.
    fn serve_unstored(&self, account: &LiveAccount, now: Moment) {
        let credential = self.custody.as_ref().and_then(|c| c.unstored.as_ref()?.credential.clone());
        if let Some(credential) = credential.filter(|_| self.needs_unstored(account, now)) {
            account.publish(|p| p.credential = Some(credential));
        }
    }

    fn needs_unstored(&self, account: &LiveAccount, now: Moment) -> bool {
        let unstored = self.custody.as_ref().and_then(|c| c.unstored.as_ref()?.credential.as_ref());
        let published = account.published();
        let is_newer =
            |c: &Arc<Credential>| c.token.generation > published.generation() && c.token.usable_at(now);
        unstored.is_some_and(is_newer) && (published.usable(now).is_none() || account.is_forced())
    }

    /// The last act: one more try for what the store refused; what it refuses again is left to the end of the program.
    pub(super) async fn hand_over(&mut self) {
        let Some(custody) = &mut self.custody else { return };
        let Some(unstored) = custody.unstored.take() else { return };
        let (record, origin) = (unstored.record.clone(), unstored.origin);
        // A store that hangs must not keep it from being left where it can be kept otherwise.
        let stored = tokio::time::timeout(HAND_OVER, custody.replace(record.clone(), origin)).await;
        if !matches!(stored, Ok(Ok(_))) {
            self.surroundings.leave_over(record, origin);
        }
    }

    /// The first act of a keeper that was given what the store has refused: its token is made ready.
    pub(super) fn take_custody(&mut self) {
        let Some(account) = self.account.upgrade() else { return };
        let Some(unstored) = self.custody.as_ref().and_then(|custody| custody.unstored.as_ref()) else {
            return;
        };
        let record = &unstored.record;
        let credential = record.token.as_ref().and_then(|token| self.recall(&account, record, token));
        if let Some(unstored) = self.custody.as_mut().and_then(|custody| custody.unstored.as_mut()) {
            unstored.credential = credential;
        }
    }
}

/// Whether a refresh that an earlier process left open is repeated at once: only where the server takes that for a repetition
/// for a time, and the time still runs. Elsewhere the lost call is left to end, and the stored access token is used first.
pub fn repeats_at_once(profile: &Profile, open: &OpenIntent, now: std::time::SystemTime) -> bool {
    // A time that lies in the future was written before a clock was set back.
    let passed = now.duration_since(open.at).unwrap_or_default();
    passed < profile.reuse_window
}

/// What keeps a record from being used, if anything does.
pub fn halt(record: &Record, profile: &Profile) -> Option<(AccountState, String)> {
    if record.provider != profile.provider || record.environment != profile.environment {
        let detail = format!(
            "it was connected to {} ({}), and the app is now {} ({})",
            record.provider, record.environment, profile.provider, profile.environment
        );
        return Some((AccountState::Parked(ParkReason::EnvironmentChanged), detail));
    }
    match &record.standing {
        Standing::Active if record.grant.is_some() => {
            record.notes.refusal.as_ref().map(|refusal| (AccountState::Refused, refusal.words.clone()))
        }
        Standing::Active => {
            let reason = LoginReason::NeverConnected;
            Some((AccountState::LoginRequired(reason), "it has never been connected".to_owned()))
        }
        Standing::LoginRequired(reason) => {
            let words = record.notes.refusal.as_ref().map(|refusal| format!(": {}", refusal.words));
            let detail = format!("{}{}", reason.sentence(), words.unwrap_or_default());
            Some((AccountState::LoginRequired(*reason), detail))
        }
        Standing::Parked(reason) => Some((AccountState::Parked(*reason), reason.sentence().to_owned())),
        Standing::IdentityMismatch { found } => {
            let pinned = record.identity.as_ref().map(|pinned| format!("it is pinned to {pinned}, and "));
            let detail = format!("{}the marketplace named {found}", pinned.unwrap_or_default());
            Some((AccountState::IdentityMismatch, detail))
        }
    }
}

fn unstored(error: &StoreError) -> Setback {
    let mut setback = Setback::from(error.clone());
    setback.detail = format!("a new refresh token is held in memory only: {}", setback.detail);
    setback
}
