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
    gate::{Gate, TicketId},
    h1::H1,
    idle::Place,
    lease::Lease,
    origin::{Connected, Origin},
    room::Party,
    share::Share,
};
use crate::names::AccountId;

/// The connections of one account that lie idle or are under way, and the requests of that account that wait for one.
pub(super) struct Stack<B: RequestBody> {
    pub(super) origin: Weak<Origin<B>>,
    pub(super) account: AccountId,
    /// The account's number at the gate.
    number: u64,
    /// Those who call for it, as far as they have: a handful.
    shares: RefCell<Vec<Rc<Share>>>,
    /// Where they lie in the origin's list, and for whom; the newest at the back.
    idle: RefCell<VecDeque<(Place, Option<u32>)>>,
    pub(super) attempts: Attempts<B>,
    waiters: RefCell<VecDeque<Waiter<B>>>,
    next_waiter: Cell<u64>,
}

struct Waiter<B: RequestBody> {
    number: u64,
    share: Rc<Share>,
    /// Its place in the queue for a permit, as long as it has none.
    ticket: Option<TicketId>,
    hand: Hand<B>,
}

impl<B: RequestBody> Stack<B> {
    pub(super) fn new(origin: Weak<Origin<B>>, account: &AccountId, number: u64) -> Rc<Self> {
        Rc::new(Self {
            origin,
            account: account.clone(),
            number,
            shares: RefCell::default(),
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

    /// A caller's part of this account's connections.
    pub(super) fn share(&self, caller: u32) -> Rc<Share> {
        let mut shares = self.shares.borrow_mut();
        if let Some(share) = shares.iter().find(|share| share.caller == caller) {
            return share.clone();
        }
        let share = Share::new(caller);
        shares.push(share.clone());
        share
    }

    /// By what the gate knows a caller of this account.
    pub(super) fn party(&self, share: &Share) -> Party {
        Party { account: self.number, caller: share.caller }
    }

    /// The connection used last of those this caller may use, unless it is too old. Whether it is alive shows when it is used.
    pub(super) fn pop(&self, origin: &Origin<B>, caller: u32, now: Instant) -> Option<Rc<H1<B>>> {
        loop {
            let place = self.last_for(caller)?;
            let Some(connection) = origin.idle.borrow_mut().take(place) else { continue };
            if connection.take_up(now, origin.idle_limit()) && connection.is_young(now) {
                return Some(connection);
            }
            connection.close();
        }
    }

    fn last_for(&self, caller: u32) -> Option<Place> {
        let mut idle = self.idle.borrow_mut();
        let index = idle.iter().rposition(|(_, only)| only.is_none_or(|only| only == caller))?;
        idle.remove(index).map(|(place, _)| place)
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
        if idle.front().is_some_and(|(front, _)| *front == place) {
            idle.pop_front();
        } else {
            idle.retain(|(other, _)| *other != place);
        }
    }

    /// Gives a connection to whoever should have it: a waiting request of this account, of the caller with the fewest under
    /// way; nobody, when somebody elsewhere waits for its permit and nobody here does, or that one is overdue (its closing
    /// is that one's permit); else the idle ones.
    pub(super) fn give_back(connection: Rc<H1<B>>) {
        let Some(stack) = connection.stack() else { return connection.close() };
        let Some(origin) = stack.origin.upgrade() else { return connection.close() };
        let now = Instant::now();
        if !connection.is_young(now) || !connection.is_quiet() {
            return connection.close();
        }
        match stack.hand_over(connection, &origin.gate, now) {
            Some(connection) if origin.gate.is_wanted(connection.kind()) => connection.close(),
            Some(connection) => {
                let place = origin.idle.borrow_mut().put(connection.clone(), now);
                connection.lay(place, now);
                stack.idle.borrow_mut().push_back((place, connection.only()));
                origin.mind_idle();
            }
            None => {}
        }
    }

    /// Returns the connection when nobody here is due.
    fn hand_over(&self, mut connection: Rc<H1<B>>, gate: &Gate, now: Instant) -> Option<Rc<H1<B>>> {
        while let Some(waiter) = self.due(&connection, gate, now) {
            // At once: as long as it stood in the queue it would be taken for the one whose turn it is.
            waiter.ticket.inspect(|ticket| gate.leave(*ticket));
            match waiter.hand.fill(Ok(Some(Lease::h1(connection)))) {
                Ok(()) => return None,
                Err(refused) => connection = refused.ok().flatten()?.into_h1()?,
            }
        }
        Some(connection)
    }

    fn due(&self, connection: &H1<B>, gate: &Gate, now: Instant) -> Option<Waiter<B>> {
        let mut waiters = self.waiters.borrow_mut();
        let may = |waiter: &Waiter<B>| connection.only().is_none_or(|only| only == waiter.share.caller);
        let here = waiters.iter().enumerate().filter(|(_, waiter)| may(waiter));
        let (index, _) = here.min_by_key(|(_, waiter)| (waiter.share.in_use(), waiter.number))?;
        let is_here = |ticket| waiters.iter().any(|waiter| waiter.ticket == Some(ticket));
        let yields = gate.must_yield(now, (connection.owner(), connection.kind()), is_here);
        if yields { None } else { waiters.remove(index) }
    }

    /// Waits for a connection of this account, beside whatever else one waits for; if it is to be a fresh one, for none
    /// but that of an attempt.
    pub(super) fn wait(self: &Rc<Self>, share: &Rc<Share>, fresh: bool, ticket: Option<TicketId>) -> Hope<B> {
        let number = self.next_waiter.replace(self.next_waiter.get() + 1);
        let (sender, filled) = oneshot::channel();
        let hand = Hand::new(sender);
        if !fresh {
            let waiter = Waiter { number, share: share.clone(), ticket, hand: hand.clone() };
            self.waiters.borrow_mut().push_back(waiter);
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
