//! What the store kept and what went with a process, held against laws 2 and 5. The one rule: what the server issued is durable
//! in the end, or there is a crash to show for it.

use marketgate::store::{Grant, LoginReason, Record, Standing};

use super::{
    fault::Step,
    terms::REUSE_WINDOW,
    truth::{Death, Fate, Now, Outcome, Truth},
};

impl Truth {
    /// The store is asked for something. Law 4: where the window is open, the first thing is to show the token again.
    pub(super) fn asked(&mut self, account: usize, step: Step, now: Now) {
        let Some(since) = self.sellers[account].owes_repetition.take() else { return };
        let repeats = step == Step::Begin && now.at < since + REUSE_WINDOW;
        // Where there is a budget, or the endpoint fails for others too, there may be no place for it in time; nor is there in
        // a process that stands still.
        let excused = self.is_budgeted || self.sellers.len() > 1 || self.held_up >= since;
        self.law(repeats || excused, || {
            format!("account {account}: a lost call was not repeated while the window was open")
        });
    }

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
        self.law(follows, || {
            format!("account {account}: refresh token {refresh} was stored after {durable}")
        });
        match &record.standing {
            Standing::Active => {}
            Standing::LoginRequired(reason) => self.ended(account, *reason),
            other => self.breach(format!("account {account} was stored as {other:?}")),
        }
        let seller = &mut self.sellers[account];
        if refresh != seller.durable {
            seller.follows_loss = seller.doubt;
        } else if record.standing == Standing::Active {
            seller.follows_loss = false;
        }
        seller.refresh[refresh].was_durable = true;
        (seller.durable, seller.durable_access) = (refresh, access);
        (seller.doubt, seller.begun, seller.ordered, seller.ending_failed) = (false, false, None, false);
        seller.showings.clear();
    }

    /// Law 5: the end of a grant was stored.
    fn ended(&mut self, account: usize, reason: LoginReason) {
        let seller = &self.sellers[account];
        let told = seller.showings.last().is_some_and(|last| last.outcome == Outcome::Ended);
        let (death, doubt) = (seller.death, seller.doubt || seller.follows_loss);
        self.law(told && death.is_some(), || {
            format!("account {account}: stored as {reason:?} without invalid_grant")
        });
        let silent = death == Some(Death::Reused) && reason != LoginReason::RotationResponseLost;
        self.law(!silent, || format!("account {account}: lost, and stored as {reason:?}"));
        let slander = reason == LoginReason::RotationResponseLost && !doubt;
        self.law(!slander, || format!("account {account}: stored as {reason:?} though no answer was lost"));
        self.sellers[account].ended = Some(reason);
    }

    pub(super) fn ordered(&mut self, account: usize, now: Now) {
        self.sellers[account].ordered = Some(now.at);
    }

    /// The process is gone; `open`: the accounts whose intents are open in what it left.
    pub(super) fn gone(&mut self, cause: &'static str, open: &[usize], now: Now) {
        self.restarted = now.at;
        (0..self.sellers.len()).for_each(|account| self.order_lapses(account, now));
        for (account, seller) in self.sellers.iter_mut().enumerate() {
            (seller.in_flight, seller.begun, seller.ordered) = (false, false, None);
            seller.owes_repetition = None;
            seller.doubt |= open.contains(&account);
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
            let left = seller.refresh.iter().rposition(|t| !t.was_durable && t.fate == Fate::Delivered);
            self.law(left.is_none(), || {
                format!("account {account}: refresh token {left:?} was left behind at the end")
            });
            let calls = self.sellers[account].in_flight;
            self.law(!calls, || format!("account {account}: a call was under way at the end"));
        }
    }
}
