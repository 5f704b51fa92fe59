//! The server's books: what it issued, and what it makes of a refresh token it sees. The one rule: a grant ends only when the
//! seller revokes it, or when a used refresh token comes back later than the server's manner allows.

use std::time::Duration;

use super::{
    fault::Manner,
    truth::{AccessToken, Death, Fate, Now, RefreshToken, Truth},
};

/// What the server issued: an access token, and perhaps a new refresh token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issued {
    pub(super) access: usize,
    pub(super) refresh: Option<usize>,
}

/// A call that outlived its process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) due: Duration,
    pub(super) account: usize,
    pub(super) refresh: usize,
}

impl Truth {
    /// The server carries out a call. None: `invalid_grant`.
    pub(super) fn commit(
        &mut self,
        account: usize,
        refresh: usize,
        sent: Now,
        now: Now,
        rotates: bool,
        lifetime: Duration,
    ) -> Option<Issued> {
        self.carry_out_late(now);
        if !self.accepts(account, refresh, now) {
            self.end(account, refresh, Death::Reused);
            return None;
        }
        self.figures.refreshes += 1;
        let new = (rotates || self.sellers[account].refresh[refresh].used.is_some())
            .then(|| self.issue(account, refresh, now));
        let seller = &mut self.sellers[account];
        seller.access.push(AccessToken {
            minted: now.at,
            asked: sent.moment,
            skew: sent.skew,
            lifetime,
            pair: new,
            refused: false,
        });
        Some(Issued { access: seller.access.len() - 1, refresh: new })
    }

    fn accepts(&self, account: usize, refresh: usize, now: Now) -> bool {
        let seller = &self.sellers[account];
        let Some(used) = seller.refresh[refresh].used else { return seller.death.is_none() };
        let successors = || seller.refresh.iter().filter(|token| token.parent == Some(refresh));
        seller.death.is_none()
            && match self.manner {
                Manner::Strict => false,
                Manner::Grace => now.at <= used + self.grace,
                Manner::Lenient => successors().all(|token| token.used.is_none()),
            }
    }

    fn issue(&mut self, account: usize, parent: usize, now: Now) -> usize {
        let seller = &mut self.sellers[account];
        seller.refresh[parent].used.get_or_insert(now.at);
        let parent = Some(parent);
        seller.refresh.push(RefreshToken { parent, used: None, fate: Fate::Flying, was_durable: false });
        seller.refresh.len() - 1
    }

    /// A used refresh token came back too late.
    fn end(&mut self, account: usize, refresh: usize, death: Death) {
        if self.sellers[account].death.is_some() {
            return;
        }
        let cause = if death == Death::ReusedLate { "late call" } else { self.cause_of(account, refresh) };
        // Of what the server did for a dead process, the living one may know nothing.
        let is_late = cause == "late call" && !self.sellers[account].doubt;
        self.sellers[account].death = Some(if is_late { Death::ReusedLate } else { death });
        *self.figures.losses.entry(cause).or_default() += 1;
        let may_lose = self.may_lose || death == Death::ReusedLate;
        if !may_lose {
            self.breach(format!(
                "account {account} was lost ({cause}), though the server would have borne a repetition"
            ));
        }
    }

    /// Why a used refresh token was shown again: because the answer that replaced it was lost, and for no other reason.
    fn cause_of(&mut self, account: usize, refresh: usize) -> &'static str {
        let successors = self.sellers[account].refresh.iter().filter(|token| token.parent == Some(refresh));
        let mut cause = "none";
        let mut kept = false;
        for token in successors {
            match token.fate {
                Fate::Lost(why) if !token.was_durable => cause = why,
                _ => kept = true,
            }
        }
        if kept || cause == "none" {
            self.breach(format!(
                "account {account}: refresh token {refresh} came back although its answer had arrived"
            ));
        }
        cause
    }

    /// What processes that died had still sent.
    pub(super) fn carry_out_late(&mut self, now: Now) {
        for late in std::mem::take(&mut self.late) {
            if late.due > now.at {
                self.late.push(late);
            } else if self.accepts(late.account, late.refresh, now) {
                let refresh = self.issue(late.account, late.refresh, now);
                self.sellers[late.account].refresh[refresh].fate = Fate::Lost("late call");
            } else {
                self.end(late.account, late.refresh, Death::ReusedLate);
            }
        }
    }

    /// The seller withdraws his consent.
    pub(super) fn revoke(&mut self, account: usize) {
        let seller = &mut self.sellers[account];
        if seller.death.is_none() {
            seller.death = Some(Death::Revoked);
            self.figures.revoked += 1;
        }
    }
}
