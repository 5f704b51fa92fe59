//! The task that keeps one account's token fresh. The one rule: one refresh at a time, started by the keeper alone.
//!
//! It rests until [`plan`] says otherwise; while it refreshes it holds the account alive, so whoever asks for the account
//! meanwhile finds this very keeper and no second one. When the account is let go, the keeper ends; when the program
//! stops, it first finishes what it has begun. How a token is got is told in [`super::call`] and, for grants that may
//! rotate, in [`super::rotation`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    account::LiveAccount,
    agenda::Agenda,
    custody::Custody,
    demand::Demand,
    drain::Leftover,
    outstanding::Outstanding,
    owner::Naming,
    plan::{Asked, Plan, plan},
    state::Published,
    withheld::Withheld,
};
use crate::{
    chance::Chance,
    clock::{Clock, Moment},
    config::Credentials,
    metrics::Metrics,
    names::AccountId,
    oauth::TokenCalls,
    secret::SecretSource,
    store::{Grant, Store},
};

/// How soon a changed secret file is noticed while it is in use.
const FILE_CHECK: Duration = Duration::from_secs(2);

/// What all keepers share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) client: Arc<dyn TokenCalls>,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) agenda: Agenda,
    /// From then on no refresh token is shown any more; what has begun goes on.
    pub(super) closing: CancellationToken,
    pub(super) stop: CancellationToken,
    /// What the end of the process waits for.
    pub(super) outstanding: Outstanding,
    /// What keepers could not store before they ended.
    pub(super) leftovers: Mutex<Vec<Leftover>>,
    /// Accounts whose tokens came with a refresh of another one: that one.
    pub(super) crossed: Mutex<BTreeMap<AccountId, AccountId>>,
}

impl Surroundings {
    pub(super) fn crossed(&self) -> MutexGuard<'_, BTreeMap<AccountId, AccountId>> {
        self.crossed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One account's keeper.
pub(super) struct Keeper {
    pub(super) account: Weak<LiveAccount>,
    /// Let go only while it rests, and only if there is nothing that would be lost with the account.
    holding: Option<Arc<LiveAccount>>,
    pub(super) demand: Arc<Demand>,
    pub(super) surroundings: Arc<Surroundings>,
    /// The durable record, for accounts that have one.
    pub(super) custody: Option<Custody>,
    /// What is known of the seller it belongs to.
    pub(super) naming: Naming,
    /// Which of several client secrets worked last.
    pub(super) secret_index: usize,
    /// Whether a lost call is to be repeated as soon as the usual pauses allow it, while the reuse window runs.
    pub(super) unsettled: bool,
}

impl Keeper {
    pub(super) fn new(
        account: &Arc<LiveAccount>,
        surroundings: Arc<Surroundings>,
        custody: Option<Custody>,
    ) -> Self {
        let demand = account.demand().clone();
        // Held from the start: what is ordered of a new account must not depend on who else keeps it.
        let (holding, account) = (Some(account.clone()), Arc::downgrade(account));
        let naming = Naming::default();
        Self { account, holding, demand, surroundings, custody, naming, secret_index: 0, unsettled: false }
    }

    /// Keeps the token until the account is let go or the program stops. What is done now and then has its future on the heap
    /// only for as long as it takes: the task would hold room for it all the time.
    pub(super) async fn keep(&mut self) {
        let _counted = Counted::new(self.surroundings.metrics.clone());
        self.take_custody();
        if let Some(account) = self.account.upgrade().filter(|_| self.custody.is_none()) {
            self.resume_pause(&account);
        }
        while !self.is_over() {
            let Some(account) = self.account.upgrade() else { break };
            self.holding = Some(account.clone());
            match self.plan(&account) {
                Step::Load => Box::pin(self.load(&account)).await,
                Step::StoreAgain => Box::pin(self.store_again(&account)).await,
                Step::Plan(Plan::Refresh { urgent }) => Box::pin(self.refresh(&account, urgent)).await,
                Step::Plan(Plan::Rest(until)) => {
                    self.holding = Some(account).filter(|account| self.must_hold(account));
                    self.rest(until).await;
                }
            }
        }
        if self.surroundings.stop.is_cancelled()
            && let Some(account) = self.account.upgrade()
        {
            account.withhold(Some(Withheld::Ending));
        }
        Box::pin(self.hand_over()).await;
    }

    fn is_over(&self) -> bool {
        let let_go = self.demand.is_closed() && !self.has_unstored();
        let_go || self.surroundings.stop.is_cancelled()
    }

    fn must_hold(&self, account: &LiveAccount) -> bool {
        let published = account.published();
        let is_asked_for = self.demand.ordered.load(Relaxed) || self.demand.due.load(Relaxed);
        let is_ordered = is_asked_for && !published.state.needs_a_person();
        is_ordered || self.heals(&published) || self.is_unsettled() || self.has_unstored()
    }

    /// Whether a refresh that an earlier process left open is to be repeated, as far as it is known before the record is read.
    fn heals(&self, published: &Published) -> bool {
        let now = self.surroundings.clock.now();
        let may_be = self.custody.as_ref().is_some_and(|c| c.record.is_none() || c.is_repeatable(now));
        may_be && !published.state.needs_a_person() && self.demand.healing.load(Relaxed)
    }

    fn has_unstored(&self) -> bool {
        self.custody.as_ref().is_some_and(|custody| custody.unstored.is_some())
    }

    async fn rest(&self, until: Option<Duration>) {
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = self.demand.wake.notified() => {}
            () = self.surroundings.stop.cancelled() => {}
        }
    }

    fn plan(&self, account: &LiveAccount) -> Step {
        let now = self.surroundings.clock.now();
        let step = self.custody.as_ref().and_then(|custody| self.step_of_custody(account, custody, now));
        if let Some(step) = step {
            return step;
        }
        let published = account.published();
        let asked = Asked {
            used: self.demand.used.load(Relaxed),
            waiting: self.demand.waiting.load(Relaxed) > 0,
            forced: account.is_forced(),
            mended: published.trouble.as_ref().is_some_and(|t| t.is_mended(&account.account().credentials)),
            ordered: self.demand.ordered.load(Relaxed) || (self.is_doubtful() && self.heals(&published)),
            unsettled: self.is_unsettled(),
            kept_up: self.is_due(account, now),
            doubtful: self.is_doubtful(),
            uploading: account.has_uploads(),
        };
        Step::Plan(match plan(&published, &asked, now) {
            Plan::Refresh { .. } if self.surroundings.closing.is_cancelled() && self.rotates() => {
                account.withhold(Some(Withheld::Ending));
                account.note_round();
                Plan::Rest(None)
            }
            // A secret file may be mended at any moment.
            Plan::Rest(Some(rest))
                if published.trouble.as_ref().is_some_and(|t| !t.passes) && has_a_file(account) =>
            {
                Plan::Rest(Some(rest.min(FILE_CHECK)))
            }
            plan => plan,
        })
    }

    /// Whether the account has to be refreshed though nobody uses it. Whoever asked for that may have waited for an earlier
    /// keeper, which was told meanwhile that the grant is over: where that is stored, the record says when to ask again.
    fn is_due(&self, account: &LiveAccount, now: Moment) -> bool {
        if !self.demand.due.load(Relaxed) {
            return false;
        }
        let rests = self.rests_after_end(account, now);
        if rests {
            self.demand.due.store(false, Relaxed);
            self.note_due(account);
        }
        !rests
    }

    /// Whether its grant is a refresh token, which may change at every use.
    fn rotates(&self) -> bool {
        let record = self.custody.as_ref().and_then(|custody| custody.record.as_ref());
        matches!(record.and_then(|record| record.grant.as_ref()), Some(Grant::Refresh { .. }))
    }

    fn is_unsettled(&self) -> bool {
        let now = self.surroundings.clock.now();
        self.unsettled && self.custody.as_ref().is_some_and(|custody| custody.is_repeatable(now))
    }

    /// Whether the refresh token may have been spent by a call whose answer was lost.
    pub(super) fn is_doubtful(&self) -> bool {
        self.custody.as_ref().is_some_and(|custody| custody.lost_answers > 0)
    }

    async fn refresh(&mut self, account: &Arc<LiveAccount>, urgent: bool) {
        self.demand.used.store(false, Relaxed);
        self.demand.due.store(false, Relaxed);
        let heals = self.demand.healing.swap(false, Relaxed) || self.is_unsettled();
        self.unsettled = false;
        match &account.account().credentials {
            _ if self.rotates() => {
                let repeats = heals && account.published().usable(self.surroundings.clock.now()).is_some();
                let was_seen = self.rotate(account, urgent, repeats).await;
                // One repetition for each lost answer, unless it did not reach the server.
                if heals {
                    self.unsettled = !was_seen;
                }
            }
            Credentials::Key(source) => self.read_key(account, source),
            Credentials::Client { .. } => self.ask_for_token(account, urgent).await,
        }
        // What was ordered or fell due meanwhile is what has just been done.
        self.demand.ordered.store(false, Relaxed);
        self.demand.due.store(false, Relaxed);
        account.note_round();
    }

    /// A static key is its own token; one from a file is read again from time to time.
    fn read_key(&mut self, account: &LiveAccount, source: &SecretSource) {
        let now = self.surroundings.clock.now();
        let check_again = matches!(source, SecretSource::File(_)).then_some(FILE_CHECK);
        match source.read() {
            Ok(key) => self.publish_key(account, key, now, check_again),
            Err(error) => self.publish_setback(account, error.into(), now),
        }
    }
}

/// Whether a secret of the account may be replaced while the process lives.
fn has_a_file(account: &LiveAccount) -> bool {
    let is_file = |source: &SecretSource| matches!(source, SecretSource::File(_));
    match &account.account().credentials {
        Credentials::Key(source) => is_file(source),
        Credentials::Client { secrets, .. } => secrets.iter().any(is_file),
    }
}

/// A keeper's next step.
pub(super) enum Step {
    /// Read the durable record.
    Load,
    /// Try again to write what the store refused to take.
    StoreAgain,
    /// As for every account.
    Plan(Plan),
}

/// Counts a running keeper, however it ends.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.keepers.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.keepers.dec();
    }
}
