//! What becomes of a grant after its refresh token was shown in vain. The one rule: only a judgement of this very grant ends
//! it, and only after the store was read again; the refresh token is kept all the same.

use std::{sync::Arc, time::Duration};

use super::{
    account::LiveAccount,
    custody::refresh_end,
    keeper::Keeper,
    meter::{Verdict, refuses_everybody},
    refusal,
    rotation::halt,
    setback::{Cause, Setback},
};
use crate::{
    clock::Moment,
    oauth::{Class, EndReason, TokenError},
    secret::Secret,
    store::{LoginReason, Origin, Record, Replaced, Standing},
};

/// A server's clock and ours, and the whole seconds in which lifetimes are told, differ by no more than this.
pub const TOLERANCE: Duration = Duration::from_secs(2);

impl Keeper {
    /// Decides what a refused showing means for the grant.
    pub(super) async fn bear_refusal(
        &mut self,
        account: &Arc<LiveAccount>,
        mut error: TokenError,
        sent: Moment,
    ) {
        let now = self.surroundings.clock.now();
        let Some(custody) = &mut self.custody else { return };
        if let Some(token) = error.successor.take() {
            let rotated = custody.rotated(Some(&token), None, now, &account.app().profile);
            if let Some(next) = rotated {
                self.tell_what_changed(account, &next);
                self.store(account, next, None, error.received).await;
            }
        } else if error.may_have_rotated() {
            custody.note_lost_answer(sent);
        } else if refusal::is_of_the_grant(&error, custody.follows_a_lost_answer()) {
            return self.end_grant(account, &error).await;
        } else if custody.lost_answers == 0 {
            // As long as an earlier answer is missing, the intent stays open: a next process has to know.
            custody.close(now.wall).await;
        }
        self.publish_failure(account, error.into(), now);
    }

    /// Whether the end of the grant is stored, and it is not time to try it again.
    pub(super) fn rests_after_end(&self, account: &LiveAccount, now: Moment) -> bool {
        let (custody, profile) = (self.custody.as_ref(), &account.app().profile);
        custody.is_some_and(|custody| {
            let is_over = custody.record.as_ref().is_some_and(|record| halt(record, profile).is_some());
            is_over && custody.due(profile).is_none_or(|at| at > now.wall)
        })
    }

    /// A grant that a person has to see to stays so when another try of it fails for another reason.
    fn publish_failure(&mut self, account: &LiveAccount, setback: Setback, now: Moment) {
        let record = self.custody.as_ref().and_then(|custody| custody.record.as_ref());
        match record.and_then(|record| halt(record, &account.app().profile)) {
            Some((state, detail)) => {
                self.publish_halt(account, state, format!("{detail}; tried again: {}", setback.detail), now);
            }
            None => self.publish_setback(account, setback, now),
        }
    }

    /// A grant ends only after the store was read again, and the refresh token is kept all the same.
    async fn end_grant(&mut self, account: &Arc<LiveAccount>, error: &TokenError) {
        let Some(custody) = &mut self.custody else { return };
        let (shown, was_lost) = (custody.refresh_token().cloned(), custody.lost_answers > 0);
        let follows_a_lost_answer = custody.follows_a_lost_answer();
        let read = custody.read(&self.surroundings.clock).await;
        let now = self.surroundings.clock.now();
        if let Err(error) = read {
            return self.publish_setback(account, error.into(), now);
        }
        let same = custody.refresh_token().map(Secret::expose) == shown.as_ref().map(Secret::expose);
        if !same {
            return self.load(account).await;
        }
        let reason = end_of_grant(custody.record.as_ref(), error, follows_a_lost_answer, now);
        let words = error.to_string();
        if self.is_held(account, reason, &words) {
            return self.hold(account, &words, was_lost, now).await;
        }
        let chance = self.surroundings.chance.draw();
        let Some(custody) = &mut self.custody else { return };
        let Some(next) = custody.refused(reason, words.clone(), now, chance) else { return };
        let halted = halt(&next, &account.app().profile);
        match custody.replace(next, Origin::Kept).await {
            Ok(Replaced::Durable) => {}
            Ok(Replaced::Newer | Replaced::Held(_)) => return self.load(account).await,
            // Nothing is lost: the next start finds the intent open and is told the same by the server. That it is open still
            // does not make this refusal a lost answer.
            Err(error) => {
                if !was_lost {
                    custody.forget_lost_answers();
                }
                tracing::warn!(account = %account.id(), %error, "the end of a grant could not be stored");
            }
        }
        if let Some((state, _)) = halted {
            self.publish_halt(account, state, words, now);
        }
    }

    /// Whether the endpoint refuses everybody, so that a refusal says nothing about this grant. Where there is another reason
    /// for the refusal, it does not count among those that have the endpoint held.
    fn is_held(&self, account: &LiveAccount, reason: Option<LoginReason>, words: &str) -> bool {
        let Some(endpoint) = account.endpoint() else { return false };
        match reason {
            None | Some(LoginReason::Revoked) => endpoint.meter.refused(account.id(), words) == Verdict::Held,
            Some(LoginReason::RotationResponseLost) => endpoint.meter.is_held(),
            Some(_) => false,
        }
    }

    /// The endpoint refuses everybody: nothing is said of this grant, and its token is used to its end.
    async fn hold(&mut self, account: &LiveAccount, words: &str, was_lost: bool, now: Moment) {
        if let Some(custody) = self.custody.as_mut().filter(|_| !was_lost) {
            // The refusal was an answer: the token was not spent.
            custody.close(now.wall).await;
            custody.forget_lost_answers();
        }
        let setback = Setback {
            outcome: Class::InvalidGrant.outcome(),
            cause: Cause::Passing { perhaps_own: false },
            detail: refuses_everybody(words),
            action: "look whether the server's address, its realm or the registration of the client was changed; Marketgate \
                     asks with one grant at a time, and all go on when one is accepted"
                .to_owned(),
            retry_after: None,
        };
        self.publish_failure(account, setback, now);
    }
}

/// Why the grant is over; None where the server's words are not known to mean that.
fn end_of_grant(
    record: Option<&Record>,
    error: &TokenError,
    follows_a_lost_answer: bool,
    now: Moment,
) -> Option<LoginReason> {
    if follows_a_lost_answer {
        return Some(LoginReason::RotationResponseLost);
    }
    if let Some(Standing::LoginRequired(known)) = record.map(|record| &record.standing) {
        // It was tried once more, in vain.
        return Some(*known);
    }
    let has_ended = record.and_then(refresh_end).is_some_and(|end| end <= now.wall + TOLERANCE);
    if has_ended || error.reason == Some(EndReason::Expired) {
        Some(LoginReason::Expired)
    } else if error.class == Class::Refused && error.reason != Some(EndReason::Reused) {
        None
    } else {
        Some(LoginReason::Revoked)
    }
}
