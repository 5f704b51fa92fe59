//! Showings of refresh tokens, held against laws 3, 4 and 8. The one rule: a refresh token is shown with a durable intent, and
//! again only where an answer was lost and there is a reason not to wait.

use std::time::Duration;

use marketgate::store::LoginReason;

use super::{
    terms::BUDGET,
    truth::{Fate, Now, Outcome, Showing, Truth},
};

impl Truth {
    /// The process is about to show a refresh token.
    pub(super) fn showing(&mut self, account: usize, refresh: usize, now: Now) {
        let seller = &self.sellers[account];
        let (durable, begun, in_flight) = (seller.durable, seller.begun, seller.in_flight);
        self.law(!in_flight, || format!("two refreshes of account {account} at once"));
        self.law(begun, || {
            format!("refresh token {refresh} of account {account} shown without a durable intent")
        });
        self.law(refresh == durable, || {
            format!("refresh token {refresh} of account {account} shown while {durable} is the durable one")
        });
        let repeats = self.repeats(account, now);
        self.must_be_wanted(account, now);
        let window = self.window;
        let seller = &mut self.sellers[account];
        // What a start shows again within the window is the one repetition that the lost call of the earlier process gets.
        let heals = seller.orphaned_at.take().is_some_and(|sent| now.at < sent + window);
        let is_repetition = repeats || heals;
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
            Outcome::Ended if seller.doubt && !seller.ending_failed && !self.may_be_held() => {
                self.breach(format!("account {account}: shown again after it was refused as used"));
            }
            Outcome::Ended | Outcome::NotExecuted => self.must_have_reason(account, now),
            Outcome::Lost => {
                if !last.is_repetition && now.moment.since(last.sent) < self.window {
                    return true;
                }
                self.must_have_reason(account, now);
            }
        }
        false
    }

    /// Whether so many may have been refused together that the process takes none of it for the end of a grant.
    fn may_be_held(&self) -> bool {
        self.sellers.len() >= 3
    }

    fn must_have_reason(&mut self, account: usize, now: Now) {
        let seller = &self.sellers[account];
        let has_ended = seller.durable_access.is_none_or(|access| self.has_ended(account, access, now));
        // A start repeats the lost call of an earlier process, as long as it takes the time for it to run.
        let in_time =
            seller.intent_at.is_some_and(|sent| now.at < sent + self.window || self.is_stepped_since(sent));
        // A refresh token that ends before its access token would be lost by waiting.
        let ends = seller.refresh[seller.durable].ends;
        let access_ends =
            seller.durable_access.map(|access| &seller.access[access]).map(|t| t.minted + t.lifetime);
        let ends_before = ends.zip(access_ends).is_some_and(|(refresh, access)| refresh <= access);
        let has_reason = !seller.doubt || has_ended || in_time || seller.ending_failed || ends_before;
        self.law(has_reason, || {
            format!(
                "account {account}: a refresh token in doubt was shown again while its access token lived"
            )
        });
    }

    /// A server that refused is asked rarely, and one that asked for time is given it.
    fn must_be_wanted(&mut self, account: usize, now: Now) {
        const RARELY: (usize, Duration) = (20, Duration::from_secs(600));
        let seller = &self.sellers[account];
        let early =
            seller.asked_until.is_some_and(|until| now.at < until && !self.is_stepped_since(Duration::ZERO));
        // Where the endpoint refused many and then accepts one, all of them are tried once more.
        let released = self.may_be_held() || self.sellers.iter().any(|seller| seller.was_misjudged);
        let over = seller.ended == Some(LoginReason::RotationResponseLost) && !released;
        let since = now.at.saturating_sub(RARELY.1);
        let refusals = seller.refusals.iter().filter(|at| **at >= since).count();
        let often = refusals >= RARELY.0 && !self.is_chaos;
        self.law(!early, || format!("account {account}: shown again before Retry-After was over"));
        self.law(!over, || format!("account {account}: shown again after its end was stored"));
        self.law(!often, || format!("account {account}: shown {refusals} times in vain within ten minutes"));
    }

    /// The server wants to be left alone for so long.
    pub(super) fn asked(&mut self, account: usize, until: Duration) {
        self.sellers[account].asked_until = Some(until);
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
        let calls = self.arrivals.len();
        self.law(!over || cannot_know, || format!("{calls} token calls within a window"));
    }

    /// The answer will never come.
    pub(super) fn lost(&mut self, account: usize, issued: Option<usize>, now: Now) {
        self.settled(account, Outcome::Lost);
        let window = self.window;
        let seller = &mut self.sellers[account];
        seller.doubt = true;
        let repeatable = |last: &&Showing| !last.is_repetition && now.moment.since(last.sent) < window;
        let is_awaited = seller.asked_until.is_some_and(|until| now.at < until);
        seller.owes_repetition =
            seller.showings.last().filter(repeatable).filter(|_| !is_awaited).map(|_| now.at);
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
        let seller = &mut self.sellers[account];
        seller.misjudged = false;
        seller.refusals.clear();
        if let Some(refresh) = issued {
            self.sellers[account].refresh[refresh].fate = Fate::Delivered;
        }
    }

    /// The process was told that the grant has ended; `misjudged`: though it has not.
    pub(super) fn told_the_end(&mut self, account: usize, misjudged: bool, now: Now) {
        self.settled(account, Outcome::Ended);
        let seller = &mut self.sellers[account];
        seller.ending_failed = false;
        seller.misjudged |= misjudged;
        seller.was_misjudged |= misjudged;
        seller.refusals.push_back(now.at);
    }

    fn settled(&mut self, account: usize, outcome: Outcome) {
        let seller = &mut self.sellers[account];
        seller.in_flight = false;
        if let Some(last) = seller.showings.last_mut() {
            last.outcome = outcome;
        }
    }
}
