//! How many connections one origin may have, over all workers, and who comes next. The one rule: a permit that comes free
//! goes to the caller and account with the fewest connections, among equals to whoever waits longest, or to nobody.
//!
//! A new connection costs as much as some twenty requests on one that stands. So where a connection that comes free could
//! serve somebody of its own account at once, another account's earlier request has a claim on it only when it has waited
//! noticeably, and not on one after the other.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::room::{Kind, Party, Room};
use crate::names::AccountId;

/// How long a request waits before connections of other accounts are closed for it although they are wanted there.
const PATIENCE: Duration = Duration::from_millis(50);

/// The least time from one such closing to the next: at worst, handshakes take a fraction of a core.
const PACE: Duration = Duration::from_millis(5);

/// The cap of one origin.
#[derive(Debug)]
pub(super) struct Gate {
    queue: usize,
    /// How many wait for a permit, so that a busy worker can look without the lock.
    queued: AtomicUsize,
    /// Idle connections that waiters would like to see closed, wherever they are.
    wishes: AtomicUsize,
    inside: Mutex<Inside>,
    accounts: RandomState,
}

#[derive(Debug)]
struct Inside {
    connections: Room,
    /// Requests that wait, whatever for.
    waiting: Room,
    next_ticket: u64,
    /// Those that wait for a permit. No queue is empty.
    queues: HashMap<Party, VecDeque<Place>>,
    /// When a connection that was wanted was last closed for another account's sake.
    yielded: Option<Instant>,
}

/// A place in a queue.
#[derive(Debug)]
struct Place {
    number: u64,
    since: Instant,
    permit: oneshot::Sender<Permit>,
}

/// Names a place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TicketId {
    party: Party,
    number: u64,
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

impl Gate {
    pub(super) fn new(connections: usize, queue: usize) -> Arc<Self> {
        let inside = Inside {
            connections: Room::new(connections.max(1)),
            waiting: Room::new(queue),
            next_ticket: 0,
            queues: HashMap::new(),
            yielded: None,
        };
        Arc::new(Self {
            queue,
            queued: AtomicUsize::new(0),
            wishes: AtomicUsize::new(0),
            inside: Mutex::new(inside),
            accounts: RandomState::new(),
        })
    }

    /// Poison is harmless here: no code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that may wait.
    pub(super) fn queue_limit(&self) -> usize {
        self.queue
    }

    /// Connections, how many one may have alone, and requests that wait.
    pub(super) fn load(&self) -> (usize, usize, usize) {
        let inside = self.lock();
        (inside.connections.taken(), inside.connections.limit(), inside.waiting.taken())
    }

    /// By what [`Party`] knows an account, in every worker. Two accounts with one number would only share their part.
    pub(super) fn number(&self, account: &AccountId) -> u64 {
        self.accounts.hash_one(account)
    }

    /// Counts a request among those that wait for a connection, whatever for.
    pub(super) fn wait(self: &Arc<Self>, party: Party) -> Result<Waiting, Full> {
        let mut inside = self.lock();
        let kind = inside.waiting.kind_for(party).ok_or(Full)?;
        inside.waiting.take(party, kind);
        Ok(Waiting { gate: self.clone(), party, kind })
    }

    /// A permit, if there is one for this party and nobody waits for it. `spares`: also one of the spare ones.
    pub(super) fn try_open(self: &Arc<Self>, party: Party, spares: bool) -> Option<Permit> {
        let kind = self.lock().open(party, spares)?;
        Some(Permit { gate: self.clone(), party, kind })
    }

    /// A place in the queue for the next permit; with one at once, if there is one after all.
    pub(super) fn queue(self: &Arc<Self>, party: Party, spares: bool) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let mut inside = self.lock();
        let number = inside.next_ticket;
        inside.next_ticket += 1;
        if let Some(kind) = inside.open(party, spares) {
            drop(inside);
            // The receiver lives, so this cannot fail; were it to, the permit would find its way back by itself.
            let _ = sender.send(Permit { gate: self.clone(), party, kind });
        } else {
            let place = Place { number, since: Instant::now(), permit: sender };
            inside.queues.entry(party).or_default().push_back(place);
            self.queued.fetch_add(1, SeqCst);
        }
        Ticket { gate: self.clone(), id: TicketId { party, number }, permit: receiver }
    }

    /// Whether somebody waits for a permit.
    pub(super) fn is_awaited(&self) -> bool {
        self.queued.load(SeqCst) > 0
    }

    /// Whether somebody waits who could have the permit of a connection of this kind.
    pub(super) fn is_wanted(&self, kind: Kind) -> bool {
        self.is_awaited() && (kind == Kind::Common || self.lock().next(kind).is_some())
    }

    /// Whether a connection that is wanted where it is shall be closed all the same, so that the next in the queue gets its
    /// permit: never for one who is served by it anyway, or who has no less than its owner. Says so once in a while.
    pub(super) fn must_yield(
        &self,
        now: Instant,
        (owner, kind): (Party, Kind),
        is_here: impl Fn(TicketId) -> bool,
    ) -> bool {
        if !self.is_awaited() {
            return false;
        }
        let mut inside = self.lock();
        let Some((next, since)) = inside.next(kind) else { return false };
        let is_poorer = next.party.account == owner.account
            || inside.connections.rank(next.party) < inside.connections.rank(owner);
        let is_paced = inside.yielded.is_none_or(|last| last + PACE <= now);
        let yields = since + PATIENCE <= now && is_poorer && is_paced && !is_here(next);
        if yields {
            inside.yielded = Some(now);
        }
        yields
    }

    /// Whoever holds this place is served, or gone.
    pub(super) fn leave(&self, id: TicketId) {
        let mut inside = self.lock();
        let Some(queue) = inside.queues.get_mut(&id.party) else { return };
        if let Ok(index) = queue.binary_search_by_key(&id.number, |place| place.number) {
            queue.remove(index);
            if queue.is_empty() {
                inside.queues.remove(&id.party);
            }
            self.queued.fetch_sub(1, SeqCst);
        }
    }

    /// A waiter asks that one idle connection be closed somewhere.
    pub(super) fn wish(&self) {
        self.wishes.fetch_add(1, SeqCst);
    }

    /// Takes one such wish upon oneself. Wishes of waiters who have left are forgotten.
    pub(super) fn take_wish(&self) -> bool {
        let waiting = self.queued.load(SeqCst);
        let one_less = |wishes: usize| wishes.min(waiting).checked_sub(1);
        if waiting == 0 {
            self.wishes.store(0, SeqCst);
            return false;
        }
        self.wishes.fetch_update(SeqCst, SeqCst, one_less).is_ok()
    }

    fn close_one(self: &Arc<Self>, party: Party, kind: Kind) {
        let mut inside = self.lock();
        let next = inside.next(kind);
        inside.connections.give_back(party, kind);
        let Some((next, party, kind)) = next.and_then(|(next, _)| inside.admit(next.party)) else { return };
        self.queued.fetch_sub(1, SeqCst);
        drop(inside);
        // One that was not taken is dropped here and goes on to the next in the queue.
        let _ = next.permit.send(Permit { gate: self.clone(), party, kind });
    }

    #[cfg(test)]
    fn open(&self) -> usize {
        self.lock().connections.taken()
    }
}

impl Inside {
    /// A place for a newcomer. Common ones are free only when nobody waits; of spare ones whoever waits could have none.
    fn open(&mut self, party: Party, spares: bool) -> Option<Kind> {
        let kind = self.connections.kind_for(party).filter(|kind| spares || *kind == Kind::Common)?;
        self.connections.take(party, kind);
        Some(kind)
    }

    /// Whose turn it is when a connection of this kind closes, and since when that one waits. The closing one still counts
    /// for its owner, so that among equals it is another's turn.
    fn next(&self, kind: Kind) -> Option<(TicketId, Instant)> {
        let heads = self.queues.iter().filter_map(|(party, queue)| Some((*party, queue.front()?)));
        let heads = heads.filter(|(party, _)| self.connections.could_use(*party, kind));
        let rank = |(party, place): &(Party, &Place)| (self.connections.rank(*party), place.number);
        let (party, place) = heads.min_by_key(rank)?;
        Some((TicketId { party, number: place.number }, place.since))
    }

    fn admit(&mut self, party: Party) -> Option<(Place, Party, Kind)> {
        let kind = self.connections.kind_for(party)?;
        let queue = self.queues.get_mut(&party)?;
        let place = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&party);
        }
        self.connections.take(party, kind);
        Some((place, party, kind))
    }
}

/// The right to one connection, from before it is dialled until it is closed.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    pub(super) party: Party,
    pub(super) kind: Kind,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.close_one(self.party, self.kind);
    }
}

/// One request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    gate: Arc<Gate>,
    party: Party,
    kind: Kind,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gate.lock().waiting.give_back(self.party, self.kind);
    }
}

/// A place in the queue. Resolves to the permit; gives up the place, or the permit, when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    id: TicketId,
    permit: oneshot::Receiver<Permit>,
}

impl Ticket {
    pub(super) fn id(&self) -> TicketId {
        self.id
    }
}

impl Future for Ticket {
    type Output = Permit;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        // A sender goes away by sending, or when this request was handed a connection, and looks there.
        match ready!(Pin::new(&mut self.permit).poll(cx)) {
            Ok(permit) => Poll::Ready(permit),
            Err(_) => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Party = Party { account: 1, caller: 0 };
    const B: Party = Party { account: 2, caller: 0 };

    fn poll(ticket: &mut Ticket) -> Poll<Permit> {
        Pin::new(ticket).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_permit_that_comes_free_goes_to_whoever_waits_longest_among_equals() {
        let gate = Gate::new(1, 8);
        let held = gate.try_open(A, true).unwrap();
        let (mut first, mut second) = (gate.queue(A, true), gate.queue(A, true));
        assert!(gate.try_open(A, true).is_none());
        drop(held);
        assert!(poll(&mut second).is_pending());
        let Poll::Ready(permit) = poll(&mut first) else { panic!("the first was not served") };
        assert!(gate.try_open(A, true).is_none(), "a newcomer overtook the queue");
        drop(permit);
        assert!(poll(&mut second).is_ready());
        drop((first, second));
        assert_eq!((gate.open(), gate.is_awaited()), (0, false));
    }

    #[test]
    fn a_permit_that_comes_free_goes_to_whoever_has_the_fewest_connections() {
        let gate = Gate::new(2, 8);
        let (one, two) = (gate.try_open(A, true).unwrap(), gate.try_open(A, true).unwrap());
        let (mut earlier, mut later) = (gate.queue(A, true), gate.queue(B, true));
        drop(one);
        assert!(poll(&mut earlier).is_pending());
        let Poll::Ready(permit) = poll(&mut later) else { panic!("a has one, b none") };
        // Now both have one.
        drop(two);
        assert!(poll(&mut earlier).is_ready());
        drop(permit);
    }

    #[test]
    fn whoever_has_few_gets_a_spare_permit_and_keeps_it_from_whoever_has_many() {
        let gate = Gate::new(4, 8);
        let _many: Vec<Permit> = (0..4).map(|_| gate.try_open(A, true).unwrap()).collect();
        let mut waits = gate.queue(A, true);
        assert!(gate.try_open(B, false).is_none());
        let spare = gate.try_open(B, true).unwrap();
        assert_eq!((spare.kind, gate.open()), (Kind::Spare, 5));
        assert!(gate.is_wanted(Kind::Common) && !gate.is_wanted(Kind::Spare));
        let much_later = Instant::now() + Duration::from_secs(60);
        assert!(!gate.must_yield(much_later, (B, Kind::Spare), |_| false));
        assert!(!gate.must_yield(much_later, (B, Kind::Common), |_| false), "b has less than a");
        drop(spare);
        assert!(poll(&mut waits).is_pending());
        assert_eq!(gate.open(), 4);
    }

    #[test]
    fn a_waiter_who_leaves_loses_no_permit() {
        let gate = Gate::new(1, 8);
        let held = gate.try_open(A, true).unwrap();
        let (served, mut next) = (gate.queue(A, true), gate.queue(B, true));
        drop(held);
        drop(served); // with the permit already in its hands
        assert!(matches!(poll(&mut next), Poll::Ready(_)));
        drop(next);
        assert_eq!(gate.open(), 0);
    }

    #[test]
    fn no_more_wait_than_the_queue_holds_and_none_takes_the_last_places_of_others() {
        let gate = Gate::new(1, 1);
        let waiting = gate.wait(A).unwrap();
        assert!(gate.wait(A).is_err() && gate.wait(B).is_err());
        drop(waiting);
        assert!(gate.wait(A).is_ok());
        let gate = Gate::new(1, 8);
        let many: Vec<Waiting> = (0..8).map(|_| gate.wait(A).unwrap()).collect();
        assert!(gate.wait(A).is_err() && gate.wait(B).is_ok());
        drop(many);
    }

    #[test]
    fn a_wish_is_granted_once_and_dies_with_its_waiter() {
        let gate = Gate::new(1, 8);
        let _held = gate.try_open(A, true).unwrap();
        let ticket = gate.queue(A, true);
        gate.wish();
        assert!(gate.take_wish());
        assert!(!gate.take_wish());
        gate.wish();
        drop(ticket);
        assert!(!gate.take_wish());
    }
}
