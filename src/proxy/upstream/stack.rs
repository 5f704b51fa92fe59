//! One account's HTTP/1.1 connections to one origin. The one rule: last in, first out — the warmest connection is used,
//! the coldest may grow old — and whoever waits is served before anything lies idle.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    RequestBody,
    attempt::{Attempt, Attempts, Hand},
    gate::Gate,
    h1::H1,
    idle::Place,
    lease::Lease,
    origin::{Connected, Origin},
};

/// The connections of one account that lie idle or are under way, and the requests of that account that wait for one.
pub(super) struct Stack<B: RequestBody> {
    pub(super) origin: Weak<Origin<B>>,
    /// Where they lie in the origin's list; the newest at the back.
    idle: RefCell<VecDeque<Place>>,
    pub(super) attempts: Attempts<B>,
    waiters: RefCell<VecDeque<Waiter<B>>>,
    next_waiter: Cell<u64>,
}

struct Waiter<B: RequestBody> {
    number: u64,
    /// Its place in the queue for a permit, as long as it has none.
    ticket: Option<u64>,
    hand: Hand<B>,
}

impl<B: RequestBody> Stack<B> {
    pub(super) fn new(origin: Weak<Origin<B>>) -> Rc<Self> {
        Rc::new(Self {
            origin,
            idle: RefCell::default(),
            attempts: Attempts::default(),
            waiters: RefCell::default(),
            next_waiter: Cell::new(0),
        })
    }

    /// Nothing idle and nobody waiting. An attempt under way is not asked for: its task holds the stack.
    pub(super) fn is_unused(&self) -> bool {
        self.idle.borrow().is_empty() && self.waiters.borrow().is_empty()
    }

    /// The connection used last, unless it is too old. Whether it is alive shows when it is used.
    pub(super) fn pop(&self, origin: &Origin<B>, now: Instant) -> Option<Rc<H1<B>>> {
        loop {
            let place = self.idle.borrow_mut().pop_back()?;
            let Some(connection) = origin.idle.borrow_mut().take(place) else { continue };
            connection.lay(None);
            if connection.is_young(now) {
                return Some(connection);
            }
            connection.close();
        }
    }

    /// The one at this place is worth nothing any more.
    pub(super) fn lose(&self, place: Place) {
        if let Some(origin) = self.origin.upgrade() {
            origin.idle.borrow_mut().take(place);
        }
        self.forget(place);
    }

    /// The origin has taken out the one at this place: the coldest here.
    pub(super) fn forget(&self, place: Place) {
        let mut idle = self.idle.borrow_mut();
        if idle.front() == Some(&place) {
            idle.pop_front();
        } else {
            idle.retain(|other| *other != place);
        }
    }

    /// Gives a connection to whoever should have it: the request of this account that waits longest; nobody, when
    /// somebody elsewhere waits for a permit and nobody here does, or that one is overdue (its closing is that one's
    /// permit); else the idle ones.
    pub(super) fn give_back(connection: Rc<H1<B>>) {
        let Some(stack) = connection.stack() else { return connection.close() };
        let Some(origin) = stack.origin.upgrade() else { return connection.close() };
        let now = Instant::now();
        if !connection.is_young(now) || !connection.is_quiet() {
            return connection.close();
        }
        match stack.hand_over(connection, &origin.gate, now) {
            Some(connection) if origin.gate.first().is_some() => connection.close(),
            Some(connection) => {
                let place = origin.idle.borrow_mut().put(connection.clone(), now);
                connection.lay(Some(place));
                stack.idle.borrow_mut().push_back(place);
                origin.mind_idle();
            }
            None => {}
        }
    }

    /// Returns the connection when nobody here is due.
    fn hand_over(&self, mut connection: Rc<H1<B>>, gate: &Gate, now: Instant) -> Option<Rc<H1<B>>> {
        while let Some(waiter) = self.due(gate, now) {
            // At once: as long as it stood in the queue it would be taken for the one whose turn it is.
            waiter.ticket.inspect(|ticket| gate.leave(*ticket));
            match waiter.hand.fill(Ok(Some(Lease::h1(connection)))) {
                Ok(()) => return None,
                Err(refused) => connection = refused.ok().flatten()?.into_h1()?,
            }
        }
        Some(connection)
    }

    fn due(&self, gate: &Gate, now: Instant) -> Option<Waiter<B>> {
        let mut waiters = self.waiters.borrow_mut();
        let Some(first) = gate.first() else { return waiters.pop_front() };
        match waiters.iter().position(|waiter| waiter.ticket == Some(first)) {
            Some(index) => waiters.remove(index),
            None if waiters.is_empty() || gate.must_yield(now) => None,
            None => waiters.pop_front(),
        }
    }

    /// Waits for a connection of this account, beside whatever else one waits for; if it is to be a fresh one, for none
    /// but that of an attempt.
    pub(super) fn wait(self: &Rc<Self>, fresh: bool, ticket: Option<u64>) -> Hope<B> {
        let number = self.next_waiter.replace(self.next_waiter.get() + 1);
        let (sender, filled) = oneshot::channel();
        let hand = Hand::new(sender);
        if !fresh {
            self.waiters.borrow_mut().push_back(Waiter { number, ticket, hand: hand.clone() });
        }
        Hope { stack: self.clone(), number, hand, filled }
    }
}

/// A waiting request's open hand. What lies in it when it is dropped goes back to the stack.
pub(super) struct Hope<B: RequestBody> {
    stack: Rc<Stack<B>>,
    number: u64,
    hand: Hand<B>,
    filled: oneshot::Receiver<Connected<B>>,
}

impl<B: RequestBody> Hope<B> {
    /// Whatever this attempt ends with is for this request, unless another connection is there before.
    pub(super) fn claim(&self, attempt: &Attempt<B>) {
        attempt.claim(self.hand.clone());
    }

    /// What was put into the hand, once. Never resolves when that is nothing.
    pub(super) async fn fulfilled(&mut self) -> Connected<B> {
        match (&mut self.filled).await {
            Ok(connected) => connected,
            Err(_) => std::future::pending().await,
        }
    }
}

impl<B: RequestBody> Drop for Hope<B> {
    fn drop(&mut self) {
        let number = self.number;
        self.stack.waiters.borrow_mut().retain(|waiter| waiter.number != number);
    }
}
