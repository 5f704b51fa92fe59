//! The server's books: what it issued, and what it makes of a refresh token it sees. The one rule: a grant ends only when the
//! seller revokes it, or when a used refresh token comes back later than the server's manner allows.

use std::time::Duration;

use super::{
    fault::Manner,
    truth::{AccessToken, Death, Fate, Now, RefreshToken, Truth},
};

/// A call as the server has it before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) account: usize,
    pub(super) refresh: usize,
    pub(super) sent: Now,
    /// Whether its refresh token was the newest when the server began to work.
    pub(super) found: bool,
}

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
    pub(super) found: bool,
}

impl Truth {
    /// The server carries out a call. None: `invalid_grant`.
    pub(super) fn commit(
        &mut self,
        call: Call,
        now: Now,
        rotates: bool,
        lifetime: Duration,
    ) -> Option<Issued> {
        self.carry_out_late(now);
        let Call { account, refresh, sent, found } = call;
        if self.is_of_an_earlier_consent(account, refresh) || self.has_expired(account, refresh, now) {
            return None;
        }
        if !self.accepts(account, refresh, found, now) {
            self.end(account, refresh, Death::Reused);
            return None;
        }
        self.figures.refreshes += 1;
        let new = (rotates || self.sellers[account].refresh[refresh].used.is_some())
            .then(|| self.issue(account, refresh, now));
        let (ends_access, moved) = (self.ends_access, self.moved_end(now));
        let seller = &mut self.sellers[account];
        if new.is_none() && moved.is_some() {
            seller.refresh[refresh].ends = moved;
        }
        seller.access.iter_mut().for_each(|token| token.ended |= ends_access);
        seller.access.push(AccessToken {
            minted: now.at,
            asked: sent.moment,
            skew: sent.skew,
            lifetime,
            pair: new,
            refused: false,
            ended: false,
        });
        Some(Issued { access: seller.access.len() - 1, refresh: new })
    }

    /// Whether the server finds this refresh token to be the newest.
    pub(super) fn finds(&self, account: usize, refresh: usize) -> bool {
        self.sellers[account].current == refresh
    }

    fn is_of_an_earlier_consent(&self, account: usize, refresh: usize) -> bool {
        let seller = &self.sellers[account];
        seller.refresh[refresh].consent != seller.consent
    }

    /// Whether a refresh token is past its end, which is then the grant's.
    fn has_expired(&mut self, account: usize, refresh: usize, now: Now) -> bool {
        let has_ended = self.sellers[account].refresh[refresh].ends.is_some_and(|end| end <= now.at);
        if has_ended {
            let told = self.end.is_some_and(|end| end.is_sliding && end.is_told);
            self.law(!(self.is_calm && told), || format!("account {account} ended of disuse"));
            self.sellers[account].death.get_or_insert(Death::Expired);
        }
        has_ended
    }

    /// When a refresh token ends that a refresh brings now; None where that moves no end.
    fn moved_end(&self, now: Now) -> Option<Duration> {
        self.end.filter(|end| end.is_sliding).map(|end| now.at + end.after)
    }

    fn accepts(&self, account: usize, refresh: usize, found: bool, now: Now) -> bool {
        let seller = &self.sellers[account];
        if self.manner == Manner::Unlocked {
            return seller.death.is_none() && (found || seller.current == refresh);
        }
        let Some(used) = seller.refresh[refresh].used else { return seller.death.is_none() };
        let successors = || seller.refresh.iter().filter(|token| token.parent == Some(refresh));
        seller.death.is_none()
            && match self.manner {
                Manner::Strict | Manner::Unlocked => false,
                Manner::Grace => now.at <= used + self.grace,
                Manner::Lenient => successors().all(|token| token.used.is_none()),
                Manner::Counting => {
                    seller.refresh[refresh].uses <= self.reuses
                        && successors().all(|token| token.used.is_none())
                }
            }
    }

    fn issue(&mut self, account: usize, parent: usize, now: Now) -> usize {
        let moved = self.moved_end(now);
        let seller = &mut self.sellers[account];
        let old = &mut seller.refresh[parent];
        old.used.get_or_insert(now.at);
        old.uses += 1;
        let (ends, end_is_told) = (moved.or(old.ends), false);
        let (parent, consent) = (Some(parent), seller.consent);
        let fate = Fate::Flying;
        seller.refresh.push(RefreshToken {
            parent,
            consent,
            used: None,
            uses: 0,
            ends,
            end_is_told,
            fate,
            was_durable: false,
        });
        seller.current = seller.refresh.len() - 1;
        seller.current
    }

    /// The seller consents once more: what came from the last consent is over, and ends nothing else.
    pub(super) fn consent_again(&mut self, account: usize, now: Now) -> usize {
        let ends = self.end.map(|end| now.at + end.after);
        let end_is_told = self.end.is_some_and(|end| end.is_told);
        let seller = &mut self.sellers[account];
        seller.consent += 1;
        seller.death = None;
        seller.access.iter_mut().for_each(|token| token.ended = true);
        let (consent, fate) = (seller.consent, Fate::Flying);
        seller.refresh.push(RefreshToken {
            parent: None,
            consent,
            used: None,
            uses: 0,
            ends,
            end_is_told,
            fate,
            was_durable: false,
        });
        seller.current = seller.refresh.len() - 1;
        seller.current
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
        if self.is_one_session {
            for seller in &mut self.sellers {
                seller.death.get_or_insert(Death::WithSession);
            }
        }
        let may_lose = self.may_lose || death == Death::ReusedLate || self.sellers[account].was_late;
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
        if self.is_saved_over(account, refresh) {
            return "saved over";
        }
        if kept || cause == "none" {
            self.breach(format!(
                "account {account}: refresh token {refresh} came back although its answer had arrived"
            ));
        }
        cause
    }

    /// Whether a call of a dead process was saved after the one that brought this token, at a server without a lock. The
    /// process gives such calls the time to end, as far as it knows the time.
    fn is_saved_over(&mut self, account: usize, refresh: usize) -> bool {
        let token = &self.sellers[account].refresh[refresh];
        if self.manner != Manner::Unlocked || token.used.is_some() || self.finds(account, refresh) {
            return false;
        }
        let excused = self.is_stepped_since(Duration::ZERO);
        self.law(excused, || format!("account {account}: a call at work was overtaken by another"));
        true
    }

    /// What processes that died had still sent.
    pub(super) fn carry_out_late(&mut self, now: Now) {
        for late in std::mem::take(&mut self.late) {
            if late.due > now.at {
                self.late.push(late);
            } else if self.is_of_an_earlier_consent(late.account, late.refresh)
                || self.has_expired(late.account, late.refresh, now)
            {
                // It is refused, and nobody hears of it.
            } else if self.accepts(late.account, late.refresh, late.found, now) {
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
        if self.is_one_session {
            for seller in &mut self.sellers {
                seller.death.get_or_insert(Death::WithSession);
            }
        }
    }
}
