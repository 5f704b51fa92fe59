//! One refresh of a grant whose refresh token may change at every use. The one rule is its order: a place at the meter, a
//! durable intent, one call, its answer read to the end, one durable compare-and-swap, and only then the new token is used.
//!
//! Nothing between the intent and the compare-and-swap is ever cancelled: not by callers who hang up, since none is here,
//! and not by the end of the program, which waits.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    account::LiveAccount,
    custody::{Custody, Unstored},
    keeper::{Keeper, Step},
    outstanding::Work,
    plan::Plan,
    publish::{credential, publish_credential},
    setback::Setback,
    showing::Shown,
    state::{AccountState, Credential},
};
use crate::{
    clock::Moment,
    oauth::{Class, Granted, TokenError, identity::jwt_subject},
    provider::{Identity, Profile},
    secret::Secret,
    store::{
        Grant, KeptToken, LoginReason, Origin, ParkReason, Record, Replaced, Standing, StoreError, Stored,
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
        let stored = custody.read().await;
        let now = self.surroundings.clock.now();
        match stored {
            Ok(Some(Stored::Whole(record))) => self.present(account, &record, now),
            Ok(Some(Stored::Corrupt { detail, .. })) => {
                self.publish_halt(account, AccountState::StoreCorrupt, detail, now);
            }
            // It was removed: whoever asks for it next is told so.
            Ok(None) => account.retire(),
            Err(error) => self.publish_setback(account, error.into(), now),
        }
    }

    fn present(&mut self, account: &LiveAccount, record: &Record, now: Moment) {
        let kept = record.token.as_ref().and_then(|token| self.recall(account, record, token));
        let usable = kept.filter(|credential| credential.token.usable_at(now));
        match halt(record, &account.app().profile) {
            None => match usable {
                Some(credential) => publish_credential(account, credential),
                None => account.publish(|p| (p.state, p.trouble) = (AccountState::Ready, None)),
            },
            Some((state, detail)) => {
                account.publish(|p| p.credential = usable);
                self.publish_halt(account, state, detail, now);
            }
        }
    }

    fn recall(&self, account: &LiveAccount, record: &Record, kept: &KeptToken) -> Option<Arc<Credential>> {
        let asked = self.surroundings.clock.recall(kept.asked_at)?;
        self.credential_of(account, kept, asked, record.generation)
    }

    fn credential_of(
        &self,
        account: &LiveAccount,
        kept: &KeptToken,
        asked: Moment,
        generation: u64,
    ) -> Option<Arc<Credential>> {
        let age = self.refresh_age(account, kept.lifetime, account.endpoint()?);
        let lifetime = Some(kept.lifetime);
        credential(account, Token { secret: kept.secret.clone(), asked, lifetime, generation }, Some(age))
    }

    /// One refresh. After an answer that never arrived the same refresh token is shown once more, if the server still
    /// takes that for a repetition (law 4).
    ///
    /// Returns whether the server may have seen it.
    pub(super) async fn rotate(&mut self, account: &Arc<LiveAccount>, urgent: bool) -> bool {
        let Some(endpoint) = account.endpoint().cloned() else { return false };
        let _under_way = self.surroundings.outstanding.begin(account.id(), Work::Refresh);
        let was = account.published().state;
        let mut shown = self.show(account, &endpoint, urgent, None).await;
        let was_seen = shown.was_seen();
        let length = account.app().profile.reuse_window;
        if let Some(window) = shown.reuse_window(length, self.surroundings.clock.now()) {
            self.note_lost_answer();
            match self.show(account, &endpoint, true, Some(window)).await {
                Shown::NoTurn => {}
                again => shown = again,
            }
        }
        account.publish(|p| p.state = was);
        match shown {
            Shown::Granted(granted, asked) => self.keep_granted(account, &granted, asked).await,
            Shown::Refused(error, _) => self.bear_refusal(account, error).await,
            Shown::Withheld(setback) => {
                self.publish_setback(account, setback, self.surroundings.clock.now());
            }
            Shown::Outdated => self.load(account).await,
            Shown::NoTurn => {}
        }
        was_seen
    }

    fn note_lost_answer(&mut self) {
        if let Some(custody) = &mut self.custody {
            custody.lost_answers = custody.lost_answers.saturating_add(1);
        }
    }

    async fn keep_granted(&mut self, account: &Arc<LiveAccount>, granted: &Granted, asked: Moment) {
        let received = Instant::now();
        let now = self.surroundings.clock.now();
        let profile = &account.app().profile;
        let Some(next) = self.custody.as_ref().and_then(|c| c.successor(granted, asked, now, profile)) else {
            return;
        };
        let next = pin_identity(next, &granted.access_token, profile);
        let credential = next
            .token
            .as_ref()
            .filter(|_| next.standing == Standing::Active)
            .and_then(|token| self.credential_of(account, token, asked, next.generation));
        self.store(account, next, credential).await;
        self.surroundings.metrics.stored(received.elapsed());
    }

    /// Writes the record that came out of an answer, and uses its token only if that succeeds.
    async fn store(&mut self, account: &Arc<LiveAccount>, next: Record, credential: Option<Arc<Credential>>) {
        let Some(custody) = &mut self.custody else { return };
        let origin = custody.origin_of(&next);
        let outcome = custody.replace(next.clone(), origin).await;
        let now = self.surroundings.clock.now();
        match outcome {
            Ok(Replaced::Durable) => self.use_stored(account, &next, credential, now),
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

    fn use_stored(
        &mut self,
        account: &LiveAccount,
        record: &Record,
        credential: Option<Arc<Credential>>,
        now: Moment,
    ) {
        match (halt(record, &account.app().profile), credential) {
            (Some((state, detail)), _) => self.publish_halt(account, state, detail, now),
            (None, Some(credential)) => publish_credential(account, credential),
            // A refresh token was saved out of an unusable answer; the next attempt shows that one.
            (None, None) => {}
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
                tracing::info!(account = %account.id(), "the store took what it had refused");
                self.use_stored(account, &waiting.record, waiting.credential, now);
            }
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

    /// Decides what a refused showing means for the grant.
    async fn bear_refusal(&mut self, account: &Arc<LiveAccount>, mut error: TokenError) {
        let now = self.surroundings.clock.now();
        if let Some(token) = error.rescued.take() {
            let profile = &account.app().profile;
            let rotated = self.custody.as_ref().and_then(|c| c.rotated(Some(&token), None, now, profile));
            if let Some(next) = rotated {
                self.store(account, next, None).await;
            }
        } else if error.may_have_rotated() {
            self.note_lost_answer();
        } else if error.class == Class::InvalidGrant {
            return self.end_grant(account, &error).await;
        } else if let Some(custody) = self.custody.as_ref().filter(|custody| custody.lost_answers == 0) {
            // As long as an earlier answer is missing, the intent stays open: a next process has to know.
            custody.close(now.wall).await;
        }
        self.publish_setback(account, error.into(), now);
    }

    /// Law 5: only after the store was read again, and the refresh token is kept all the same.
    async fn end_grant(&mut self, account: &Arc<LiveAccount>, error: &TokenError) {
        let Some(custody) = &mut self.custody else { return };
        let (shown, lost) = (custody.refresh_token().cloned(), custody.lost_answers);
        let read = custody.read().await;
        let now = self.surroundings.clock.now();
        if let Err(error) = read {
            return self.publish_setback(account, error.into(), now);
        }
        let same = custody.refresh_token().map(Secret::expose) == shown.as_ref().map(Secret::expose);
        if !same {
            return self.load(account).await;
        }
        let reason = end_of_grant(custody.record.as_ref(), lost, now);
        if let Some(next) = custody.ended(reason, now) {
            match custody.replace(next, Origin::Kept).await {
                Ok(Replaced::Durable) => {}
                Ok(Replaced::Newer) => return self.load(account).await,
                // Nothing is lost: the next start finds the intent open and is told the same by the server.
                Err(error) => {
                    tracing::warn!(account = %account.id(), %error, "the end of a grant could not be stored");
                }
            }
        }
        self.publish_halt(account, AccountState::LoginRequired(reason), error.to_string(), now);
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

/// Why the grant is over.
fn end_of_grant(record: Option<&Record>, lost_answers: u32, now: Moment) -> LoginReason {
    if let Some(Standing::LoginRequired(known)) = record.map(|record| &record.standing) {
        // A person had it tried once more, in vain.
        return *known;
    }
    let ends_at = record.and_then(|record| match record.grant {
        Some(Grant::Refresh { ends_at, .. }) => ends_at,
        _ => None,
    });
    if lost_answers > 0 {
        LoginReason::RotationResponseLost
    } else if ends_at.is_some_and(|end| end <= now.wall) {
        LoginReason::Expired
    } else {
        LoginReason::Revoked
    }
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
        Standing::Active if record.grant.is_some() => None,
        Standing::Active => {
            let reason = LoginReason::NeverConnected;
            Some((AccountState::LoginRequired(reason), "it has never been connected".to_owned()))
        }
        Standing::LoginRequired(reason) => {
            Some((AccountState::LoginRequired(*reason), reason.sentence().to_owned()))
        }
        Standing::Parked(reason) => Some((AccountState::Parked(*reason), reason.sentence().to_owned())),
        Standing::IdentityMismatch { found } => {
            let pinned = record.identity.as_deref().unwrap_or("nobody");
            let detail = format!("it is pinned to {pinned}, and the marketplace named {found}");
            Some((AccountState::IdentityMismatch, detail))
        }
    }
}

/// Compares whom the marketplace names with whom the account is pinned to, and pins it if nobody was known before.
fn pin_identity(mut next: Record, access_token: &Secret, profile: &Profile) -> Record {
    let told = matches!(profile.identity, Some(Identity::Subject));
    let Some(found) = jwt_subject(access_token).filter(|_| told) else { return next };
    match &next.identity {
        Some(pinned) if *pinned != found => {
            next.standing = Standing::IdentityMismatch { found };
            next.token = None;
        }
        Some(_) => {}
        None => next.identity = Some(found),
    }
    next
}

fn unstored(error: &StoreError) -> Setback {
    let mut setback = Setback::from(error.clone());
    setback.detail = format!("a new refresh token is held in memory only: {}", setback.detail);
    setback
}
