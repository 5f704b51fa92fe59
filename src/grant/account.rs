//! One account in use: where requests borrow its token. The one rule: requests only read and ask; the keeper alone writes.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    demand::{Demand, Upload, Waiting},
    endpoint::Endpoint,
    forced::Forced,
    state::{AccountState, Credential, Published},
    unavailable::Unavailable,
    withheld::{Reason, Withheld},
};
use crate::{
    clock::{Clock, Moment},
    config::{Account, App},
    metrics::Answers,
    names::AccountId,
    provider::Dressing,
};

/// How long a request waits for a refresh while there is a token that may or may not outlive it.
const REFRESH_PATIENCE: Duration = Duration::from_secs(3);

/// An account that has a keeper.
#[derive(Debug)]
pub struct LiveAccount {
    app: Arc<App>,
    account: Arc<Account>,
    dressing: Dressing,
    answers: Arc<Answers>,
    endpoint: Option<Arc<Endpoint>>,
    clock: Clock,
    published: watch::Sender<Published>,
    /// Told when the keeper has tried, whatever came of it.
    tried: Notify,
    demand: Arc<Demand>,
    forced: Mutex<Forced>,
    withheld: Reason,
    ended: CancellationToken,
}

impl LiveAccount {
    pub(super) fn new(
        app: Arc<App>,
        account: Arc<Account>,
        endpoint: Option<Arc<Endpoint>>,
        answers: Arc<Answers>,
        clock: Clock,
    ) -> Self {
        let dressing = Dressing::new(&app.profile, |name| account.setting(name));
        let nothing_yet =
            Published { state: AccountState::Ready, credential: None, previous: None, trouble: None };
        let (published, _) = watch::channel(nothing_yet);
        Self {
            app,
            account,
            dressing,
            answers,
            endpoint,
            clock,
            published,
            tried: Notify::new(),
            demand: Arc::default(),
            forced: Mutex::default(),
            withheld: Reason::default(),
            ended: CancellationToken::new(),
        }
    }

    /// The account's full name.
    pub fn id(&self) -> &AccountId {
        &self.account.id
    }

    /// The app it belongs to.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Its credentials and settings.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Counts the answers to its requests.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// What its requests carry beside the token.
    pub fn dressing(&self) -> &Dressing {
        &self.dressing
    }

    /// What the keeper last published.
    pub fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    /// A token that is valid now: borrowed if there is one, else waited for, `wait` at most.
    ///
    /// # Errors
    /// When none can be had in time. The refresh goes on regardless of who still waits.
    pub async fn token(&self, wait: Duration) -> Result<Arc<Credential>, Unavailable> {
        match self.borrow_token() {
            Some(credential) => Ok(credential),
            None => match self.refusal_at_once(wait) {
                Some(refusal) => Err(refusal),
                None => self.await_token(wait, |p| self.is_hopeless(p, wait)).await,
            },
        }
    }

    /// As [`LiveAccount::token`] for a request that cannot be repeated: it does not set out with a token that is about to be
    /// refreshed, where the refresh would end that token.
    ///
    /// # Errors
    /// When no token can be had in time.
    pub async fn token_for_upload(&self, wait: Duration) -> Result<Arc<Credential>, Unavailable> {
        let credential = self.token(wait).await?;
        if !(self.refresh_ends_token() && credential.due_at(self.clock.now())) {
            return Ok(credential);
        }
        let _waiting = Waiting::new(&self.demand);
        let mut changes = self.published.subscribe();
        let before = changes.borrow().clone();
        self.demand.used.store(true, Relaxed);
        self.demand.wake.notify_one();
        let newer = |p: &Published| p.generation() > before.generation() || p.failures() > before.failures();
        // Whatever comes of it: the present token is better than none.
        drop(tokio::time::timeout(wait.min(REFRESH_PATIENCE), changes.wait_for(newer)).await);
        self.token(wait).await
    }

    /// As [`LiveAccount::token`] for somebody who wants to know why there is none: the first failure ends the wait.
    ///
    /// # Errors
    /// That failure, or that nothing happened in time.
    pub async fn first_token(&self, wait: Duration) -> Result<Arc<Credential>, Unavailable> {
        match self.borrow_token() {
            Some(credential) => Ok(credential),
            None => self.await_token(wait, |_| true).await,
        }
    }

    /// The usable token, if there is one: what nearly every request does.
    pub fn borrow_token(&self) -> Option<Arc<Credential>> {
        let now = self.clock.now();
        let published = self.published.borrow();
        let credential = self.lendable(&published, now)?;
        // One wake-up per refresh is enough, however many requests there are.
        if !self.demand.used.load(Relaxed) && !self.demand.used.swap(true, Relaxed) && credential.due_at(now)
        {
            self.demand.wake.notify_one();
        }
        Some(credential.clone())
    }

    /// The token that may be used now, unless it is known that the marketplace will refuse it: a refresh under way ends it,
    /// or the marketplace has refused it already and the grant is over.
    fn lendable<'a>(&self, published: &'a Published, now: Moment) -> Option<&'a Arc<Credential>> {
        let credential = self.usable(published, now)?;
        let is_ending = published.state == AccountState::Refreshing && self.refresh_ends_token();
        (!is_ending && !self.is_dead(published, credential)).then_some(credential)
    }

    /// Whether the marketplace refused this token, and the server the grant that would bring another one.
    pub(super) fn is_dead(&self, published: &Published, credential: &Credential) -> bool {
        published.trouble.as_ref().is_some_and(|trouble| trouble.grant_refused)
            && self.forced().is_for(credential.token.generation)
    }

    /// Whether a refresh ends the token in use at the same moment: as configured, or as it was seen.
    pub fn refresh_ends_token(&self) -> bool {
        let seen = || self.endpoint.as_ref().is_some_and(|endpoint| endpoint.ends_token());
        self.app.profile.refresh_kills_token.unwrap_or_else(seen)
    }

    /// Counts a request that cannot be repeated for as long as the guard lives: a refresh that would end its token waits for
    /// it. None where a refresh ends no token.
    pub fn upload(&self) -> Option<Upload> {
        self.refresh_ends_token().then(|| Upload::new(&self.demand))
    }

    pub(super) fn has_uploads(&self) -> bool {
        self.demand.uploads.load(Relaxed) > 0
    }

    /// The token that may be used now.
    fn usable<'a>(&self, published: &'a Published, now: Moment) -> Option<&'a Arc<Credential>> {
        let barred = self.withheld().is_some_and(Withheld::bars_valid_tokens);
        if barred { None } else { published.usable(now) }
    }

    /// Gives out no token any more, or none beyond the one that is valid; None: as usual. Whoever waits is told.
    pub(super) fn withhold(&self, reason: Option<Withheld>) {
        self.withheld.set(reason);
        self.published.send_modify(|_| {});
    }

    /// Why no token is given out, if none is.
    pub(super) fn withheld(&self) -> Option<Withheld> {
        self.withheld.get()
    }

    /// Whether a token is withheld, whoever asks for it.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld().is_some()
    }

    /// Whether it has an answer at hand, be it a token or why there is none.
    pub(super) fn answers_at_once(&self) -> bool {
        match self.withheld() {
            Some(Withheld::Replaced) => false,
            Some(_) => true,
            None => self.published.borrow().usable(self.clock.now()).is_some(),
        }
    }

    /// Whether the marketplace should still accept it, and it may be used.
    pub fn is_valid(&self, credential: &Credential) -> bool {
        let barred = self.withheld().is_some_and(Withheld::bars_valid_tokens);
        !barred && credential.token.usable_at(self.clock.now())
    }

    /// Waits for a token; a failure meanwhile ends the wait if `is_final` says so.
    async fn await_token(
        &self,
        wait: Duration,
        is_final: impl Fn(&Published) -> bool,
    ) -> Result<Arc<Credential>, Unavailable> {
        let _waiting = Waiting::new(&self.demand);
        let mut changes = self.published.subscribe();
        let failures = changes.borrow().failures();
        let given_up = |p: &Published| p.failures() != failures && is_final(p);
        // A token that is not lent while a refresh may be ending it is better than none if that refresh hangs.
        let has_token = changes.borrow().usable(self.clock.now()).is_some();
        let wait = if has_token { wait.min(REFRESH_PATIENCE) } else { wait };
        let settled = changes.wait_for(|p| {
            let has_answer = self.is_withheld() || p.state.needs_a_person();
            has_answer || self.lendable(p, self.clock.now()).is_some() || given_up(p)
        });
        let settled = self.ended.run_until_cancelled(tokio::time::timeout(wait, settled)).await;
        let ended = settled.is_none();
        let published = match settled {
            Some(Ok(Ok(published))) => published.clone(),
            _ => self.published(),
        };
        let now = self.clock.now();
        let token = self.usable(&published, now).filter(|token| !self.is_dead(&published, token));
        token.cloned().ok_or_else(|| {
            let unavailable = self.unavailable(&published);
            Unavailable { changed: unavailable.changed || (ended && !unavailable.draining), ..unavailable }
        })
    }

    /// Has a refresh repeated at once whose answer an earlier process did not live to see (law 4).
    pub fn heal(&self) {
        self.demand.healing.store(true, Relaxed);
        self.demand.wake.notify_one();
    }

    /// Has the account refreshed though nobody uses it, as soon as the usual pauses allow it; unless its record says that it
    /// is not due.
    pub fn keep_up(&self) {
        self.demand.due.store(true, Relaxed);
        self.demand.wake.notify_one();
    }

    /// The scope of its newest token, where that is narrower than what the app asks for.
    pub fn narrower_scope(&self) -> Option<Arc<str>> {
        self.published.borrow().credential.as_ref()?.narrower_scope.clone()
    }

    /// Has the token refreshed now, whether it is due or not. A refresh that is under way already is what was ordered.
    pub fn order_refresh(&self) {
        self.demand.ordered.store(true, Relaxed);
        self.demand.wake.notify_one();
    }

    /// As [`LiveAccount::order_refresh`], and waits for what comes of it, `wait` at most.
    pub async fn refresh_now(&self, wait: Duration) {
        // Asked for before the order, so that what comes of it is not missed.
        let (tried, mut changes) = (self.tried.notified(), self.published.subscribe());
        self.order_refresh();
        let in_vain = changes.wait_for(|p| p.state.needs_a_person() && !p.state.may_be_tried_again());
        let settled = async {
            tokio::select! {
                () = tried => {}
                _ = in_vain => {}
            }
        };
        // Whether anything came of it is told by the account's state.
        let _ = self.ended.run_until_cancelled(tokio::time::timeout(wait, settled)).await;
    }

    /// The keeper has tried, whatever came of it.
    pub(super) fn note_round(&self) {
        self.tried.notify_waiters();
    }

    /// Ends its keeper as soon as nothing is under way; whoever asks for the account then gets a new one.
    pub(super) fn retire(&self) {
        self.demand.close();
    }

    /// Whether its record was changed: whoever looks finds its successor.
    pub fn is_retired(&self) -> bool {
        self.demand.is_closed()
    }

    /// Cancelled when its keeper has ended.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub(super) fn forced(&self) -> std::sync::MutexGuard<'_, Forced> {
        self.forced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the current token was refused, so that it is replaced though it has not expired.
    pub(super) fn is_forced(&self) -> bool {
        self.forced().is_for(self.published.borrow().generation())
    }

    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.endpoint.as_ref()
    }

    pub(super) fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Published)) {
        self.published.send_modify(change);
    }
}

impl Drop for LiveAccount {
    fn drop(&mut self) {
        self.demand.close();
    }
}
