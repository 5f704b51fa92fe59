//! What truly happened, and the laws it is held against. The one rule: nothing here believes what the code under test says
//! of itself; only what the server, the store and the callers saw counts.

use std::{collections::VecDeque, time::Duration};

use marketgate::{clock::Moment, store::LoginReason, token::usable_life};

use super::{
    family::Late,
    fault::{Course, Manner, Schedule},
    figures::Figures,
    terms::{End, Terms},
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
    /// Which of the seller's consents it belongs to.
    pub(super) consent: u64,
    /// When it was first used.
    pub(super) used: Option<Duration>,
    /// Uses that were granted.
    pub(super) uses: u64,
    /// When it ends by itself, and whether the process was told.
    pub(super) ends: Option<Duration>,
    pub(super) end_is_told: bool,
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
    /// Whether the server ended it.
    pub(super) ended: bool,
}

/// How a showing of a refresh token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    NotExecuted,
    Lost,
    Granted,
    Ended,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Showing {
    pub(super) sent: Moment,
    /// Whether it repeated one whose answer was lost a moment before.
    pub(super) is_repetition: bool,
    pub(super) outcome: Outcome,
}

/// Why the server takes no refresh token of the account any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    Revoked,
    Reused,
    /// By a call of a process that had died before.
    ReusedLate,
    /// With another grant of its session.
    WithSession,
    /// It reached its end.
    Expired,
}

/// One seller.
#[derive(Debug, Default)]
pub(super) struct Seller {
    pub(super) refresh: Vec<RefreshToken>,
    pub(super) access: Vec<AccessToken>,
    pub(super) death: Option<Death>,
    /// Counts the seller's consents.
    pub(super) consent: u64,
    /// The newest refresh token, as the server has it.
    pub(super) current: usize,
    pub(super) in_flight: bool,
    /// The durable refresh token.
    pub(super) durable: usize,
    pub(super) durable_access: Option<usize>,
    pub(super) ended: Option<LoginReason>,
    /// Showings of the durable refresh token.
    pub(super) showings: Vec<Showing>,
    /// Whether an intent was made durable that no showing has followed yet.
    pub(super) begun: bool,
    /// When an answer was lost whose call is to be repeated.
    pub(super) owes_repetition: Option<Duration>,
    /// Whether an answer to the durable refresh token may have been lost, for all the process can know.
    pub(super) doubt: bool,
    /// Whether the store failed since the server said that the grant has ended, or the process knows it no more.
    pub(super) ending_failed: bool,
    /// When the last intent was kept of whose call no answer was stored.
    pub(super) intent_at: Option<Duration>,
    /// When a call was begun that an earlier process left open, until the refresh token is shown again.
    pub(super) orphaned_at: Option<Duration>,
    /// Whether a process started only when that call could no longer be repeated.
    pub(super) was_late: bool,
    /// Until when the server wants to be left alone.
    pub(super) asked_until: Option<Duration>,
    /// Whether the server refused the grant although it lives; and whether that was taken for the end of a lost one.
    pub(super) misjudged: bool,
    pub(super) was_misjudged: bool,
    pub(super) given_up: bool,
    /// When the grant was refused, since the last success.
    pub(super) refusals: VecDeque<Duration>,
    pub(super) reread: Duration,
    /// Whether the durable refresh token came from a repetition after a lost answer.
    pub(super) follows_loss: bool,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) manner: Manner,
    pub(super) grace: Duration,
    pub(super) window: Duration,
    pub(super) reuses: u64,
    pub(super) is_one_session: bool,
    pub(super) ends_access: bool,
    pub(super) end: Option<End>,
    pub(super) is_budgeted: bool,
    pub(super) may_lose: bool,
    /// Whether nothing goes wrong at all.
    pub(super) is_calm: bool,
    /// Whether so much goes wrong that nothing can be said of how long anything takes.
    pub(super) is_chaos: bool,
    pub(super) sellers: Vec<Seller>,
    /// Calls of dead processes that the server has yet to carry out.
    pub(super) late: Vec<Late>,
    pub(super) arrivals: VecDeque<Duration>,
    /// When the wall clock stood how far off.
    skews: Vec<(Duration, i64)>,
    pub(super) restarted: Duration,
    /// When the process last stood still for a while.
    pub(super) held_up: Duration,
    pub(super) figures: Figures,
    /// The first law that was broken.
    pub(super) broken: Option<String>,
}

impl Truth {
    pub(super) fn new(schedule: &Schedule, terms: &Terms, may_lose: bool) -> Self {
        Self {
            manner: schedule.manner,
            grace: terms.grace,
            window: terms.window,
            reuses: terms.reuses,
            is_one_session: terms.is_one_session,
            ends_access: terms.ends_access,
            end: terms.end,
            is_budgeted: terms.is_budgeted,
            may_lose,
            is_calm: schedule.course == Course::Calm,
            is_chaos: schedule.course == Course::Chaos,
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

    pub(super) fn law(&mut self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.broken.get_or_insert_with(words);
        }
    }

    /// A law of which the caller knows that it was broken.
    pub(super) fn breach(&mut self, words: String) {
        self.broken.get_or_insert(words);
    }

    /// A seller who has consented: his first refresh token is durable.
    pub(super) fn consent(&mut self) {
        let first = RefreshToken {
            parent: None,
            consent: 0,
            used: None,
            uses: 0,
            ends: self.end.map(|end| end.after),
            end_is_told: self.end.is_some_and(|end| end.is_told),
            fate: Fate::Delivered,
            was_durable: true,
        };
        self.sellers.push(Seller { refresh: vec![first], ..Seller::default() });
    }

    /// Whether nothing but a login helps.
    pub(super) fn is_over(&self, account: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let is_past_its_end = seller.refresh[seller.durable].ends.is_some_and(|end| end <= now.at);
        seller.death.is_some() || seller.given_up || is_past_its_end
    }

    /// Whether the wall clock was stepped since then.
    pub(super) fn is_stepped_since(&self, then: Duration) -> bool {
        let (least, most) = self.skews_since(then);
        least != most
    }

    pub(super) fn stepped(&mut self, now: Now) {
        self.skews.push((now.at, now.skew));
    }

    /// The least and the most that the wall clock was off since then.
    pub(super) fn skews_since(&self, then: Duration) -> (i64, i64) {
        let last_before = self.skews.iter().rposition(|(at, _)| *at <= then).unwrap_or(0);
        let since = || self.skews[last_before..].iter().map(|(_, skew)| *skew);
        (since().min().unwrap_or(0), since().max().unwrap_or(0))
    }

    /// Whether the process may hold a token to have ended.
    pub(super) fn has_ended(&self, account: usize, access: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let token = &seller.access[access];
        let (least, most) = self.skews_since(token.minted);
        let ahead = Duration::from_millis(u64::try_from(most - token.skew).unwrap_or(0));
        let unreadable = least < token.skew && seller.reread > token.minted;
        let age = now.moment.since(token.asked).max(now.at.saturating_sub(token.minted));
        token.refused || unreadable || age + ahead >= usable_life(token.lifetime)
    }

    /// An access token was handed out.
    pub(super) fn handed(&mut self, account: usize, token: &str, now: Now) -> usize {
        self.figures.handed += 1;
        let number = self.number(account, token);
        let seller = &self.sellers[account];
        let access = &seller.access[number];
        let (least, _) = self.skews_since(access.minted);
        // A lifetime read back from the store is known by wall time only.
        let cannot_know = seller.reread > access.minted && least < access.skew;
        let lives = access.minted + usable_life(access.lifetime) > now.at;
        let is_durable = access.pair.is_none_or(|pair| seller.refresh[pair].was_durable);
        let old_ended = seller.durable_access.is_none_or(|old| self.has_ended(account, old, now));
        let asked = access.asked;
        self.law(lives || cannot_know, || {
            format!(
                "account {account}: access token {number} handed out after its end ({asked:?}, now {now:?})"
            )
        });
        self.law(is_durable || old_ended, || {
            format!(
                "account {account}: access token {number} handed out before its refresh token was durable"
            )
        });
        self.figures.late_tokens += u64::from(!is_durable);
        number
    }

    pub(super) fn number(&mut self, account: usize, token: &str) -> usize {
        match read(token) {
            Some((owner, number)) if owner == account => number,
            _ => {
                self.breach(format!("account {account} has `{token}`"));
                0
            }
        }
    }

    /// Whether the API takes it.
    pub(super) fn is_welcome(&self, account: usize, access: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let token = &seller.access[access];
        seller.death.is_none() && !token.ended && token.minted + token.lifetime > now.at
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
