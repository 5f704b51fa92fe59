//! What the store kept and what went with a process, held against laws 2 and 5. The one rule: what the server issued is durable
//! in the end, or there is a crash to show for it.

use std::time::Duration;

use marketgate::store::{Grant, LoginReason, Record, Standing};

use super::{
    fault::Step,
    truth::{Death, Fate, Now, Outcome, RefreshToken, Truth},
};

impl Truth {
    /// The store is asked for something by a keeper. Law 4: where the window is open, the first thing is to show the token again.
    pub(super) fn store_asked(&mut self, account: usize, step: Step, now: Now) {
        let Some(since) = self.sellers[account].owes_repetition.take() else { return };
        let repeats = step == Step::Begin && now.at < since + self.window;
        // Where there is a budget, or the endpoint fails for others too, there may be no place for it in time; nor is there in
        // a process that stands still.
        let excused = self.is_budgeted || self.sellers.len() > 1 || self.held_up >= since;
        self.law(repeats || excused, || {
            format!("account {account}: a lost call was not repeated while the window was open")
        });
    }

    pub(super) fn begun(&mut self, account: usize, now: Now) {
        let seller = &mut self.sellers[account];
        (seller.begun, seller.intent_at) = (true, Some(now.at));
    }

    /// The record was read; `open`: with an open intent.
    pub(super) fn read(&mut self, account: usize, open: bool, now: Now) {
        let seller = &mut self.sellers[account];
        seller.reread = now.at;
        let is_end = seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
        // The end that could not be stored is an intent left open to whoever reads it next.
        seller.doubt |= open && (!is_end || seller.ending_failed);
    }

    /// The store failed, or a keeper takes over that knows nothing of what the last one saw; only for how long the server
    /// wants to be left alone it knows.
    pub(super) fn store_failed(&mut self, account: usize) {
        let seller = &mut self.sellers[account];
        seller.ending_failed |= seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
    }

    /// A record has become durable; `brought`: by a login.
    pub(super) fn kept(&mut self, account: usize, record: &Record, brought: bool) {
        let Some(Grant::Refresh { token, .. }) = &record.grant else {
            return self.breach(format!("account {account}: the refresh token was deleted"));
        };
        let refresh = self.number(account, token.expose());
        let access = record.token.as_ref().map(|token| self.number(account, token.secret.expose()));
        let seller = &self.sellers[account];
        let token = &seller.refresh[refresh];
        let durable = seller.durable;
        let is_new = brought && token.parent.is_none() && token.consent > seller.refresh[durable].consent;
        let follows = is_new || refresh == durable || token.parent == Some(durable);
        self.law(follows, || {
            format!("account {account}: refresh token {refresh} was stored after {durable}")
        });
        match &record.standing {
            Standing::Active => {
                let seller = &mut self.sellers[account];
                seller.ended = None;
                let is_of_now = seller.refresh[refresh].consent == seller.consent;
                let silent = seller.death == Some(Death::Reused) && is_of_now;
                let refused = record.notes.refusal.is_some();
                self.law(!(refused && silent), || format!("account {account}: lost, and stored as refused"));
            }
            Standing::LoginRequired(reason) => self.ended(account, refresh, *reason),
            other => self.breach(format!("account {account} was stored as {other:?}")),
        }
        let seller = &mut self.sellers[account];
        if refresh != seller.durable {
            seller.follows_loss = seller.doubt && !is_new;
        } else if record.standing == Standing::Active {
            seller.follows_loss = false;
        }
        seller.refresh[refresh].was_durable = true;
        (seller.durable, seller.durable_access) = (refresh, access);
        (seller.doubt, seller.begun, seller.ending_failed) = (false, false, false);
        (seller.intent_at, seller.was_late) = (None, false);
        if is_new {
            (seller.misjudged, seller.given_up, seller.asked_until) = (false, false, None);
            seller.refresh[refresh].fate = Fate::Delivered;
            seller.refusals.clear();
        }
        seller.showings.clear();
    }

    /// Law 5: the end of a grant was stored.
    fn ended(&mut self, account: usize, refresh: usize, reason: LoginReason) {
        let seller = &self.sellers[account];
        let told = seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
        let is_replaced = seller.refresh[refresh].consent != seller.consent;
        let (death, doubt) = (seller.death, seller.doubt || seller.follows_loss);
        let is_known = seller.ended == Some(reason);
        let has_cause = death.is_some() || seller.misjudged || is_replaced;
        let is_told = seller.refresh[refresh].end_is_told && !is_replaced;
        self.law(told && has_cause, || {
            format!("account {account}: stored as {reason:?} without invalid_grant")
        });
        let known = reason == LoginReason::RotationResponseLost || is_replaced;
        let silent = death == Some(Death::Reused) && !known;
        self.law(!silent, || format!("account {account}: lost, and stored as {reason:?}"));
        let slander = reason == LoginReason::RotationResponseLost && !doubt && !is_known;
        self.law(!slander, || format!("account {account}: stored as {reason:?} though no answer was lost"));
        let knows_the_time = self.held_up.is_zero() && !self.is_stepped_since(Duration::ZERO);
        let unsaid = death == Some(Death::Expired) && reason == LoginReason::Revoked && is_told;
        let unsaid = unsaid && knows_the_time && !self.is_chaos;
        self.law(!unsaid, || format!("account {account}: at its end, and stored as {reason:?}"));
        let seller = &mut self.sellers[account];
        seller.given_up |= death.is_none() && reason == LoginReason::RotationResponseLost;
        seller.ended = Some(reason);
    }

    /// A process starts: which lost calls can no longer be repeated.
    pub(super) fn started(&mut self, now: Now) {
        let window = self.window;
        for seller in &mut self.sellers {
            seller.was_late |= seller.intent_at.is_some_and(|sent| now.at >= sent + window);
        }
    }

    /// The process is gone; `open`: the accounts whose intents are open in what it left.
    pub(super) fn gone(&mut self, cause: &'static str, open: &[usize], now: Now) {
        self.restarted = now.at;
        for (account, seller) in self.sellers.iter_mut().enumerate() {
            (seller.in_flight, seller.begun) = (false, false);
            (seller.owes_repetition, seller.asked_until) = (None, None);
            // A new grant that a login brought and the store never took is gone.
            if !seller.refresh.iter().any(|token| token.consent == seller.consent && token.was_durable) {
                seller.death = Some(Death::Revoked);
            }
            seller.doubt |= open.contains(&account);
            seller.orphaned_at = seller.intent_at.filter(|_| open.contains(&account));
            seller.ending_failed |= seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
            for token in seller.refresh.iter_mut().filter(|t| !t.was_durable) {
                if matches!(token.fate, Fate::Flying | Fate::Delivered) {
                    token.fate = Fate::Lost(cause);
                }
            }
            if let Some(last) = seller.showings.last_mut() {
                if matches!(last.outcome, Outcome::Pending | Outcome::Granted) {
                    last.outcome = Outcome::Lost;
                }
                // Whoever starts has no showing of his own to repeat.
                last.is_repetition = true;
            }
        }
    }

    /// The process has ended in order: whatever it received is in the store.
    pub(super) fn drained(&mut self) {
        for account in 0..self.sellers.len() {
            let seller = &self.sellers[account];
            let is_left = |token: &RefreshToken| {
                !token.was_durable && token.fate == Fate::Delivered && token.consent == seller.consent
            };
            let left = seller.refresh.iter().rposition(is_left);
            self.law(left.is_none(), || {
                format!("account {account}: refresh token {left:?} was left behind at the end")
            });
            let calls = self.sellers[account].in_flight;
            self.law(!calls, || format!("account {account}: a call was under way at the end"));
        }
    }
}
