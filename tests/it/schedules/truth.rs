//! What truly happened, and the laws it is held against. The one rule: nothing here believes what the code under test says
//! of itself; only what the server, the store and the callers saw counts.

use std::{collections::VecDeque, time::Duration};

use marketgate::{
    clock::Moment,
    store::{Grant, LoginReason, Record, Standing},
};

use super::{
    family::Late,
    fault::Manner,
    figures::Figures,
    terms::{BUDGET, REUSE_WINDOW},
};

/// Now, by all clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The time that truly has passed.
    pub(super) at: Duration,
    /// What the process is told.
    pub(super) moment: Moment,
    /// How far the wall clock was stepped, in milliseconds.
    pub(super) skew: i64,
}

/// What became of a refresh token that the server issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its answer is on the way.
    Flying,
    /// The process has it.
    Delivered,
    /// It never reached the store, for that reason.
    Lost(&'static str),
}

#[derive(Debug)]
pub(super) struct RefreshToken {
    pub(super) parent: Option<usize>,
    /// When it was first used.
    pub(super) used: Option<Duration>,
    pub(super) fate: Fate,
    pub(super) was_durable: bool,
}

#[derive(Debug)]
pub(super) struct AccessToken {
    pub(super) minted: Duration,
    pub(super) asked: Moment,
    pub(super) skew: i64,
    pub(super) lifetime: Duration,
    /// The new refresh token that came with it.
    pub(super) pair: Option<usize>,
    /// Whether the API refused it.
    pub(super) refused: bool,
}

/// How a showing of a refresh token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    NotExecuted,
    Lost,
    Granted,
    Ended,
}

#[derive(Debug, Clone, Copy)]
struct Showing {
    sent: Moment,
    /// Whether it repeated one whose answer was lost a moment before.
    is_repetition: bool,
    outcome: Outcome,
}

/// Why the server takes no refresh token of the account any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    Revoked,
    Reused,
    /// By a call of a process that had died before.
    ReusedLate,
}

/// One seller.
#[derive(Debug, Default)]
pub(super) struct Seller {
    pub(super) refresh: Vec<RefreshToken>,
    pub(super) access: Vec<AccessToken>,
    pub(super) death: Option<Death>,
    pub(super) in_flight: bool,
    /// The durable refresh token.
    pub(super) durable: usize,
    durable_access: Option<usize>,
    pub(super) ended: Option<LoginReason>,
    /// Showings of the durable refresh token.
    showings: Vec<Showing>,
    /// Whether an intent was made durable that no showing has followed yet.
    begun: bool,
    /// Whether an answer to the durable refresh token may have been lost, for all the process can know.
    pub(super) doubt: bool,
    /// Whether the store failed since the server said that the grant has ended, or the process knows it no more.
    ending_failed: bool,
    /// Whether the start of the process ordered a refresh that was not carried out yet.
    ordered: bool,
    reread: Duration,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) manner: Manner,
    pub(super) grace: Duration,
    pub(super) is_budgeted: bool,
    pub(super) may_lose: bool,
    pub(super) sellers: Vec<Seller>,
    /// Calls of dead processes that the server has yet to carry out.
    pub(super) late: Vec<Late>,
    arrivals: VecDeque<Duration>,
    /// When the wall clock stood how far off.
    skews: Vec<(Duration, i64)>,
    restarted: Duration,
    /// When the process last stood still for a while.
    pub(super) held_up: Duration,
    pub(super) figures: Figures,
    /// The first law that was broken.
    pub(super) broken: Option<String>,
}

/// Breaks a law unless the condition holds.
macro_rules! law {
    ($truth:expr, $holds:expr, $($words:tt)+) => {
        if !$holds && $truth.broken.is_none() {
            $truth.broken = Some(format!($($words)+));
        }
    };
}

impl Truth {
    pub(super) fn new(manner: Manner, grace: Duration, is_budgeted: bool, may_lose: bool) -> Self {
        Self {
            manner,
            grace,
            is_budgeted,
            may_lose,
            sellers: Vec::new(),
            late: Vec::new(),
            arrivals: VecDeque::new(),
            skews: vec![(Duration::ZERO, 0)],
            restarted: Duration::ZERO,
            held_up: Duration::ZERO,
            figures: Figures::default(),
            broken: None,
        }
    }

    /// A law of which the caller knows that it was broken.
    pub(super) fn breach(&mut self, words: String) {
        self.broken.get_or_insert(words);
    }

    /// A seller who has consented: his first refresh token is durable.
    pub(super) fn consent(&mut self) {
        let first = RefreshToken { parent: None, used: None, fate: Fate::Delivered, was_durable: true };
        self.sellers.push(Seller { refresh: vec![first], ..Seller::default() });
    }

    pub(super) fn stepped(&mut self, now: Now) {
        self.skews.push((now.at, now.skew));
    }

    /// The least and the most that the wall clock was off since then.
    fn skews_since(&self, then: Duration) -> (i64, i64) {
        let last_before = self.skews.iter().rposition(|(at, _)| *at <= then).unwrap_or(0);
        let since = || self.skews[last_before..].iter().map(|(_, skew)| *skew);
        (since().min().unwrap_or(0), since().max().unwrap_or(0))
    }

    // ---- The server's side.

    /// The process is about to show a refresh token.
    pub(super) fn showing(&mut self, account: usize, refresh: usize, now: Now) {
        let seller = &self.sellers[account];
        let durable = seller.durable;
        law!(self, !seller.in_flight, "two refreshes of account {account} at once");
        law!(
            self,
            seller.begun,
            "refresh token {refresh} of account {account} shown without a durable intent"
        );
        law!(
            self,
            refresh == durable,
            "refresh token {refresh} of account {account} shown while {durable} is the durable one"
        );
        let is_repetition = self.repeats(account, now);
        let seller = &mut self.sellers[account];
        self.figures.showings += 1;
        self.figures.repeated += u64::from(seller.doubt);
        (seller.in_flight, seller.begun) = (true, false);
        seller.showings.push(Showing { sent: now.moment, is_repetition, outcome: Outcome::Pending });
    }

    /// Law 4: whether the durable refresh token may be shown once more. True when that repeats a call just lost.
    fn repeats(&mut self, account: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let Some(last) = seller.showings.last().copied() else {
            // The first in this process: where an earlier one left doubt, there must be a reason.
            self.must_have_reason(account, now);
            return false;
        };
        match last.outcome {
            Outcome::Pending => self.breach(format!("account {account}: shown again before the answer came")),
            Outcome::Granted => {
                self.breach(format!("account {account}: shown again although it was answered"));
            }
            Outcome::Ended if !seller.ending_failed => {
                self.breach(format!("account {account}: shown again after invalid_grant"));
            }
            Outcome::Ended | Outcome::NotExecuted => self.must_have_reason(account, now),
            Outcome::Lost => {
                if !last.is_repetition && now.moment.since(last.sent) < REUSE_WINDOW {
                    return true;
                }
                self.must_have_reason(account, now);
            }
        }
        false
    }

    fn must_have_reason(&mut self, account: usize, now: Now) {
        let seller = &self.sellers[account];
        let has_ended = seller.durable_access.is_none_or(|access| self.has_ended(account, access, now));
        let has_reason = !seller.doubt || has_ended || seller.ordered || seller.ending_failed;
        law!(
            self,
            has_reason,
            "account {account}: a refresh token in doubt was shown again while its access token lived"
        );
    }

    /// Whether the process may hold a token to have ended.
    fn has_ended(&self, account: usize, access: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let token = &seller.access[access];
        let (least, most) = self.skews_since(token.minted);
        let ahead = Duration::from_millis(u64::try_from(most - token.skew).unwrap_or(0));
        let unreadable = least < token.skew && seller.reread > token.minted;
        let age = now.moment.since(token.asked).max(now.at.saturating_sub(token.minted));
        token.refused || unreadable || age + ahead >= token.lifetime
    }

    /// Nothing of the call left the process.
    pub(super) fn not_sent(&mut self, account: usize) {
        let seller = &mut self.sellers[account];
        seller.in_flight = false;
        seller.showings.pop();
    }

    /// The call is at the server's door.
    pub(super) fn arrived(&mut self, now: Now) {
        self.arrivals.push_back(now.at);
        while self.arrivals.front().is_some_and(|at| *at + BUDGET.1 < now.at) {
            self.arrivals.pop_front();
        }
        let over = self.is_budgeted && self.arrivals.len() > BUDGET.0;
        // What an earlier process counted is known by wall time only.
        let recent = now.at.saturating_sub(2 * BUDGET.1);
        let (least, most) = self.skews_since(recent);
        // And a call that is held up for windows before it is sent may be forgotten.
        let cannot_know = self.restarted >= recent && (least != most || self.held_up >= recent);
        law!(self, !over || cannot_know, "{} token calls within a window", self.arrivals.len());
    }

    /// The answer will never come.
    pub(super) fn lost(&mut self, account: usize, issued: Option<usize>) {
        self.settled(account, Outcome::Lost);
        let seller = &mut self.sellers[account];
        seller.doubt = true;
        if let Some(refresh) = issued {
            seller.refresh[refresh].fate = Fate::Lost("answer lost");
        }
    }

    /// The server has refused the call and done nothing.
    pub(super) fn not_executed(&mut self, account: usize) {
        self.settled(account, Outcome::NotExecuted);
    }

    /// The answer is with the process.
    pub(super) fn granted(&mut self, account: usize, issued: Option<usize>) {
        self.settled(account, Outcome::Granted);
        if let Some(refresh) = issued {
            self.sellers[account].refresh[refresh].fate = Fate::Delivered;
        }
    }

    /// The process was told that the grant has ended.
    pub(super) fn told_the_end(&mut self, account: usize) {
        self.settled(account, Outcome::Ended);
        self.sellers[account].ending_failed = false;
    }

    fn settled(&mut self, account: usize, outcome: Outcome) {
        let seller = &mut self.sellers[account];
        seller.in_flight = false;
        seller.ordered &= outcome == Outcome::NotExecuted;
        if let Some(last) = seller.showings.last_mut() {
            last.outcome = outcome;
        }
    }

    // ---- The store's side.

    pub(super) fn begun(&mut self, account: usize) {
        self.sellers[account].begun = true;
    }

    /// The record was read; `open`: with an open intent.
    pub(super) fn read(&mut self, account: usize, open: bool, now: Now) {
        let seller = &mut self.sellers[account];
        seller.reread = now.at;
        let is_end = seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
        // The end that could not be stored is an intent left open to whoever reads it next.
        seller.doubt |= open && (!is_end || seller.ending_failed);
    }

    /// The store failed, or a keeper that knows nothing of what the last one saw takes over.
    pub(super) fn store_failed(&mut self, account: usize) {
        let seller = &mut self.sellers[account];
        seller.ending_failed |= seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
    }

    /// A record has become durable.
    pub(super) fn kept(&mut self, account: usize, record: &Record) {
        let Some(Grant::Refresh { token, .. }) = &record.grant else {
            return self.breach(format!("account {account}: the refresh token was deleted"));
        };
        let refresh = self.number(account, token.expose());
        let access = record.token.as_ref().map(|token| self.number(account, token.secret.expose()));
        let seller = &self.sellers[account];
        let follows = refresh == seller.durable || seller.refresh[refresh].parent == Some(seller.durable);
        let durable = seller.durable;
        law!(self, follows, "account {account}: refresh token {refresh} was stored after {durable}");
        match &record.standing {
            Standing::Active => {}
            Standing::LoginRequired(reason) => self.ended(account, *reason),
            other => self.breach(format!("account {account} was stored as {other:?}")),
        }
        let seller = &mut self.sellers[account];
        seller.refresh[refresh].was_durable = true;
        (seller.durable, seller.durable_access) = (refresh, access);
        (seller.doubt, seller.begun, seller.ordered, seller.ending_failed) = (false, false, false, false);
        seller.showings.clear();
    }

    /// Law 5: the end of a grant was stored.
    fn ended(&mut self, account: usize, reason: LoginReason) {
        let seller = &self.sellers[account];
        let told = seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
        let (death, doubt) = (seller.death, seller.doubt);
        law!(self, told && death.is_some(), "account {account}: stored as {reason:?} without invalid_grant");
        let silent = death == Some(Death::Reused) && reason != LoginReason::RotationResponseLost;
        law!(self, !silent, "account {account}: lost, and stored as {reason:?}");
        let slander = reason == LoginReason::RotationResponseLost && !doubt;
        law!(self, !slander, "account {account}: stored as {reason:?} though no answer was lost");
        self.sellers[account].ended = Some(reason);
    }

    fn number(&mut self, account: usize, token: &str) -> usize {
        match read(token) {
            Some((owner, number)) if owner == account => number,
            _ => {
                self.breach(format!("account {account} has `{token}`"));
                0
            }
        }
    }

    // ---- The process's side.

    pub(super) fn ordered(&mut self, account: usize) {
        self.sellers[account].ordered = true;
    }

    /// The process is gone; `open`: the accounts whose intents are open in what it left.
    pub(super) fn gone(&mut self, cause: &'static str, open: &[usize], now: Now) {
        self.restarted = now.at;
        for (account, seller) in self.sellers.iter_mut().enumerate() {
            (seller.in_flight, seller.begun, seller.ordered) = (false, false, false);
            seller.doubt |= open.contains(&account);
            seller.ending_failed |= seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
            for token in seller.refresh.iter_mut().filter(|t| !t.was_durable) {
                if matches!(token.fate, Fate::Flying | Fate::Delivered) {
                    token.fate = Fate::Lost(cause);
                }
            }
            if let Some(last) = seller.showings.last_mut()
                && matches!(last.outcome, Outcome::Pending | Outcome::Granted)
            {
                last.outcome = Outcome::Lost;
                // Whoever starts has no showing of his own to repeat.
                last.is_repetition = true;
            }
        }
    }

    /// The process has ended in order: whatever it received is in the store.
    pub(super) fn drained(&mut self) {
        for account in 0..self.sellers.len() {
            let seller = &self.sellers[account];
            let left = seller.refresh.iter().rposition(|t| !t.was_durable && t.fate == Fate::Delivered);
            law!(
                self,
                left.is_none(),
                "account {account}: refresh token {left:?} was left behind at the end"
            );
            let calls = self.sellers[account].in_flight;
            law!(self, !calls, "account {account}: a call was under way at the end");
        }
    }

    pub(super) fn spill_failed(&mut self, account: usize, token: &str) {
        let refresh = self.number(account, token);
        self.sellers[account].refresh[refresh].fate = Fate::Lost("spill failed");
    }

    // ---- The callers' side.

    /// An access token was handed out.
    pub(super) fn handed(&mut self, account: usize, token: &str, now: Now) -> usize {
        self.figures.handed += 1;
        let number = self.number(account, token);
        let seller = &self.sellers[account];
        let access = &seller.access[number];
        let (least, _) = self.skews_since(access.minted);
        // A lifetime read back from the store is known by wall time only.
        let cannot_know = seller.reread > access.minted && least < access.skew;
        let lives = access.minted + access.lifetime > now.at;
        let is_durable = access.pair.is_none_or(|pair| seller.refresh[pair].was_durable);
        let old_ended = seller.durable_access.is_none_or(|old| self.has_ended(account, old, now));
        let asked = access.asked;
        law!(
            self,
            lives || cannot_know,
            "account {account}: access token {number} handed out after its end ({asked:?}, now {now:?})"
        );
        law!(
            self,
            is_durable || old_ended,
            "account {account}: access token {number} handed out before its refresh token was durable"
        );
        self.figures.late_tokens += u64::from(!is_durable);
        number
    }

    /// Whether the API takes it.
    pub(super) fn is_welcome(&self, account: usize, access: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let token = &seller.access[access];
        seller.death.is_none() && token.minted + token.lifetime > now.at
    }

    pub(super) fn refused(&mut self, account: usize, access: usize) {
        self.figures.refused += 1;
        self.sellers[account].access[access].refused = true;
    }
}

/// The account and the number in a token's text.
pub(super) fn read(token: &str) -> Option<(usize, usize)> {
    let mut parts = token.split('-').skip(1).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}
