//! Attempts to connect for one account. The one rule: an attempt always ends — with a connection, an error or, when its
//! task dies, the news of that — and tells whoever waits for it then, be it not the request for which it was started.

use std::{cell::RefCell, mem, rc::Rc};

use tokio::sync::oneshot;

use super::{RequestBody, error::UpstreamError, origin::Connected, stack::Stack};

/// What a waiting request holds out, to its account's stack and to an attempt. Filled once, by whichever is first.
pub(super) struct Hand<B: RequestBody>(Rc<RefCell<Option<oneshot::Sender<Connected<B>>>>>);

impl<B: RequestBody> Clone for Hand<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: RequestBody> Hand<B> {
    pub(super) fn new(sender: oneshot::Sender<Connected<B>>) -> Self {
        Self(Rc::new(RefCell::new(Some(sender))))
    }

    /// Whether it still waits: not filled, and its request not gone.
    fn is_open(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Gives back what a hand that is not open cannot take.
    pub(super) fn fill(&self, with: Connected<B>) -> Result<(), Connected<B>> {
        let sender = self.0.borrow_mut().take();
        match sender {
            Some(sender) => sender.send(with),
            None => Err(with),
        }
    }
}

/// An attempt under way.
pub(super) struct Attempt<B: RequestBody> {
    hand: RefCell<Option<Hand<B>>>,
}

impl<B: RequestBody> Attempt<B> {
    /// Its outcome is to go here.
    pub(super) fn claim(&self, hand: Hand<B>) {
        *self.hand.borrow_mut() = Some(hand);
    }

    fn is_unclaimed(&self) -> bool {
        !self.hand.borrow().as_ref().is_some_and(Hand::is_open)
    }
}

/// One account's attempts under way, the eldest first.
pub(super) struct Attempts<B: RequestBody>(RefCell<Vec<Rc<Attempt<B>>>>);

impl<B: RequestBody> Default for Attempts<B> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<B: RequestBody> Attempts<B> {
    /// One that nobody waits for, or for no longer.
    pub(super) fn unclaimed(&self) -> Option<Rc<Attempt<B>>> {
        self.0.borrow().iter().find(|attempt| attempt.is_unclaimed()).cloned()
    }
}

/// Whoever makes the attempt. Ends it when dropped.
pub(super) struct Maker<B: RequestBody> {
    stack: Rc<Stack<B>>,
    attempt: Rc<Attempt<B>>,
    outcome: Connected<B>,
}

impl<B: RequestBody> Maker<B> {
    /// A new attempt of this account, which nobody has claimed yet.
    pub(super) fn begin(stack: &Rc<Stack<B>>, if_lost: UpstreamError) -> Self {
        let attempt = Rc::new(Attempt { hand: RefCell::default() });
        stack.attempts.0.borrow_mut().push(attempt.clone());
        Self { stack: stack.clone(), attempt, outcome: Err(if_lost) }
    }

    pub(super) fn attempt(&self) -> Rc<Attempt<B>> {
        self.attempt.clone()
    }

    pub(super) fn end(mut self, outcome: Connected<B>) {
        self.outcome = outcome;
    }
}

impl<B: RequestBody> Drop for Maker<B> {
    fn drop(&mut self) {
        self.stack.attempts.0.borrow_mut().retain(|attempt| !Rc::ptr_eq(attempt, &self.attempt));
        let hand = self.attempt.hand.take();
        // A lease that nobody takes goes back to its stack by itself.
        let _untaken = hand.map(|hand| hand.fill(mem::replace(&mut self.outcome, Ok(None))));
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Weak;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::{super::error::Cause, *};
    use crate::names::AccountId;

    fn lost() -> UpstreamError {
        UpstreamError::unsent(&"api.test:443".into(), Cause::Interrupted)
    }

    fn nobodys() -> Rc<Stack<Full<Bytes>>> {
        let account = AccountId { app: "a".parse().unwrap(), account: "x".parse().unwrap() };
        Stack::new(Weak::new(), &account, 1)
    }

    #[tokio::test]
    async fn whoever_claimed_an_attempt_last_learns_of_its_end_and_of_a_crash() {
        let stack = nobodys();
        for crashes in [false, true] {
            let maker = Maker::begin(&stack, lost());
            let share = stack.share(0);
            let (gone, mut stays) = (stack.wait(&share, true, None), stack.wait(&share, true, None));
            gone.claim(&maker.attempt());
            assert!(stack.attempts.unclaimed().is_none());
            drop(gone);
            stays.claim(&stack.attempts.unclaimed().unwrap());
            assert!(stack.attempts.unclaimed().is_none());
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert!(!crashes, "in the middle of connecting");
                maker.end(Ok(None));
            }));
            assert_eq!(end.is_err(), crashes);
            assert!(stack.attempts.0.borrow().is_empty());
            assert_eq!(stays.fulfilled().await.err(), crashes.then(lost));
        }
    }

    #[test]
    fn an_attempt_is_unclaimed_as_soon_as_its_request_is_served_otherwise() {
        let stack = nobodys();
        let (quick, slow) = (Maker::begin(&stack, lost()), Maker::begin(&stack, lost()));
        let hope = stack.wait(&stack.share(0), false, None);
        hope.claim(&slow.attempt());
        hope.claim(&quick.attempt());
        quick.end(Ok(None));
        // Though the request has not looked yet.
        assert!(stack.attempts.unclaimed().is_some_and(|attempt| Rc::ptr_eq(&attempt, &slow.attempt())));
    }
}
